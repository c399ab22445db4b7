"""Limits that the types of settings and payloads carry: `Annotated[int, Ge(1), Le(10)]`.

The check is pydantic's, which only the command line imports. The library that usually gives these words costs each
process 0.4 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Handler = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A limit of a number."""

    bound: float

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> dict[str, Any]:
        """The schema of the type with this limit."""
        return {**handler(source), type(self).__name__.lower(): self.bound}


class Ge(_Bound):
    """At least."""

    __slots__ = ()


class Gt(_Bound):
    """More than."""

    __slots__ = ()


class Le(_Bound):
    """At most."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Len:
    """How many items or letters there are at least and at most."""

    least: int
    most: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> dict[str, Any]:
        """The schema of the type with this limit."""
        schema = {**handler(source), "min_length": self.least}
        return schema if self.most is None else {**schema, "max_length": self.most}
