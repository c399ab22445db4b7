"""The decoders, one row each, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.infer.plugin import load_class

DECODERS = {
    "yunet": "services.infer.decoders.yunet:YuNet",
    "centerface": "services.infer.decoders.centerface:CenterFace",
    "retinaface": "services.infer.decoders.retinaface:RetinaFace",
    "ulfg": "services.infer.decoders.ulfg:UltraLightFast",
    "scrfd": "services.infer.decoders.scrfd:Scrfd",
    "yolov5-face": "services.infer.decoders.yolo_face:YoloV5Face",
    "yolov4": "services.infer.decoders.yolo:YoloV4",
    "yolov5": "services.infer.decoders.yolo:YoloV5",
    "hailo-nms": "services.infer.decoders.hailo_nms:HailoNms",
    "yolov8": "services.infer.decoders.yolo:YoloV8",
}

Array = NDArray[np.float32]
Outputs = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]


class Candidates(NamedTuple):
    """What a model found, before non-maximum suppression.

    Attributes:
        boxes: Shape (N, 4), xyxy in pixels of the model input.
        scores: Shape (N,), in [0, 1].
        landmarks: Shape (N, 10), x and y of right eye, left eye, nose, right and left mouth corner (as the person has
            them), in pixels of the model input; (0, 10) when the model has none.
    """

    boxes: Array
    scores: Array
    landmarks: Array


class Decoder(Protocol):
    """Made once for each input size by `Decoder(size, shapes, options)`; raises ModelError when the outputs do not fit.

    `size` is (width, height) of the input, `shapes` the output shapes by name in the model's order, `options` the
    model's own from the manifest.
    """

    def decode(self, outputs: Outputs, min_score: float) -> Candidates:
        """Candidates of at least this score; the score is compared before anything else is computed."""


NO_LANDMARKS: Array = np.empty((0, 10), np.float32)


def load_decoder(name: str, size: tuple[int, int], shapes: Shapes, options: Mapping[str, Any]) -> Decoder:
    """The decoder of a model, for one input size.

    Raises:
        ConfigError: No such decoder.
        ModelError: The outputs do not fit it.
    """
    decoder: Decoder = load_class(name, DECODERS, "decoder")(size, shapes, options)
    return decoder


def join(strides: Iterable[Candidates | None]) -> Candidates:
    """Candidates of several strides as one; None is a stride that found nothing, as most do."""
    parts = [part for part in strides if part is not None]
    if not parts:
        return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), NO_LANDMARKS)
    boxes, scores, landmarks = zip(*parts, strict=True)
    return Candidates(np.concatenate(boxes), np.concatenate(scores), np.concatenate(landmarks))
