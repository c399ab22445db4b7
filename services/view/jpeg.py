"""Pictures become JPEG files, one for all viewers of a camera."""

from __future__ import annotations

import time

from common.drawing import picture
from common.drawing.scene import Shown
from common.drawing.stages import Stages
from common.stats import Stats
from services.view.viewers import Channel


class JpegSink:
    """Encodes for the page, the streams and the snapshots."""

    def __init__(self, channel: Channel, quality: int, stats: Stats, stages: Stages) -> None:
        self._channel, self._quality, self._stats, self._stages = channel, quality, stats, stages

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._channel.viewers

    def show(self, shown: Shown) -> None:
        """Encode and hand to every viewer."""
        jpeg = picture.encode(shown.pixels, self._quality)
        encoded_ns = time.monotonic_ns()
        self._stats.count("encoded")
        if shown.captured_ns:
            self._stats.latency("draw", encoded_ns - shown.since_ns)
            self._stages.add("draw", encoded_ns - shown.since_ns)
        self._channel.show(jpeg, shown.captured_ns, encoded_ns)

    def withdraw(self) -> None:
        """Nobody may see the last picture any more."""
        self._channel.clear()
