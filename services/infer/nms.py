"""Non-maximum suppression, by OpenCV (16 times faster than numpy for 200 boxes)."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_CANDIDATES = 1000  # best ones before suppression: a broken model must not stop the worker for seconds


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> NDArray[np.intp]:
    """Rows that stay: of two boxes that overlap, the one with the higher score.

    Args:
        boxes: Shape (N, 4), xyxy, any unit.
        scores: Shape (N,).
        iou: Overlap above which the weaker one goes, in (0, 1].

    Returns:
        Indices into `boxes`, best score first, at most MAX_CANDIDATES.
    """
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order = np.flatnonzero(sound)
    if len(order) > MAX_CANDIDATES:
        order = order[np.argpartition(-scores[order], MAX_CANDIDATES)[:MAX_CANDIDATES]]
    if len(order) < 2:
        return order
    xywh = boxes[order].astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    kept = cv2.dnn.NMSBoxes(cast(Any, xywh), cast(Any, scores[order]), 0.0, iou)  # it takes arrays, its stubs do not
    return order[np.asarray(kept, np.intp).reshape(-1)]
