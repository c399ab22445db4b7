"""The motion gate: while a camera's picture stays as it is, the model's last answer is given again, without a run.

The picture is compared with the one that the model really saw last, never with the frame before: a slow change adds up
until it counts. The answer is only given again after several runs on the still picture agreed, so that a detection
that comes and goes is not frozen; and the model runs anew every four seconds whatever the picture does. To the tracker
a repeated answer is an answer: faces that stand still are followed, lost ones age and end.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from common.pixels import Plane
from services.infer.detector import Detections

WIDEST = 240  # columns of the small picture; a 1280x720 one is halved three times, to cells of 8x16 pixels
SPARSE_FROM = 640  # columns; of wider pictures every fourth row is looked at, of others every second
STEP = 6  # grey levels that the mean of a cell must change by; noise of a cell is below 1.5 even in dim light
CELLS = 2  # so many changed cells are motion: a face of 24 pixels, which a detector hardly finds, covers three or more
FINE_STEP, FINE_CELLS = 8, 1  # the same where faces of 12 pixels are found: one cell, but not by noise
AGREED = 3  # runs on the still picture that must agree before an answer is given again
REFRESH_NS = 4_000_000_000  # a still picture is looked at again so often
SAME_IOU = 0.7  # overlap of boxes that are the same face


class MotionGate:
    """The gate of one camera."""

    def __init__(self, *, fine: bool = False) -> None:
        """Know nothing yet.

        Args:
            fine: Faces that hardly fill a cell are motion too.
        """
        self._step, self._cells = (FINE_STEP, FINE_CELLS) if fine else (STEP, CELLS)
        self._halves: dict[tuple[int, ...], list[Plane]] = {}
        self._small = self._seen = np.empty((0, 0), np.uint8)
        self._found: Detections | None = None
        self._ran_ns = -REFRESH_NS
        self._agreed, self._needed = 0, AGREED

    def answer(self, planes: Sequence[Plane], now_ns: int) -> Detections | None:
        """What the model found in this picture when it last saw it; None when it has to look.

        Args:
            planes: Of the frame.
            now_ns: Time now, monotonic.
        """
        self._small = self._shrink(planes[0])
        if _moved(self._seen, self._small, self._step, self._cells):
            self._agreed = 0
            return None
        if self._agreed < self._needed or now_ns - self._ran_ns >= REFRESH_NS:
            return None
        return self._found

    def ran(self, found: Detections, now_ns: int, sweep: int | None = 0) -> None:
        """Take the model's answer for the picture that `answer` was asked about last.

        Args:
            found: Faces in it.
            now_ns: Time now, monotonic.
            sweep: Runs that it takes to look at all of a picture; None when this one cannot be compared with others.
        """
        if sweep is None:
            return
        self._needed = max(AGREED, sweep)
        self._agreed = self._agreed + 1 if self._found is not None and _same(self._found, found) else 0
        self._found, self._seen, self._ran_ns = found, self._small.copy(), now_ns

    def _shrink(self, plane: Plane) -> Plane:
        """A small picture: few rows, halved again and again; the buffers of each size are kept.

        Most of the time goes into reading pixels that another core has written, so most of them are left alone.
        """
        halves = self._halves.get(plane.shape)
        if halves is None:
            halves = self._halves[plane.shape] = _buffers(plane.shape)
        plane = plane[:: _rows_apart(plane.shape)]
        for half in halves:
            height, width = half.shape[:2]
            part = plane[: len(plane) // height * height, : 2 * width]
            cv2.resize(part, (width, height), dst=half, interpolation=cv2.INTER_AREA)
            plane = half
        return plane


def _rows_apart(shape: tuple[int, ...]) -> int:
    return 4 if shape[1] > SPARSE_FROM else 2


def _buffers(shape: tuple[int, ...]) -> list[Plane]:
    """Smaller and smaller pictures; where every fourth row is looked at, the last one is made narrower only."""
    apart = _rows_apart(shape)
    height, width = -(-shape[0] // apart), shape[1]
    buffers = []
    while width > WIDEST and height > 1:
        width //= 2
        if apart == 2 or width > WIDEST:
            height //= 2
        buffers.append(np.empty((height, width, *shape[2:]), np.uint8))
    return buffers


def _moved(before: Plane, after: Plane, step: int, cells: int) -> bool:
    """True when enough cells have changed."""
    if before.shape != after.shape:
        return True
    changed = cv2.threshold(cv2.absdiff(before, after), step - 1, 1, cv2.THRESH_BINARY)[1]
    return int(cv2.countNonZero(changed.reshape(len(changed), -1))) >= cells


def _same(before: Detections, after: Detections) -> bool:
    """True when two answers hold the same faces."""
    if len(before.boxes) != len(after.boxes):
        return False
    if not len(after.boxes):
        return True
    overlap: NDArray[np.float32] = _iou(before.boxes, after.boxes)
    return bool((overlap.max(axis=1) >= SAME_IOU).all() and (overlap.max(axis=0) >= SAME_IOU).all())


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pairwise intersection over union of boxes, shape (N, 4) and (M, 4), xyxy; gives (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b))
    overlap: NDArray[np.float32] = inner / np.maximum(area_a[:, None] + area_b[None] - inner, 1e-6)
    return overlap
