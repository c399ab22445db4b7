"""Parts of a frame as pictures of their own, and one answer made of what was found in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.pixels import Plane
from services.infer.detector import Detections
from services.infer.nms import suppress

Size = tuple[int, int]  # width and height, pixels
Tile = tuple[int, int, int, int]  # left, top, width and height, all even, pixels of the frame
Flags = NDArray[np.bool_]

EDGE_PX = 2.0  # of the frame, and
EDGE_PART = 0.1  # of its size: a box this near a border of a tile is cut by it
SAME_IOU = 0.3  # boxes of two pictures that overlap so much are one face
SAME_PART = 0.6  # of the smaller one inside the other: one face too


def crop(planes: Sequence[Plane], tile: Tile) -> list[Plane]:
    """Views of a tile's planes; nothing is copied.

    Args:
        planes: Of the frame; all but the first have half as many rows and columns.
        tile: Where it is.
    """
    x, y, width, height = tile
    first = planes[0][y : y + height, x : x + width]
    return [first, *(plane[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] for plane in planes[1:])]


def moved(found: Detections, tile: Tile) -> Detections:
    """What was found in a tile, in pixels of the frame."""
    if not len(found.scores):
        return found
    shift = np.array(tile[:2] * 5, np.float32)
    marks = found.landmarks
    return Detections(found.boxes + shift[:4], found.scores, marks + shift if len(marks) else marks)


def within(boxes: NDArray[np.float32], tile: Tile) -> Flags:
    """Which boxes lie whole in a tile."""
    low, high = _corners(tile)
    return np.asarray((boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1))


def whole(found: Detections, tile: Tile, frame: Size, most_px: float) -> Detections:
    """The faces of a tile that are told by it: small ones that no border of it cuts, but for the frame's own.

    Args:
        found: In the tile, in pixels of the frame.
        tile: Where it is.
        frame: Width and height of the frame.
        most_px: A face whose longer side is not below it is told by the picture of the whole frame.
    """
    if not len(found.scores):
        return found
    sides = longer(found.boxes)
    near = EDGE_PX + EDGE_PART * sides[:, None]
    low, high = _corners(tile)
    cut = ((found.boxes[:, :2] - low < near) & (low > 0)).any(axis=1)
    cut |= ((high - found.boxes[:, 2:] < near) & (high < np.array(frame))).any(axis=1)
    return _rows(found, ~cut & (sides < most_px))


def merge(low: Detections, tiles: Sequence[Detections]) -> Detections:
    """One answer, best score first, each face once: as a tile saw it if one did.

    Args:
        low: Faces in the picture of the whole frame.
        tiles: Faces of each tile, in pixels of the frame.
    """
    fine = _joined([found for found in tiles if len(found.scores)] or tiles)
    if not len(fine.scores):
        return low
    fine = _rows(fine, suppress(fine.boxes, fine.scores, SAME_IOU))
    every = _joined([fine, _rows(low, ~_seen(low.boxes, fine.boxes))])
    return _rows(every, np.argsort(-every.scores, kind="stable"))


def longer(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Longer side of each box, shape (N,)."""
    sides: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return sides


def _corners(tile: Tile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    x, y, width, height = tile
    return np.array((x, y)), np.array((x + width, y + height))


def _seen(boxes: NDArray[np.float32], fine: NDArray[np.float32]) -> Flags:
    """Which boxes are a face that a tile tells."""
    low = np.maximum(boxes[:, None, :2], fine[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], fine[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas, others = ((part[:, 2:] - part[:, :2]).prod(axis=1) for part in (boxes, fine))
    union, smaller = areas[:, None] + others - both, np.minimum(areas[:, None], others)
    seen: Flags = ((both > SAME_IOU * union) | (both > SAME_PART * smaller)).any(axis=1)
    return seen


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _rows(found: Detections, rows: NDArray[Any]) -> Detections:
    marks = found.landmarks
    return Detections(found.boxes[rows], found.scores[rows], marks[rows] if len(marks) else marks)
