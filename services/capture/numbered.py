"""What sources share whose frames are made from their number: frame n is due at n divided by the rate."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from common.pixels import Plane
from common.stats import Stats
from services.capture.pacing import Pacer
from services.capture.source import EndOfStream, Stamp


class NumberedSource(ABC):
    """Frames from 0 on at a fixed rate; the subclass opens and draws.

    Attributes:
        nominal_fps: Frames per second.
    """

    def __init__(self, stats: Stats, nominal_fps: float, last: int | None = None, *, paced: bool) -> None:
        """Begin at frame 0.

        Args:
            stats: Counts the frames that came too late.
            nominal_fps: Frames per second.
            last: How many frames there are; None for no end.
            paced: False: each frame is due at once.
        """
        self.nominal_fps = nominal_fps
        self._last = last
        self._pacer = Pacer(stats, paced=paced)
        self._number = 0

    @abstractmethod
    def draw(self, planes: list[Plane], number: int) -> None:
        """Make a frame."""

    def restart(self) -> None:
        """Begin at frame 0 again; `open` calls it."""
        self._number = 0
        self._pacer.restart()

    def wait(self) -> bool:
        """Wait until the next frame is due."""
        if self._last is not None and self._number >= self._last:
            raise EndOfStream(f"{self._last} frames")
        due = self._pacer.due(self._media_ns(), int(1e9 / self.nominal_fps))
        if due < 0:
            self.skip()
        return due == 0

    def read(self, planes: list[Plane]) -> Stamp:
        """Draw the frame."""
        self.draw(planes, self._number)
        stamp = Stamp(time.monotonic_ns(), self._media_ns())
        self.skip()
        return stamp

    def skip(self) -> None:
        """Go on to the next frame."""
        self._number += 1

    def close(self) -> None:  # noqa: B027 - a subclass may have something to let go of
        """Nothing is open."""

    def _media_ns(self) -> int:
        return int(self._number * 1e9 / self.nominal_fps)
