"""Ultra-Light-Fast (RFB-320, slim-320, RFB-640): boxes decoded in the graph, no landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.infer.decoders.outputs import cells, need
from services.infer.decoders.table import NO_LANDMARKS, Candidates, Outputs, Shapes

ANCHORS = {8: 3, 16: 2, 32: 2, 64: 3}  # number of anchors a cell by stride


class UltraLightFast:
    """Reads scores and boxes; a file whose boxes are raw offsets has other names and is refused."""

    def __init__(self, size: tuple[int, int], shapes: Shapes, _options: Mapping[str, Any]) -> None:
        count = sum(len(cells(size, stride, anchors)) for stride, anchors in ANCHORS.items())
        need(shapes, "scores", (1, count, 2), "ulfg")
        need(shapes, "boxes", (1, count, 4), "ulfg")
        self._scale = np.array([*size, *size], np.float32)

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        scores = outputs["scores"][0, :, 1]
        rows = np.flatnonzero(scores >= min_score)
        return Candidates(outputs["boxes"][0, rows] * self._scale, scores[rows], NO_LANDMARKS)
