"""Sources of frames that are in memory already, so that decoding is left out: made pictures, and those of a clip.

`tools.bench.prepared:Prepared?still:1280x720@30` is still but for noise, `moving` shows another part each time;
`tools.bench.prepared:Decoded?clip.mp4` repeats the first pictures of a clip.
"""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np

from common.errors import ConfigError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.numbered import NumberedSource
from services.capture.source import copy_planes
from services.capture.video import copy_picture, picture_geometry

PICTURES = 8
CLIP_PICTURES, CLIP_FPS = 60, 30.0
NOISE = 3.0  # grey levels, standard deviation


class FromMemory(NumberedSource):
    """Pictures in memory, over and over; the subclass brings them there when it is opened."""

    _pictures: list[list[Plane]]

    def draw(self, planes: list[Plane], number: int) -> None:
        """Copy it."""
        copy_planes(planes, list(self._pictures[number % len(self._pictures)]))


class Prepared(FromMemory):
    """NV12 pictures from memory."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:
        found = re.fullmatch(r"(still|moving):(\d+)x(\d+)@(\d+)", address)
        if not found:
            raise ConfigError(f"source {address!r}: like still:1280x720@30")
        self._moving = found[1] == "moving"
        self._geometry = Geometry(int(found[2]), int(found[3]), PixelFormat.NV12)
        super().__init__(stats, float(settings.fps or found[4]), paced=paced)

    def open(self) -> Geometry:
        """Make the pictures: smooth shapes with noise."""
        rng = np.random.default_rng(0)
        height, width = self._geometry.height, self._geometry.width
        rows, columns = np.mgrid[0:height, 0:width]
        self._pictures = []
        for number in range(PICTURES):
            shift = 40 * number if self._moving else 0
            luma = 120 + 60 * np.sin((columns + shift) / 90) * np.cos((rows + shift) / 70)
            pixels = np.full(self._geometry.frame_bytes, 128, np.uint8)
            planes = self._geometry.planes(pixels)
            planes[0][:] = np.clip(luma + rng.normal(0, NOISE, luma.shape), 0, 255).astype(np.uint8)
            self._pictures.append(planes)
        self.restart()
        return self._geometry


class Decoded(FromMemory):
    """The first pictures of a clip, decoded when it is opened, in the clip's own format."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:
        self._clip = Path(address)
        super().__init__(stats, float(settings.fps or CLIP_FPS), paced=paced)

    def open(self) -> Geometry:
        """Decode them."""
        self._pictures, geometry = decoded(self._clip, CLIP_PICTURES)
        self.restart()
        return geometry


def decoded(clip: Path, count: int) -> tuple[list[list[Plane]], Geometry]:
    """The first frames of a clip, decoded, as planes."""
    frames: list[list[Plane]] = []
    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            geometry = picture_geometry(picture.width, picture.height, picture.format.name)
            planes = geometry.planes(np.empty(geometry.frame_bytes, np.uint8))
            copy_picture(picture, geometry, planes)
            frames.append(planes)
            if len(frames) == count:
                break
    return frames, geometry
