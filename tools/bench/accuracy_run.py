"""Runs a detector of the node over labelled pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common.settings import InferSettings
from services.infer.backends import load_backend
from services.infer.detector import Detector, build_detector
from services.infer.preprocess import limit_threads
from tools.bench.accuracy_ap import Found
from tools.bench.accuracy_sets import Labelled
from tools.models.frames import Picture, read_picture
from tools.models.sidecar import spec_of

LEAST_SCORE = 0.02  # average precision looks at unsure boxes too
Tick = Callable[[], None]


def detector_of(model: str, width: int, threads: int = 1, min_score: float = LEAST_SCORE) -> Detector:
    """A detector as the node builds it, told to give unsure boxes too."""
    settings = InferSettings(model=model, width=width, threads=threads, min_score=min_score)
    path = Path(model)
    if path.suffix == ".onnx" and not path.with_suffix(".toml").is_file() and (spec := spec_of(model)) is not None:
        limit_threads(threads)
        return Detector(spec, load_backend(path, settings, spec.input.layout), settings)  # a file of the model cache
    return build_detector(settings)


def run_set(detector: Detector, pictures: Sequence[Labelled], tick: Tick = lambda: None) -> list[Found]:
    """What a detector finds in labelled pictures.

    Raises:
        DeviceError: A picture cannot be read.
    """
    found = []
    for item in pictures:
        found.append(find(detector, read_picture(item.path), item.faces, item.ignored))
        tick()
    return found


def find(detector: Detector, picture: Picture, faces: np.ndarray, ignored: np.ndarray) -> Found:
    """What a detector finds in one picture."""
    geometry, planes = picture
    boxes, scores, _ = detector.detect(planes, geometry)
    longer = float(max(geometry.width, geometry.height))
    return Found(faces, ignored, boxes.astype(np.float64), scores.astype(np.float64), longer)


def model_name(model: str) -> str:
    """How tables name a model."""
    return Path(model).stem if model.endswith((".onnx", ".toml")) else model
