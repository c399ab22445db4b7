"""Which view of a face is the best: score, size and frontality decide at once, sharpness once the pixels are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.pixels import PixelFormat, Plane
from common.ring.reader import Lease
from common.wire import TrackFrame

FULL_SIZE_PX = 160.0  # a taller face is not a better one
UNKNOWN_FRONTALITY = 0.7  # models without landmarks
YAW_WEIGHT = 1.6  # the nose of a profile lies about half an eye distance off the middle
SMALLEST_FRONTALITY = 0.1


@dataclass(frozen=True, slots=True)
class Region:
    """Part of a frame in pixels, on even coordinates so that it fits subsampled chroma.

    Attributes:
        x0: First column.
        y0: First row.
        x1: Column after the last.
        y1: Row after the last.
    """

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True)
class Crop:
    """Pixels of a region, copied from a ring slot in the camera's own format.

    Attributes:
        pixel_format: Layout of the planes.
        planes: As in `Geometry.planes`, cut to the region.
        face: The face in the crop: x0, y0, x1, y1 in pixels.
    """

    pixel_format: PixelFormat
    planes: list[Plane]
    face: Region


def frontality(landmarks: NDArray[np.float32]) -> float:
    """How straight a face looks into the camera, in (0, 1].

    Args:
        landmarks: Shape (10,), x and y of eyes, nose and mouth corners in pixels; (0,) when unknown.
    """
    if len(landmarks) == 0:
        return UNKNOWN_FRONTALITY
    right_eye, left_eye, nose = landmarks.reshape(5, 2)[:3].astype(float)
    between = left_eye - right_eye
    distance = float(np.hypot(*between))
    if distance < 1:
        return SMALLEST_FRONTALITY
    aside = float((nose - (left_eye + right_eye) / 2) @ between) / distance**2
    return float(max(SMALLEST_FRONTALITY, 1 - YAW_WEIGHT * abs(aside)))


def promise(frame: TrackFrame, row: int) -> float:
    """How good the view of a track in this frame can be at most, in [0, 1]; 0 when the box is only a prediction."""
    index = int(frame.detection_index[row])
    if index < 0:
        return 0.0
    points = frame.landmarks[index] if len(frame.landmarks) else np.empty(0, np.float32)
    height = float(frame.boxes[row, 3] - frame.boxes[row, 1])
    size = min(max(height, 0.0) / FULL_SIZE_PX, 1.0) ** 0.5
    return float(frame.scores[row] * size * frontality(points))


def region(box: NDArray[np.float32], width: int, height: int, margin: float) -> Region | None:
    """The part of a frame around a box.

    Args:
        box: xyxy in pixels.
        width: Columns of the frame.
        height: Rows of the frame.
        margin: Added on each side, in parts of the box's size.

    Returns:
        None when nothing of it lies in the frame.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    if not np.isfinite([x0, y0, x1, y1]).all():
        return None
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    left, top = int(max(x0 - dx, 0)) // 2 * 2, int(max(y0 - dy, 0)) // 2 * 2
    right, bottom = int(min(x1 + dx, width)) // 2 * 2, int(min(y1 + dy, height)) // 2 * 2
    if right - left < 8 or bottom - top < 8:
        return None
    return Region(left, top, right, bottom)


def cut(lease: Lease, part: Region, box: NDArray[np.float32]) -> Crop:
    """Copy a region out of a leased frame."""
    halves = (PixelFormat.NV12, PixelFormat.I420)
    planes = []
    for index, plane in enumerate(lease.planes):
        step = 2 if index and lease.geometry.pixel_format in halves else 1
        planes.append(plane[part.y0 // step : part.y1 // step, part.x0 // step : part.x1 // step].copy())
    x0, y0, x1, y1 = (int(value) for value in box)
    face = Region(max(x0 - part.x0, 0), max(y0 - part.y0, 0), min(x1, part.x1) - part.x0, min(y1, part.y1) - part.y0)
    return Crop(lease.geometry.pixel_format, planes, face)
