"""YOLOv5-face: raw maps of three strides, three anchors a cell, five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.infer.decoders.outputs import cells, need, only
from services.infer.decoders.table import Array, Candidates, Outputs, Shapes, join

ANCHORS = {
    8: ((4, 5), (8, 10), (13, 16)),
    16: ((23, 29), (43, 55), (73, 105)),
    32: ((146, 217), (231, 300), (335, 433)),
}  # width and height in pixels by stride
COLUMNS = 16  # box 4, object, landmarks 10, class


class YoloV5Face:
    """Reads one map [1, 3, h, w, 16] a stride, without sigmoid, finest first.

    Source:
        Qi et al., "YOLO5Face: Why Reinventing a Face Detector", 2021.
    """

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        self._maps: list[tuple[str, int, Array, Array]] = []
        for name, (stride, anchors) in zip(only(shapes, len(ANCHORS), "yolov5-face"), ANCHORS.items(), strict=True):
            grid = cells(size, stride)
            need(shapes, name, (1, 3, size[1] // stride, size[0] // stride, COLUMNS), "yolov5-face")
            sides = np.repeat(np.array(anchors, np.float32), len(grid), axis=0)
            self._maps.append((name, stride, np.tile(grid, (3, 1)), sides))

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        return join(_decode(outputs[name], stride, grid, sides, min_score) for name, stride, grid, sides in self._maps)


def _decode(raw: Array, stride: int, grid: Array, sides: Array, min_score: float) -> Candidates | None:
    table = raw.reshape(-1, COLUMNS)
    rows = np.flatnonzero(table[:, 4] >= _logit(min_score))  # a product of probabilities is below each factor
    if not len(rows):
        return None
    scores = _sigmoid(table[rows, 4]) * _sigmoid(table[rows, 15])
    good = scores >= min_score
    rows, scores = rows[good], scores[good]
    found, grid, sides = table[rows], grid[rows], sides[rows]
    box = _sigmoid(found[:, :4])
    centre = (box[:, :2] * 2 - 0.5 + grid) * stride
    half = np.square(box[:, 2:]) * (2 * sides)  # (2 b)^2 * side / 2
    points = found[:, 5:15].reshape(-1, 5, 2) * sides[:, None] + grid[:, None] * stride
    return Candidates(np.concatenate((centre - half, centre + half), axis=1), scores, points.reshape(-1, 10))


def _sigmoid(values: Array) -> Array:
    result: Array = np.reciprocal(1 + np.exp(-values))
    return result


def _logit(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))
