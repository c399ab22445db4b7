"""How far two ways to run a detector find the same faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.5

Found = Sequence[Sequence[Sequence[float]]]


def agreement(found: Found, reference: Found) -> float:
    """F1 of the boxes of one way against another's, at IoU 0.5, over all pictures.

    Args:
        found: For each picture rows of x1, y1, x2, y2, score.
        reference: The same of the way that counts as right.

    Returns:
        2 * pairs / (boxes of both), 1 when neither found anything.
    """
    pairs = sum(_pairs(np.array(one), np.array(other)) for one, other in zip(found, reference, strict=True))
    boxes = sum(map(len, found)) + sum(map(len, reference))
    return 2 * pairs / boxes if boxes else 1.0


def recall(found: Found, reference: Found) -> float:
    """Part of the reference's boxes that the other way found, too; 1 when there are none."""
    pairs = sum(_pairs(np.array(one), np.array(other)) for one, other in zip(found, reference, strict=True))
    boxes = sum(map(len, reference))
    return pairs / boxes if boxes else 1.0


def _pairs(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    """Boxes that have a partner; the best pair first, each box once."""
    if not len(one) or not len(other):
        return 0
    overlap = _overlap(one, other)
    count = 0
    while overlap.max() >= OVERLAP:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[row] = overlap[:, column] = 0
        count += 1
    return count


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:4], other[None, :, 2:4])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:4] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    joined: NDArray[np.float64] = both / (areas[0][:, None] + areas[1] - both)
    return joined
