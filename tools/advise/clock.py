"""Divides the time that all measurements may take among those that are left."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_S, LONGEST_S = 0.15, 2.0  # of one measurement
SHARES = (0.45, 0.2, 0.2, 0.15)  # of the time: ways, sizes, workers, batches

Progress = Callable[[str, float], None]


class Clock:
    """One for all parts."""

    def __init__(self, seconds: float, progress: Progress) -> None:
        """Begin.

        Args:
            seconds: For all measurements.
            progress: Hears what is being done, and which part of the whole is over.
        """
        self._seconds, self._progress = seconds, progress
        self._end, self._left, self._done, self._share = time.monotonic(), 1, 0.0, 0.0

    def begin(self, part: int, count: int) -> None:
        """A part with so many measurements."""
        self._done, self._share = sum(SHARES[:part]), SHARES[part]
        self._end = time.monotonic() + self._seconds * self._share
        self._left = self._count = max(1, count)

    def next_s(self) -> float:
        """Length of the next measurement."""
        left = max(0.0, self._end - time.monotonic())
        seconds = min(LONGEST_S, max(SHORTEST_S, left / max(1, self._left)))
        self._left -= 1
        return seconds

    def say(self, what: str) -> None:
        """Tell how far it is."""
        self._progress(what, self._done + self._share * (1 - self._left / self._count))
