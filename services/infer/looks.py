"""Whose face is looked at closely: a vector costs more than a detection, so that few faces a frame have to do.

A face in a place where none was looked at lately is new or has moved fast, and comes first; the others are looked at
again now and then, so that the tracker has more than one view of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.pixels import Geometry, Plane
from common.wire import FrameHandle
from services.infer.detector import Detections
from services.infer.embedder import Embedder, align

Index = NDArray[np.int32]
Vectors = NDArray[np.float32]

MOST_NEW = 3  # faces that are looked at in one frame; of those that are known already, one
AGAIN_NS = 1_000_000_000  # a face that stays is looked at again after this
SMALLEST_PX = 32  # columns of a face; smaller ones look all alike
SAME_IOU = 0.3  # overlap with a place that was looked at
NEVER = -(10**18)  # when a face was looked at that was not
NOBODY: tuple[Index, Vectors] = (np.empty(0, np.int32), np.empty((0, 0), np.float32))


class Looks:
    """Of one camera, in one worker."""

    def __init__(self, embedder: Embedder, least_score: float) -> None:
        """Look at nobody yet.

        Args:
            embedder: Makes the vectors.
            least_score: Detections below it start no track, and are not looked at.
        """
        self._embedder, self._least_score = embedder, least_score
        self._epoch = 0
        self._places = np.empty((0, 4), np.float32)
        self._seen_ns = np.empty(0, np.int64)

    def look(
        self, planes: Sequence[Plane], geometry: Geometry, handle: FrameHandle, found: Detections
    ) -> tuple[Index, Vectors]:
        """Take a frame.

        Args:
            planes: Of the frame.
            geometry: Of the frame.
            handle: Of the frame.
            found: Faces in it.

        Returns:
            Rows of the faces that were looked at, shape (K,), and their vectors, shape (K, d); K is mostly 0.
        """
        now_ns = max(handle.captured_ns, handle.media_ns)
        self._forget(handle.epoch, now_ns)
        if not len(found.landmarks):
            return NOBODY
        last_ns = self._follow(found.boxes)
        due = (last_ns < now_ns - AGAIN_NS) & (found.scores >= self._least_score)
        due &= found.boxes[:, 2] - found.boxes[:, 0] >= SMALLEST_PX
        rows = np.flatnonzero(due)
        rows = rows[np.lexsort((-found.scores[rows], last_ns[rows]))]
        rows = rows[: max(1, min(MOST_NEW, int(np.count_nonzero(last_ns[rows] == NEVER))))]
        self._places = np.concatenate((self._places, found.boxes[rows]))
        self._seen_ns = np.append(self._seen_ns, np.full(len(rows), now_ns))
        faces = [(row, align(planes, geometry, found.landmarks[row])) for row in rows]
        seen = [(row, self._embedder.embed(face)) for row, face in faces if face is not None]
        if not seen:
            return NOBODY
        return np.array([row for row, _ in seen], np.int32), np.array([vector for _, vector in seen], np.float32)

    def _forget(self, epoch: int, now_ns: int) -> None:
        keep = (self._seen_ns > now_ns - 2 * AGAIN_NS) & (self._seen_ns <= now_ns) & (epoch == self._epoch)
        self._epoch, self._places, self._seen_ns = epoch, self._places[keep], self._seen_ns[keep]

    def _follow(self, boxes: NDArray[np.float32]) -> NDArray[np.int64]:
        """When each box was looked at last, or NEVER; the places move on with the boxes."""
        last_ns = np.full(len(boxes), NEVER, np.int64)
        if not len(self._places) or not len(boxes):
            return last_ns
        overlap = _iou(self._places, boxes)
        best = overlap.argmax(axis=1)
        for place in np.flatnonzero(overlap.max(axis=1) >= SAME_IOU):
            row = best[place]
            self._places[place] = boxes[row]
            last_ns[row] = max(last_ns[row], self._seen_ns[place])
        return last_ns


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    joint: NDArray[np.float32] = inner / np.maximum(areas[0][:, None] + areas[1] - inner, 1e-6)
    return joint
