"""`pattern:1280x720@30`: a moving picture made of numbers, the same for the same frame number on every machine."""

from __future__ import annotations

import re

import numpy as np

from common.errors import ConfigError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.numbered import NumberedSource

NUMBER_BYTES = 8  # the frame number stands in the first luma bytes, least significant first


class PatternSource(NumberedSource):
    """Diagonal bars that move one pixel a frame; the frame number stands in the first eight luma bytes."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:
        found = re.fullmatch(r"(\d{2,5})x(\d{2,5})(?:@(\d+(?:\.\d+)?))?(?:\*(\d+))?", address)
        if not found or int(found[1]) % 2 or int(found[2]) % 2 or (found[3] and float(found[3]) <= 0):
            raise ConfigError(f"source 'pattern:{address}': like pattern:1280x720@30, even sizes")
        self._geometry = Geometry(int(found[1]), int(found[2]), PixelFormat.I420)
        super().__init__(stats, float(settings.fps or found[3] or 30), int(found[4]) if found[4] else None, paced=paced)

    def open(self) -> Geometry:
        """Begin at frame 0."""
        self.restart()
        return self._geometry

    def draw(self, planes: list[Plane], number: int) -> None:
        """Draw the bars."""
        draw_pattern(planes, number)


def draw_pattern(planes: list[Plane], number: int) -> None:
    """Draw frame `number` into I420 planes."""
    luma, blue, red = planes
    height, width = luma.shape
    row = np.arange(width + height + 256, dtype=np.int64).astype(np.uint8)  # a diagonal is one row, shifted
    shifted = np.lib.stride_tricks.as_strided(row[number % 256 :], (height, width), (1, 1))
    np.copyto(luma, shifted)
    luma[0, :NUMBER_BYTES] = np.frombuffer(number.to_bytes(NUMBER_BYTES, "little"), np.uint8)
    blue[:] = 96
    red[:] = 160


def pattern_number(luma: Plane) -> int:
    """Frame number that stands in a pattern's luma plane."""
    return int.from_bytes(luma[0, :NUMBER_BYTES].tobytes(), "little")
