"""What the plain designs are made of, as people write it: OpenCV, blobFromImage, a session, a tracker, a drawing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.config import cache_dir
from common.settings import InferSettings
from services.infer.decoders.table import load_decoder
from services.infer.manifest import find_model
from services.infer.nms import suppress
from services.infer.onnxruntime_backend import OnnxRuntimeBackend

Picture = NDArray[np.uint8]
SIZE = (640, 384)


def paced(clip: str, fps: float) -> Iterator[tuple[int, Picture]]:
    """Frames of a clip again and again, as a camera gives them: (captured_ns, BGR), decoded before they are due."""
    period, number, start = 1 / fps, 0, time.monotonic()
    while True:
        reader = cv2.VideoCapture(clip)
        while True:
            there, picture = reader.read()
            if not there:
                break
            delay = start + number * period - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            else:
                start -= delay
            number += 1
            yield time.monotonic_ns(), picture.astype(np.uint8, copy=False)
        reader.release()


class Finder:
    """YuNet by ONNX Runtime with one thread, the node's own decoder and suppression behind blobFromImage."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        settings = InferSettings()
        spec, path = find_model(settings.model, cache_dir() / "models")
        backend = OnnxRuntimeBackend(path, settings, spec.input.layout)
        self._session: Any = backend._session  # noqa: SLF001 - the same session options, without the node's buffers
        self._name = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._iou = spec.nms_iou
        shapes = {k: v.shape for k, v in self._run(np.zeros((*SIZE[::-1], 3), np.uint8)).items()}
        self._decoder = load_decoder(spec.decoder, SIZE, shapes, spec.options)

    def __call__(self, picture: Picture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (N, 4) xyxy in pixels of the picture, and scores (N,)."""
        height, width = picture.shape[:2]
        scale = min(SIZE[0] / width, SIZE[1] / height)
        inner = (round(width * scale), round(height * scale))
        canvas = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        canvas[: inner[1], : inner[0]] = cv2.resize(picture, inner)
        found = self._decoder.decode(self._run(canvas), 0.3)
        if not len(found.scores):
            return np.empty((0, 4)), np.empty(0)
        rows = suppress(found.boxes, found.scores, self._iou)
        return found.boxes[rows].astype(np.float64) / scale, found.scores[rows].astype(np.float64)

    def _run(self, canvas: Picture) -> dict[str, NDArray[np.float32]]:
        blob = cv2.dnn.blobFromImage(canvas)
        return dict(zip(self._outputs, self._session.run(self._outputs, {self._name: blob}), strict=True))


class Watcher:
    """The node's tracker, and boxes drawn into the picture."""

    def __init__(self) -> None:
        from services.track.face import FaceTracker

        self._tracker = FaceTracker(30, 3, 0.3, start_score=0.6, low_score=0.3)

    def __call__(self, picture: Picture, boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Follow and draw."""
        tracks = self._tracker.step(boxes, scores, 1.0)
        for row in np.flatnonzero(tracks.shown):
            left, top, right, bottom = (int(value) for value in tracks.boxes[row])
            cv2.rectangle(picture, (left, top), (right, bottom), (0, 255, 0), 2)
            cv2.putText(picture, str(tracks.ids[row]), (left, top - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 0), 2)
