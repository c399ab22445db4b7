"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Result = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Attributes:
        check: What was looked at.
        result: `ok`; `warn`, the node runs but not at its best; `fail`, it does not run, or not all of it.
        text: What was found.
        hint: What to do; empty when it is well.
    """

    check: str
    result: Result
    text: str
    hint: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, hint: str) -> Finding:
    """It runs, but not at its best."""
    return Finding(check, "warn", text, hint)


def fail(check: str, text: str, hint: str) -> Finding:
    """It does not run."""
    return Finding(check, "fail", text, hint)
