"""Measures models side by side on this machine, speed and accuracy, and recommends one: int8 is not always faster."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.infer.detector import Detector
from tools.bench.accuracy_ap import Found, score
from tools.bench.accuracy_run import LEAST_SCORE, detector_of, find, run_set
from tools.bench.accuracy_sets import Labelled
from tools.models.frames import Picture

ROUNDS = 30  # of each model, one after the other, so that what else the machine does meets all alike
WARM = 3
SURE = 0.6  # boxes of the float model from here on are the truth where there are no labels
WORTH = 1.05  # faster by less is not worth another file
ALL = (10.0, float("inf"))  # sizes of the faces, pixels in a 640 wide frame


@dataclass(frozen=True, slots=True)
class Trial:
    """One model as measured.

    Attributes:
        name: Of the variant; the first is the float model.
        path: Its file.
        median_ms: Time of one run.
        low_ms: Tenth percentile of it: what the machine can do when nothing disturbs.
        speedup: How often faster than the float model, by medians.
        ap: Average precision at IoU 0.5, of faces from 10 pixels on.
        loss: What is lost of it against the float model.
    """

    name: str
    path: Path
    median_ms: float
    low_ms: float
    speedup: float
    ap: float
    loss: float

    def as_json(self) -> dict[str, Any]:
        """The trial for programs."""
        return {
            "name": self.name,
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "median_ms": round(self.median_ms, 3),
            "p10_ms": round(self.low_ms, 3),
            "speedup": round(self.speedup, 3),
            "ap": round(self.ap, 4),
            "loss": round(self.loss, 4),
        }


def compare(
    models: Mapping[str, Path],
    pictures: Sequence[Picture],
    labels: Sequence[Labelled],
    width: int,
    threads: int,
    tick: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Measure models, the float one first.

    Args:
        models: Files by name of the variant.
        pictures: What they are timed with; without labels also what they are judged by, against the float model.
        labels: Labelled pictures; may be empty.
        width: Longer side of their input.
        threads: Of each model.
        tick: Called after each picture and round.
    """
    times = _times({name: detector_of(str(path), width, threads) for name, path in models.items()}, pictures, tick)
    points = _points(models, pictures, labels, width, tick)
    middle = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(models))
    return [
        Trial(
            name,
            path,
            middle[name],
            float(np.quantile(times[name], 0.1)),
            middle[first] / middle[name],
            points[name],
            points[first] - points[name],
        )
        for name, path in models.items()
    ]


def recommend(trials: Sequence[Trial], most_loss: float) -> tuple[Trial, str]:
    """The model to take, and why."""
    first, *others = trials
    exact = [trial for trial in others if trial.loss <= most_loss]
    best = max(exact, key=lambda trial: trial.speedup, default=None)
    if best is None:
        least = min(others, key=lambda trial: trial.loss)
        return first, f"every int8 variant loses more than {most_loss:g} (the least: {least.name}, {least.loss:.3f})"
    if best.speedup < WORTH:
        return first, f"int8 is not faster here ({best.name}: {best.speedup:.2f}x)"
    return best, f"{best.speedup:.2f}x as fast, average precision {best.ap:.3f}, {first.ap:.3f} before"


def _times(
    detectors: Mapping[str, Detector], pictures: Sequence[Picture], tick: Callable[[], None]
) -> dict[str, list[float]]:
    """Milliseconds of the model alone, round by round."""
    found: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(ROUNDS + WARM):
        geometry, planes = pictures[number % len(pictures)]
        for name, detector in detectors.items():
            detector.prepare(geometry)
            detector.detect(planes, geometry)
            if number >= WARM:
                found[name].append(detector.laps.infer / 1e6)
        tick()
    return found


def _points(
    models: Mapping[str, Path],
    pictures: Sequence[Picture],
    labels: Sequence[Labelled],
    width: int,
    tick: Callable[[], None],
) -> dict[str, float]:
    """Average precision of each model: on labels, or against what the first of them is sure of."""
    detectors = {name: detector_of(str(path), width, min_score=LEAST_SCORE) for name, path in models.items()}
    if labels:
        return {name: score(run_set(detector, labels, tick), ALL).ap for name, detector in detectors.items()}
    truth = []
    sure = next(iter(detectors.values()))
    for geometry, planes in pictures:
        boxes, scores, _ = sure.detect(planes, geometry)
        truth.append((boxes[scores >= SURE].astype(np.float64), np.zeros(int((scores >= SURE).sum()), bool)))
    found: dict[str, list[Found]] = {name: [] for name in detectors}
    for name, detector in detectors.items():
        for picture, (faces, ignored) in zip(pictures, truth, strict=True):
            found[name].append(find(detector, picture, faces, ignored))
            tick()
    return {name: score(items, ALL).ap for name, items in found.items()}
