"""A face detector in one object: planes of a frame in, boxes in the frame's pixels out. No process, no bus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

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
MAX_PLANS = 32  # inputs with buffers ready, two a camera with regions; cameras change their geometry rarely

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


Place = tuple[int, int, int, int]  # left, top, width and height in the model's input, pixels


class Part(NamedTuple):
    """A picture that shares the model's input with others: its planes, its geometry, and where it goes."""

    planes: Sequence[Plane]
    geometry: Geometry
    place: Place


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


_Key = tuple[tuple[Geometry, Place], ...]


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
        self._plans: dict[_Key, list[_Plan]] = {}
        self._bound: dict[tuple[int, int], Bound] = {}
        self.laps = Laps(0, 0, 0)

    @property
    def placement(self) -> Placement:
        """Where the model runs."""
        return self._backend.placement

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height that the model is fixed to; None when it takes any."""
        return self._backend.fixed_size

    @property
    def multiple(self) -> int:
        """Of which both sides of the model's input are."""
        return self._spec.input.multiple

    def input_size(self, geometry: Geometry) -> tuple[int, int]:
        """Width and height of the model's input for frames of a geometry."""
        source = (geometry.width, geometry.height)
        return self.fixed_size or model_size(source, self._settings.width, self.multiple)

    def prepare(self, geometry: Geometry) -> None:
        """Make buffers for a geometry and run the model once, so that the first frame is as fast as the others.

        Raises:
            ModelError: The model does not take this size, or its outputs do not fit the decoder.
        """
        self._whole(geometry)

    def prepare_parts(self, places: Sequence[tuple[Geometry, Place]], size: tuple[int, int]) -> None:
        """The same for `detect_parts` with pictures of these geometries at these places."""
        self._planned(tuple(places), size)

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
        plans = [self._whole(geometry) for _, geometry in pictures]
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

    def detect_parts(self, parts: Sequence[Part], size: tuple[int, int]) -> list[Detections]:
        """Faces in several pictures that lie beside each other in one input, by one run of the model.

        Args:
            parts: Their places cover the input and do not overlap.
            size: Width and height of the input.

        Raises:
            ModelError: As `prepare`.
            DeviceError: The accelerator failed.
        """
        plans = self._planned(tuple((part.geometry, part.place) for part in parts), size)
        first = plans[0]
        start = time.monotonic_ns()
        for plan, part in zip(plans, parts, strict=True):
            plan.fill.draw(part.planes)
        first.fill.push()
        filled = time.monotonic_ns()
        run_rows(first.bound, self.batch, 1)
        ran = time.monotonic_ns()
        every = first.decoder.decode(self._outputs(first.bound, 0), self._settings.min_score)
        every = _taken(every, suppress(every.boxes, every.scores, self._iou))
        found = [
            self._placed(_taken(every, _centred(every.boxes, part.place)), plan.box)
            for plan, part in zip(plans, parts, strict=True)
        ]
        self.laps = Laps(filled - start, ran - filled, time.monotonic_ns() - ran)
        return found

    def _outputs(self, bound: Bound, row: int) -> Outputs:
        """The outputs of one picture, as they are when it is alone."""
        if self.batch == 1:
            return bound.outputs
        return {name: value[row : row + 1] for name, value in bound.outputs.items()}

    def _whole(self, geometry: Geometry) -> _Plan:
        """The plan of a geometry that has the usual input for itself."""
        size = self.input_size(geometry)
        return self._planned(((geometry, (0, 0, *size)),), size)[0]

    def _planned(self, parts: _Key, size: tuple[int, int]) -> list[_Plan]:
        """The plans of pictures that share an input of this size."""
        if (plans := self._plans.get(parts)) is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans)))
            plans = []
            for geometry, place in parts:
                plans.append(self._plan(geometry, place, size, plans[0].fill if plans else None))
            self._plans[parts] = plans
            sizes = {known[0].box.model for known in self._plans.values()}
            self._bound = {key: bound for key, bound in self._bound.items() if key in sizes}
        return plans

    def _plan(self, geometry: Geometry, place: Place, size: tuple[int, int], beside: Preprocess | None) -> _Plan:
        bound = self._bound.get(size) or bind_batch(self._backend, size, self.batch)
        self._bound[size] = bound
        shapes = {name: value.shape for name, value in self._outputs(bound, 0).items()}
        decoder = load_decoder(self._spec.decoder, size, shapes, self._spec.options)
        left, top, *room = place
        inside = fit((geometry.width, geometry.height), (room[0], room[1]))
        box = replace(inside, model=size, left=left + inside.left, top=top + inside.top)
        return _Plan(box, bound, Preprocess(geometry, box, self._spec.input, bound.tensor, beside), decoder)

    def _finish(self, found: Candidates, box: Letterbox) -> Detections:
        """Suppress doubles, and go back to the frame's pixels."""
        return self._placed(_taken(found, suppress(found.boxes, found.scores, self._iou)), box)

    @staticmethod
    def _placed(found: Candidates, box: Letterbox) -> Detections:
        """Faces in the frame's pixels, cut at its border."""
        if not len(found.scores):
            return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 10), np.float32))
        boxes = box.to_source(found.boxes)
        width, height = box.source
        np.clip(boxes, 0, (width, height, width, height), out=boxes)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        landmarks = box.to_source(found.landmarks)[inside] if len(found.landmarks) else found.landmarks
        scores = np.minimum(found.scores[inside], 1.0, dtype=np.float32)
        return Detections(boxes[inside], scores, landmarks.astype(np.float32, copy=False))


def _taken(found: Candidates, rows: NDArray[Any]) -> Candidates:
    """Some of the candidates."""
    marks = found.landmarks
    return Candidates(found.boxes[rows], found.scores[rows], marks[rows] if len(marks) else marks)


def _centred(boxes: Array, place: Place) -> NDArray[np.bool_]:
    """Which boxes have their middle in a place."""
    left, top, width, height = place
    twice = boxes[:, :2] + boxes[:, 2:]
    return np.asarray(((twice >= (2 * left, 2 * top)) & (twice < (2 * (left + width), 2 * (top + height)))).all(axis=1))


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
