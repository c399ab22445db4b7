"""Pixel formats of the frame ring, and the planes of a frame in each of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


class PixelFormat(IntEnum):
    """How the pixels of a frame lie in memory; the numbers are on the wire and never change."""

    BGR = 1  # one plane (h, w, 3)
    NV12 = 2  # Y (h, w), interleaved UV (h/2, w/2, 2)
    I420 = 3  # Y (h, w), U (h/2, w/2), V (h/2, w/2)
    YUYV = 4  # one plane (h, w, 2): Y0 U Y1 V
    GRAY = 5  # one plane (h, w)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Size and pixel format of a camera's frames.

    Attributes:
        width: Columns in pixels, even for the chroma-subsampled formats.
        height: Rows in pixels, even for NV12 and I420.
        pixel_format: Layout of the planes.
    """

    width: int
    height: int
    pixel_format: PixelFormat

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, planes packed one after another without padding."""
        return sum(int(np.prod(shape)) for shape in self.plane_shapes())

    def plane_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the planes, in memory order."""
        w, h = self.width, self.height
        match self.pixel_format:
            case PixelFormat.BGR:
                return [(h, w, 3)]
            case PixelFormat.NV12:
                return [(h, w), (h // 2, w // 2, 2)]
            case PixelFormat.I420:
                return [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
            case PixelFormat.YUYV:
                return [(h, w, 2)]
            case PixelFormat.GRAY:
                return [(h, w)]

    def planes(self, pixels: Plane) -> list[Plane]:
        """Views of the planes in one frame's bytes.

        Args:
            pixels: One frame, shape (frame_bytes,), uint8.

        Returns:
            One view a plane, shapes as `plane_shapes`; no copy is made.
        """
        views: list[Plane] = []
        start = 0
        for shape in self.plane_shapes():
            size = int(np.prod(shape))
            views.append(pixels[start : start + size].reshape(shape))
            start += size
        return views
