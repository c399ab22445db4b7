"""What the watchdog makes of names and logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.fleet import members
from services.watchdog.service import last_words, process_name

ORDINARY = "2026-01-02T03:04:05.678 INFO track common.service: state=running reason=none\n"


@pytest.mark.parametrize("member", members(["door", "back-yard"], 2), ids=lambda member: member.name)
def test_every_program_has_the_name_of_its_process(member) -> None:  # type: ignore[no-untyped-def]
    assert process_name(member.program) == member.name


@pytest.mark.parametrize("program", ["", "sshd", "capture", "track-door", "infer"])
def test_a_foreign_program_has_none(program: str) -> None:
    assert process_name(program) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ORDINARY, ""),
        ("", ""),
        (ORDINARY + "Traceback (most recent call last):\n  File x\nImportError: no such\n", "ImportError: no such"),
        ("ImportError: old\n" + ORDINARY, ""),
        (
            ORDINARY + "Timeout (0:00:04)!\nThread 0x1:\n  File x\n",
            "its loop hung, it ended itself; the stack is in a.log",
        ),
    ],
)
def test_last_words_are_those_after_the_last_ordinary_line(node_dir: Path, text: str, reason: str) -> None:
    path = node_dir / "a.log"
    path.write_text(text)
    assert last_words(path) == reason


def test_a_missing_log_has_no_words(node_dir: Path) -> None:
    assert last_words(node_dir / "none.log") == ""
