"""When frames of a recorded or made-up source are due: late ones are skipped, never sent in a burst."""

from __future__ import annotations

import time

from common.stats import Stats

SLICE_NS = 100_000_000  # longest sleep at a time: the service's heart must beat
LOST_NS = 1_000_000_000  # so late that the clock starts anew


class Pacer:
    """Turns positions in a stream into times of this machine."""

    def __init__(self, stats: Stats, *, paced: bool) -> None:
        self._stats, self._paced = stats, paced
        self._offset_ns: int | None = None
        self._behind_ns: int | None = None  # how late the frame was that was skipped last

    def restart(self) -> None:
        """The position begins again: the next frame is due at once."""
        self._offset_ns = None

    def due(self, media_ns: int, period_ns: int) -> int:
        """How things stand with the frame at this position.

        Returns:
            0: now. Above 0: not yet (it slept for a while). Below 0: too late, skip it.
        """
        now = time.monotonic_ns()
        if not self._paced:
            return 0
        if self._offset_ns is None or now - self._offset_ns - media_ns > LOST_NS:
            self._offset_ns = now - media_ns
        wait_ns = self._offset_ns + media_ns - now
        if wait_ns < -period_ns and (self._behind_ns is None or -wait_ns < self._behind_ns):
            self._behind_ns = -wait_ns
            self._stats.drop("late")
            return -1
        if wait_ns < -period_ns:  # skipping did not help: decoding is what is slow, so the clock gives in
            self._offset_ns, wait_ns = now - media_ns, 0
        self._behind_ns = None
        if wait_ns > 0:
            time.sleep(min(wait_ns, SLICE_NS) / 1e9)
        return 1 if wait_ns > SLICE_NS else 0
