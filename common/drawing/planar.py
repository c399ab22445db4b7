"""Pictures that stay in planes, for video encoders: colour is converted only where something is drawn.

Such a picture is I420 in one array of shape (height * 3 / 2, width): Y, then U and V at half the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from common.drawing import picture
from common.drawing.opencv import opencv
from common.pixels import Geometry, PixelFormat, Plane

Box = tuple[int, int, int, int]


def planes(planar: Plane) -> list[Plane]:
    """Views of the three planes."""
    width, height = size_of(planar)
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    return [planar[:height], chroma[0], chroma[1]]


def size_of(planar: Plane) -> tuple[int, int]:
    """Width and height of the picture."""
    return int(planar.shape[1]), int(planar.shape[0]) * 2 // 3


def shrink(frame: Sequence[Plane], geometry: Geometry, size: tuple[int, int]) -> Plane:
    """Scale the planes of a frame; those of I420 and NV12 are never converted.

    Args:
        frame: Planes as they lie in the ring; only read.
        geometry: Their size and format.
        size: Width and height of the result, both even.

    Returns:
        A new picture.
    """
    cv2 = opencv()
    match geometry.pixel_format:
        case PixelFormat.I420:
            scaled = list(frame)
        case PixelFormat.NV12:
            scaled = [frame[0], *cv2.split(frame[1])]
        case _:
            return of_bgr(picture.shrink(frame, geometry, size))
    made = np.empty((size[1] * 3 // 2, size[0]), np.uint8)
    for source, target in zip(scaled, planes(made), strict=True):
        picture.scale_into(source, target)
    return made


def of_bgr(pixels: Plane) -> Plane:
    """The same picture in planes."""
    return np.asarray(opencv().cvtColor(pixels, opencv().COLOR_BGR2YUV_I420), np.uint8)


def paint(planar: Plane, area: Box, draw: Callable[[Plane], None]) -> None:
    """Draw on the picture.

    Args:
        planar: Changed in place.
        area: xyxy in pixels, inside of the picture; nothing is drawn beyond it.
        draw: Draws on a BGR canvas of the picture's size, which shows the picture within the area.
    """
    cv2 = opencv()
    x1, y1, x2, y2 = area[0] // 2 * 2, area[1] // 2 * 2, (area[2] + 1) // 2 * 2, (area[3] + 1) // 2 * 2
    if x2 <= x1 or y2 <= y1:
        return
    width, height = size_of(planar)
    canvas = np.empty((height, width, 3), np.uint8)
    luma, *chroma = planes(planar)
    y = luma[y1:y2, x1:x2]
    u, v = (plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2] for plane in chroma)
    canvas[y1:y2, x1:x2] = cv2.cvtColorTwoPlane(y, cv2.merge([u, v]), cv2.COLOR_YUV2BGR_NV12)
    draw(canvas)
    for target, drawn in zip((y, u, v), planes(of_bgr(canvas[y1:y2, x1:x2])), strict=True):
        target[:] = drawn
