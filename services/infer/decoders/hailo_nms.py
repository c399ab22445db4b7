"""The output of models that end in Hailo's own non-maximum suppression: for each class a count, then that many boxes.

Option `classes` lists the class numbers that count; the person and face model of Raspberry Pi OS has faces in class 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import ConfigError, ModelError
from services.infer.decoders.outputs import only
from services.infer.decoders.table import NO_LANDMARKS, Array, Candidates, Outputs, Shapes

COLUMNS = 5  # y and x of the upper left corner, y and x of the lower right one in 0..1, score


class HailoNms:
    """Reads `hailo nms by class` of HailoRT, float32."""

    def __init__(self, size: tuple[int, int], shapes: Shapes, options: Mapping[str, Any]) -> None:
        self._name = only(shapes, 1, "hailo-nms")[0]
        shape = tuple(shapes[self._name])
        self._classes = options.get("classes", [0])
        if shape[:-1] not in {(), (1,)}:
            raise ModelError(f"decoder hailo-nms: output {self._name!r} has shape {shape}, (1, N) expected")
        if not isinstance(self._classes, list) or not all(isinstance(item, int) for item in self._classes):
            raise ConfigError(f"decoder hailo-nms: options.classes={self._classes!r}: a list of class numbers expected")
        self._scale = np.array([size[1], size[0], size[1], size[0]], np.float32)

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        flat = outputs[self._name].reshape(-1)
        found: list[Array] = []
        at = number = 0
        while at < len(flat) and number <= max(self._classes):
            if not 0 <= flat[at] <= (len(flat) - at - 1) // COLUMNS:
                break  # a broken device: the rest cannot be read
            count = int(flat[at])
            if number in self._classes:
                found.append(flat[at + 1 : at + 1 + count * COLUMNS].reshape(-1, COLUMNS))
            at, number = at + 1 + count * COLUMNS, number + 1
        table = np.concatenate(found) if found else np.empty((0, COLUMNS), np.float32)
        table = table[table[:, 4] >= min_score]
        boxes = (table[:, :4] * self._scale)[:, [1, 0, 3, 2]]
        return Candidates(boxes.astype(np.float32), table[:, 4].astype(np.float32), NO_LANDMARKS)
