"""The pictures of a camera for one kind of output: thinned to a rate, and standing ones when there are none."""

from __future__ import annotations

import time
from typing import Protocol

from common.drawing import draw
from common.drawing.pace import Pace
from common.drawing.scene import Condition, Scene, Shown
from common.pixels import Plane

STANDING_S = 1.0  # a standing picture is sent again after this time, so that a viewer knows the line is alive


class Sink(Protocol):
    """Where finished pictures go: an encoder with its viewers, a screen."""

    @property
    def viewers(self) -> int:
        """How many look; without any, no picture is made."""

    def show(self, shown: Shown) -> None:
        """Take a picture; must not wait."""

    def withdraw(self) -> None:
        """What was shown last must not be seen any more, or nobody looks."""


class Feed:
    """Asks the scene for pictures when it is time and somebody looks, and gives them to a sink."""

    def __init__(self, scene: Scene, sink: Sink, width: int, fps: float, standing_s: float = STANDING_S) -> None:
        """Join the scene.

        Args:
            scene: The camera.
            sink: Takes the pictures.
            width: Their columns at most, pixels.
            fps: Pictures a second at most.
            standing_s: Seconds after which a standing picture is given again.
        """
        self._scene, self.sink, self._width, self._standing_s = scene, sink, width, standing_s
        self._pace = Pace(fps)
        self._drawn_ns = 0
        self._stood: tuple[Condition | None, float] = (None, 0.0)
        self._still: tuple[Condition, Plane] | None = None
        scene.on_arrival.append(self._pace.arrived)
        scene.on_privacy.append(self._forget)

    @property
    def is_watched(self) -> bool:
        """True when somebody looks."""
        return self.sink.viewers > 0

    def step(self) -> None:
        """Give the next picture to the sink, when it is time and somebody looks."""
        if not self.sink.viewers:
            if self._drawn_ns or self._stood[0]:
                self._forget()
                self._pace.restart()
            return
        why = self._scene.standing()
        if why is not None:
            self._stand(why)
        elif self._pace.is_due(time.monotonic()):
            shown = self._scene.render(self._width, self._drawn_ns)
            if shown is not None:
                self._drawn_ns, self._stood, self._still = shown.captured_ns, (None, 0.0), None
                self._pace.shown(time.monotonic())
                self.sink.show(shown)

    def _forget(self) -> None:
        self._drawn_ns, self._stood = 0, (None, 0.0)
        self.sink.withdraw()

    def _stand(self, why: Condition) -> None:
        """Show why there is no picture, on change and now and then."""
        now = time.monotonic()
        if why == self._stood[0] and now - self._stood[1] < self._standing_s:
            return
        self._stood = (why, now)
        if self._still is None or self._still[0] != why:
            size = self._scene.size(self._width)
            self._still = why, draw.placeholder(size, self._scene.name, why.status, why.reason)
        self.sink.show(Shown(self._still[1], 0, time.monotonic_ns()))
