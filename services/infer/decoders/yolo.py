"""Plain YOLO outputs: one table of boxes with class scores, in the three forms that exports have.

Option `classes` lists the class numbers that count (a head, a face, a person); option `landmarks` says that a v8 table
carries five points of x, y and visibility.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import ConfigError, ModelError
from services.infer.decoders.outputs import need, only
from services.infer.decoders.table import NO_LANDMARKS, Array, Candidates, Outputs, Shapes

POINTS = 15  # five landmarks of x, y, visibility


class YoloV4:
    """YOLOv4 and v4-tiny: boxes [1, N, 1, 4], xyxy in 0..1, and confidences [1, N, classes]."""

    def __init__(self, size: tuple[int, int], shapes: Shapes, options: Mapping[str, Any]) -> None:
        self._boxes, self._scores = only(shapes, 2, "yolov4")
        scores = shapes[self._scores]
        if len(scores) != 3:
            raise ModelError(
                f"decoder yolov4: output {self._scores!r} has shape {tuple(scores)}, (1, N, classes) expected"
            )
        need(shapes, self._boxes, (1, scores[1], 1, 4), "yolov4")
        self._classes = _classes(options, scores[2], "yolov4")
        self._scale = np.array([*size, *size], np.float32)

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        scores = outputs[self._scores][0][:, self._classes].max(axis=1)
        rows = np.flatnonzero(scores >= min_score)
        return Candidates(outputs[self._boxes][0, rows, 0] * self._scale, scores[rows], NO_LANDMARKS)


class YoloV5:
    """YOLOv5, v7: [1, N, 5 + classes], cxcywh in pixels, object score, class scores."""

    def __init__(self, _size: tuple[int, int], shapes: Shapes, options: Mapping[str, Any]) -> None:
        self._name = only(shapes, 1, "yolov5")[0]
        shape = tuple(shapes[self._name])
        if len(shape) != 3 or shape[2] < 6 or shape[2] > shape[1]:
            raise ModelError(f"decoder yolov5: output {self._name!r} has shape {shape}, (1, N, 5 + classes) expected")
        self._classes = 5 + _classes(options, shape[2] - 5, "yolov5")

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        table = outputs[self._name][0]
        table = table[table[:, 4] >= min_score]
        scores = table[:, 4] * table[:, self._classes].max(axis=1)
        good = scores >= min_score
        return Candidates(_corners(table[good, :4]), scores[good], NO_LANDMARKS)


class YoloV8:
    """YOLOv8 and later: [1, 4 + classes (+ 15), N], cxcywh in pixels, class scores, landmarks."""

    def __init__(self, _size: tuple[int, int], shapes: Shapes, options: Mapping[str, Any]) -> None:
        self._name = only(shapes, 1, "yolov8")[0]
        shape = tuple(shapes[self._name])
        self._points = POINTS if options.get("landmarks") else 0
        if len(shape) != 3 or shape[1] < 5 + self._points or shape[1] > shape[2]:
            wanted = f"(1, 4 + classes{' + 15' if self._points else ''}, N)"
            raise ModelError(f"decoder yolov8: output {self._name!r} has shape {shape}, {wanted} expected")
        self._classes = 4 + _classes(options, shape[1] - 4 - self._points, "yolov8")

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score."""
        table = outputs[self._name][0]
        scores = table[self._classes].max(axis=0)
        rows = np.flatnonzero(scores >= min_score)
        found = table[:, rows].T
        if not self._points:
            return Candidates(_corners(found[:, :4]), scores[rows], NO_LANDMARKS)
        points = found[:, -POINTS:].reshape(-1, 5, 3)[:, :, :2]
        return Candidates(_corners(found[:, :4]), scores[rows], points.reshape(-1, 10))


def _corners(cxcywh: Array) -> Array:
    half = cxcywh[:, 2:] / 2
    return np.concatenate((cxcywh[:, :2] - half, cxcywh[:, :2] + half), axis=1)


def _classes(options: Mapping[str, Any], count: int, decoder: str) -> Any:
    """Class numbers that count, checked."""
    chosen = options.get("classes", [0])
    if (
        not isinstance(chosen, list)
        or not chosen
        or not all(type(item) is int and 0 <= item < count for item in chosen)
    ):
        raise ConfigError(f"decoder {decoder}: options.classes={chosen!r}; the model has classes 0 to {count - 1}")
    return np.array(chosen)
