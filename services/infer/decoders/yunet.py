"""YuNet: anchor-free, three strides, five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.infer.decoders.outputs import cells, need
from services.infer.decoders.table import Candidates, Outputs, Shapes, join

STRIDES = (8, 16, 32)


class YuNet:
    """Reads cls, obj, bbox and kps at each stride.

    Source:
        Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", MIR 2023; score is the geometric mean of class
        and object probability.
    """

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        self._cells = {stride: cells(size, stride) for stride in STRIDES}
        for stride, grid in self._cells.items():
            for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
                need(shapes, f"{name}_{stride}", (1, len(grid), columns), "yunet")

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        return join(self._stride(outputs, stride, min_score) for stride in STRIDES)

    def _stride(self, outputs: Outputs, stride: int, min_score: float) -> Candidates | None:
        squared = outputs[f"cls_{stride}"].reshape(-1) * outputs[f"obj_{stride}"].reshape(-1)
        rows = np.flatnonzero(squared >= min_score * min_score)
        if not len(rows):
            return None
        grid = self._cells[stride][rows]
        box = outputs[f"bbox_{stride}"].reshape(-1, 4)[rows]
        centre = (grid + box[:, :2]) * stride
        half = np.exp(box[:, 2:]) * (stride / 2)
        points = outputs[f"kps_{stride}"].reshape(-1, 5, 2)[rows] + grid[:, None]
        return Candidates(
            np.concatenate((centre - half, centre + half), axis=1),
            np.sqrt(squared[rows]),
            (points * stride).reshape(-1, 10),
        )
