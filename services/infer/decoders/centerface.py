"""CenterFace: a heat map of centres at stride 4, five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.infer.decoders.outputs import need, only
from services.infer.decoders.table import Candidates, Outputs, Shapes

STRIDE = 4


class CenterFace:
    """Reads heat map, scale, offset and landmarks, in the order of the model's outputs; y comes before x in all.

    Source:
        Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019.
    """

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        self._names = only(shapes, 4, "centerface")
        self._columns, rows = size[0] // STRIDE, size[1] // STRIDE
        for name, channels in zip(self._names, (1, 2, 2, 10), strict=True):
            need(shapes, name, (1, channels, rows, self._columns), "centerface")

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        heat, scale, offset, marks = (outputs[name][0].reshape(len(outputs[name][0]), -1) for name in self._names)
        at = np.flatnonzero(heat[0] >= min_score)
        cell = np.stack((at // self._columns, at % self._columns))
        size = np.exp(scale[:, at]) * STRIDE
        low = (cell + offset[:, at] + 0.5) * STRIDE - size / 2
        boxes = np.stack((low[1], low[0], low[1] + size[1], low[0] + size[0]), axis=1)
        points = marks[:, at].reshape(5, 2, -1) * size + low
        landmarks = points[:, ::-1].transpose(2, 0, 1).reshape(-1, 10)
        return Candidates(boxes.astype(np.float32), heat[0, at].astype(np.float32), landmarks.astype(np.float32))
