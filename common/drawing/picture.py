"""Frames become small BGR pictures and JPEG files; faces become mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.drawing.opencv import opencv
from common.pixels import Geometry, PixelFormat, Plane

MOSAIC_CELLS = 6  # across the longer side of a covered box, margin included: about four across the face itself


def view_size(geometry: Geometry, width: int) -> tuple[int, int]:
    """Width and height of the picture for people: never larger than the frame, even, same aspect."""
    shown = max(2, min(width, geometry.width) // 2 * 2)
    return shown, max(2, round(geometry.height * shown / geometry.width / 2) * 2)


def fitted_size(geometry: Geometry, room: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height of the frame's aspect in some room, even; larger than the frame if need be."""
    scale = min(room[0] / geometry.width, room[1] / geometry.height)
    width, height = (max(2, int(side * scale + 1e-6) // 2 * 2) for side in (geometry.width, geometry.height))
    return width, height


def shrink(planes: Sequence[Plane], geometry: Geometry, size: tuple[int, int]) -> Plane:
    """Scale the planes of a frame, then convert colour at the small size.

    Args:
        planes: As they lie in the ring; only read.
        geometry: Their size and format.
        size: Width and height of the result, both even.

    Returns:
        A new picture, shape (height, width, 3), BGR.
    """
    cv2 = opencv()
    match geometry.pixel_format:
        case PixelFormat.BGR:
            return _owned(_scale(planes[0], size), planes[0])
        case PixelFormat.GRAY:
            return _plane(cv2.cvtColor(_scale(planes[0], size), cv2.COLOR_GRAY2BGR))
        case PixelFormat.NV12:
            luma, chroma = planes[0], planes[1]
        case PixelFormat.I420:
            half = (size[0] // 2, size[1] // 2)
            luma, chroma = planes[0], _plane(cv2.merge([_scale(plane, half) for plane in planes[1:]]))
        case PixelFormat.YUYV:
            rows, columns = planes[0].shape[:2]
            luma = _plane(cv2.extractChannel(planes[0], 0))
            chroma = _plane(cv2.extractChannel(planes[0], 1)).reshape(rows, columns // 2, 2)
    small = _scale(luma, size), _scale_pairs(chroma, (size[0] // 2, size[1] // 2))
    return _plane(cv2.cvtColorTwoPlane(*small, cv2.COLOR_YUV2BGR_NV12))


def cover(picture: Plane, boxes: NDArray[np.int32]) -> None:
    """Replace what lies in the boxes by a coarse mosaic, in place.

    Args:
        picture: Shape (height, width, 3).
        boxes: Shape (N, 4), xyxy in pixels of the picture, inside of it.
    """
    cv2 = opencv()
    for x1, y1, x2, y2 in boxes.tolist():
        patch = picture[y1:y2, x1:x2]
        if not patch.size:
            continue
        height, width = patch.shape[:2]
        cell = max(height, width) / MOSAIC_CELLS
        cells = max(1, round(width / cell)), max(1, round(height / cell))
        coarse = cv2.resize(patch, cells, interpolation=cv2.INTER_AREA)
        picture[y1:y2, x1:x2] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def encode(picture: Plane, quality: int) -> bytes:
    """The picture as a JPEG file."""
    cv2 = opencv()
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _scale(plane: Plane, size: tuple[int, int]) -> Plane:
    cv2 = opencv()
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    halved = plane.shape[1] >= 2 * size[0]  # below that, linear has no gaps and costs a third
    return _plane(cv2.resize(plane, size, interpolation=cv2.INTER_AREA if halved else cv2.INTER_LINEAR))


def _scale_pairs(plane: Plane, size: tuple[int, int]) -> Plane:
    """As `_scale`, for two interleaved channels: OpenCV's quick way to halve knows one, three and four."""
    cv2 = opencv()
    if plane.shape[1] < 2 * size[0]:
        return _scale(plane, size)
    return _plane(cv2.merge([_scale(_plane(channel), size) for channel in cv2.split(plane)]))


def _plane(made: NDArray[Any]) -> Plane:
    """What OpenCV made of bytes is bytes; its type hints cannot say so."""
    return np.asarray(made, np.uint8)


def _owned(scaled: Plane, source: Plane) -> Plane:
    """A picture that outlives the lease."""
    return scaled.copy() if scaled is source else scaled
