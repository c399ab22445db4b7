"""Which of the pictures that come are shown, when more come than are wanted."""

from __future__ import annotations

LONGEST_GAP_S = 1.0  # a longer one is a pause, not a pace
SMOOTH = 0.2  # share of the newest gap in the running mean


class Pace:
    """Thins a stream to a rate: a picture is shown when it comes or not at all, so that none is shown late."""

    def __init__(self, fps: float) -> None:
        self._period_s = 1 / fps
        self._gap_s = self._period_s
        self._arrived_at = 0.0
        self._due_at = 0.0

    def arrived(self, now: float) -> None:
        """Something new could be shown."""
        gap_s = now - self._arrived_at
        if 0 < gap_s < LONGEST_GAP_S:
            self._gap_s += SMOOTH * (gap_s - self._gap_s)
        self._arrived_at = now

    def is_due(self, now: float) -> bool:
        """True when what came last is to be shown now.

        It may be half a gap early, since the next one would be half a gap late. One that was passed over is shown after
        all when no other follows.
        """
        if now < self._due_at - self._gap_s / 2:
            return False
        waited_s = now - self._arrived_at
        return waited_s < self._gap_s / 2 or waited_s > 1.5 * self._gap_s

    def shown(self, now: float) -> None:
        """It was shown; the mean rate stays below the wished one."""
        steady = abs(now - self._due_at) < self._period_s
        self._due_at = (self._due_at if steady else now) + self._period_s

    def restart(self) -> None:
        """Nobody looks; the next viewer gets a picture at once."""
        self._due_at = self._arrived_at = 0.0
