"""A face detector in one object: planes of a frame in, boxes in the frame's pixels out. No process, no bus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.config import cache_dir
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import InferSettings
from services.infer.backends import Backend, Bound, Placement, bind_batch, load_backend, run_rows
from services.infer.decoders.table import Candidates, Decoder, Outputs, load_decoder
from services.infer.letterbox import Letterbox, fit, model_size
from services.infer.manifest import ModelSpec, find_model
from services.infer.nms import suppress
from services.infer.preprocess import Preprocess, limit_threads

USUAL = Geometry(1280, 720, PixelFormat.BGR)  # what a model is tried with when no camera is known yet
MAX_PLANS = 16  # geometries with buffers ready; cameras change theirs rarely

Array = NDArray[np.float32]
Picture = tuple[
    Sequence[Plane], Geometry
]  # planes of a frame, as `Geometry.planes` makes them, only read; and its geometry


class Detections(NamedTuple):
    """Faces in one frame, best score first.

    Attributes:
        boxes: Shape (N, 4), xyxy in pixels of the frame, inside it.
        scores: Shape (N,), in [0, 1].
        landmarks: Shape (N, 10), pixels of the frame, not clipped; (0, 10) when the model has none.
    """

    boxes: Array
    scores: Array
    landmarks: Array


class Laps(NamedTuple):
    """How long the stages of one run took, nanoseconds, all its frames together."""

    pre: int
    infer: int
    post: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one geometry needs."""

    box: Letterbox
    bound: Bound
    fill: Preprocess
    decoder: Decoder


class Detector:
    """A loaded model with its pre- and postprocessing; one thread at a time.

    Attributes:
        batch: Most frames in one run.
        laps: Stage times of the last run.
    """

    def __init__(self, spec: ModelSpec, backend: Backend, settings: InferSettings) -> None:
        self._spec, self._backend, self._settings = spec, backend, settings
        self.batch = settings.max_batch
        self._iou = spec.nms_iou if settings.nms_iou is None else settings.nms_iou
        self._plans: dict[Geometry, _Plan] = {}
        self._bound: dict[tuple[int, int], Bound] = {}
        self.laps = Laps(0, 0, 0)

    @property
    def placement(self) -> Placement:
        """Where the model runs."""
        return self._backend.placement

    def input_size(self, geometry: Geometry) -> tuple[int, int]:
        """Width and height of the model's input for frames of a geometry."""
        source = (geometry.width, geometry.height)
        return self._backend.fixed_size or model_size(source, self._settings.width, self._spec.input.multiple)

    def prepare(self, geometry: Geometry) -> None:
        """Make buffers for a geometry and run the model once, so that the first frame is as fast as the others.

        Raises:
            ModelError: The model does not take this size, or its outputs do not fit the decoder.
        """
        if geometry not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[geometry] = self._plan(geometry)
            sizes = {plan.box.model for plan in self._plans.values()}
            self._bound = {size: bound for size, bound in self._bound.items() if size in sizes}

    def try_out(self, geometry: Geometry) -> None:
        """Prove the model with a geometry, and keep only what other geometries of that input size can use.

        Raises:
            ModelError: As `prepare`.
        """
        self.prepare(geometry)
        self._plans.clear()

    def detect(self, planes: Sequence[Plane], geometry: Geometry) -> Detections:
        """Faces in one frame.

        Args:
            planes: Views of the frame's planes, as `Geometry.planes` makes them; read only.
            geometry: Of the frame.

        Raises:
            ModelError: As `prepare`.
            DeviceError: The accelerator failed.
        """
        return self.detect_all([(planes, geometry)])[0]

    def detect_all(self, pictures: Sequence[Picture]) -> list[Detections]:
        """Faces in several frames, by one run of the model.

        Args:
            pictures: At most `batch`, all of one input size (`input_size`); each has a letterbox of its own.

        Raises:
            ModelError: As `prepare`.
            DeviceError: The accelerator failed.
            ValueError: The input sizes differ.
        """
        plans = []
        for _, geometry in pictures:
            self.prepare(geometry)
            plans.append(self._plans[geometry])
        bound = plans[0].bound
        if any(plan.bound is not bound for plan in plans):
            raise ValueError(f"input sizes {[plan.box.model for plan in plans]}: frames of one run have the same")
        start = time.monotonic_ns()
        for row, (plan, (planes, _)) in enumerate(zip(plans, pictures, strict=True)):
            plan.fill(planes, row)
        filled = time.monotonic_ns()
        run_rows(bound, self.batch, len(plans))
        ran = time.monotonic_ns()
        least = self._settings.min_score
        found = [
            self._finish(plan.decoder.decode(self._outputs(bound, row), least), plan.box)
            for row, plan in enumerate(plans)
        ]
        self.laps = Laps(filled - start, ran - filled, time.monotonic_ns() - ran)
        return found

    def _outputs(self, bound: Bound, row: int) -> Outputs:
        """The outputs of one picture, as they are when it is alone."""
        if self.batch == 1:
            return bound.outputs
        return {name: value[row : row + 1] for name, value in bound.outputs.items()}

    def _plan(self, geometry: Geometry) -> _Plan:
        size = self.input_size(geometry)
        bound = self._bound.get(size) or bind_batch(self._backend, size, self.batch)
        self._bound[size] = bound
        shapes = {name: value.shape for name, value in self._outputs(bound, 0).items()}
        decoder = load_decoder(self._spec.decoder, size, shapes, self._spec.options)
        box = fit((geometry.width, geometry.height), size)
        return _Plan(box, bound, Preprocess(geometry, box, self._spec.input, bound.tensor), decoder)

    def _finish(self, found: Candidates, box: Letterbox) -> Detections:
        """Suppress doubles, go back to the frame's pixels, and cut at its border."""
        if not len(found.scores):
            return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 10), np.float32))
        rows = suppress(found.boxes, found.scores, self._iou)
        boxes = box.to_source(found.boxes[rows])
        width, height = box.source
        np.clip(boxes, 0, (width, height, width, height), out=boxes)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        landmarks = box.to_source(found.landmarks[rows])[inside] if len(found.landmarks) else found.landmarks
        scores = np.minimum(found.scores[rows][inside], 1.0, dtype=np.float32)
        return Detections(boxes[inside], scores, landmarks.astype(np.float32, copy=False))


def build_detector(
    settings: InferSettings, geometry: Geometry | None = None, models_dir: Path | None = None
) -> Detector:
    """Load the model of the settings.

    Args:
        settings: Model, backend, size and thresholds.
        geometry: Of the frames to come, when known; the model is tried with it.
        models_dir: The model cache, when not the usual one.

    Raises:
        ConfigError: A wrong name: model, backend, provider, decoder.
        DeviceError: The model file is not there; the message says how to get it.
        ModelError: The file cannot be run, or does not fit its decoder.
    """
    limit_threads(settings.threads)
    spec, path = find_model(settings.model, models_dir or cache_dir() / "models")
    detector = Detector(spec, load_backend(path, settings, spec.input.layout), settings)
    if geometry is None:
        detector.try_out(USUAL)
    else:
        detector.prepare(geometry)
    return detector
