"""SCRFD: two anchors a cell, distances to the four sides, five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import ModelError
from services.infer.decoders.outputs import cells, only
from services.infer.decoders.table import Candidates, Outputs, Shapes, join

STRIDES = (8, 16, 32)
ANCHORS = 2


class Scrfd:
    """Reads scores, distances and landmarks of three strides; exports differ in names, so shapes tell which is which.

    Source:
        Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022.
    """

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        only(shapes, 9, "scrfd")
        self._centres = {stride: cells(size, stride, ANCHORS) * stride for stride in STRIDES}
        self._names: dict[tuple[int, int], str] = {}
        for stride, centres in self._centres.items():
            for columns in (1, 4, 10):
                grid = (-(-size[1] // stride), -(-size[0] // stride), ANCHORS * columns)
                self._names[stride, columns] = _find(shapes, (len(centres), columns), grid, stride)

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        return join(self._stride(outputs, stride, min_score) for stride in STRIDES)

    def _stride(self, outputs: Outputs, stride: int, min_score: float) -> Candidates | None:
        scores = outputs[self._names[stride, 1]].reshape(-1)
        rows = np.flatnonzero(scores >= min_score)
        if not len(rows):
            return None
        centres = self._centres[stride][rows]
        sides = outputs[self._names[stride, 4]].reshape(-1, 4)[rows] * stride
        points = outputs[self._names[stride, 10]].reshape(-1, 5, 2)[rows] * stride + centres[:, None]
        boxes = np.concatenate((centres - sides[:, :2], centres + sides[:, 2:]), axis=1)
        return Candidates(boxes, scores[rows], points.reshape(-1, 10))


def _find(shapes: Shapes, wanted: tuple[int, int], grid: tuple[int, int, int], stride: int) -> str:
    """Name of the output of this shape, with or without a batch axis, or as the map that a Hailo device gives."""
    for name, shape in shapes.items():
        if tuple(shape) in {wanted, (1, *wanted), (1, *grid)}:
            return name
    found = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    raise ModelError(f"decoder scrfd: no output of shape {wanted} for stride {stride}; the model has {found}")
