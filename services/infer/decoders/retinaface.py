"""RetinaFace with the MobileNet backbone: SSD anchors, five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.infer.decoders.outputs import cells, need
from services.infer.decoders.table import Candidates, Outputs, Shapes

ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # sides in pixels by stride
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


class RetinaFace:
    """Reads loc, conf and landmarks.

    Source:
        Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", 2019.
    """

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        centres, sides = [], []
        for stride, anchors in ANCHORS.items():
            grid = (cells(size, stride, len(anchors)) + 0.5) * stride
            centres.append(grid)
            sides.append(np.tile(np.array(anchors, np.float32), len(grid) // len(anchors)))
        self._centres, self._sides = np.concatenate(centres), np.concatenate(sides)[:, None]
        for name, columns in (("loc", 4), ("conf", 2), ("landmarks", 10)):
            need(shapes, name, (1, len(self._centres), columns), "retinaface")

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        scores = outputs["conf"][0, :, 1]
        rows = np.flatnonzero(scores >= min_score)
        centre, side, loc = self._centres[rows], self._sides[rows], outputs["loc"][0, rows]
        middle = centre + loc[:, :2] * (CENTRE_VARIANCE * side)
        half = np.exp(loc[:, 2:] * SIZE_VARIANCE) * side / 2
        points = outputs["landmarks"][0, rows].reshape(-1, 5, 2) * (CENTRE_VARIANCE * side[:, None]) + centre[:, None]
        return Candidates(np.concatenate((middle - half, middle + half), axis=1), scores[rows], points.reshape(-1, 10))
