"""Trackers to compare: ours, those of other packages where they are installed, and any `name=module:Class`."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.settings import InferSettings, TrackSettings

Array = NDArray[np.float64]


class Updated(Protocol):
    """What is compared: (N, 5) x1, y1, x2, y2, score in, (M, 5) x1, y1, x2, y2, id out, once a frame."""

    def update(self, detections: Array) -> Any:
        """Take a frame."""


Make = Callable[[], Updated]


def ours() -> dict[str, Make]:
    """Both modes with the settings of a new node."""
    return {"face": _face, "sort": _sort}


def named(text: str) -> tuple[str, Make]:
    """`name=module:Class?key=value,key=value`.

    Raises:
        ConfigError: It is not written so, or there is no such class.
    """
    name, _, spec = text.partition("=")
    place, _, query = spec.partition("?")
    module, _, attribute = place.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
        items = (part.partition("=") for part in filter(None, query.split(",")))
        arguments = {key: ast.literal_eval(value) for key, _, value in items}
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ConfigError(f"--tracker {text!r}: {error}; like mine=package.module:Class?max_age=30") from error
    return name, lambda: kind(**arguments)


def peers() -> dict[str, Make]:
    """Trackers of other packages that can be built here, each with its own defaults."""
    found = {}
    for name, make in PEERS.items():
        try:
            make().update(np.array([[0.0, 0.0, 20.0, 20.0, 0.9]]))
        except ImportError:
            continue
        found[name] = make
    return found


def _face() -> Updated:
    from services.track.face import FaceTracker

    track, start = TrackSettings(), InferSettings().min_score
    return FaceTracker(
        track.max_age, track.min_hits, track.iou_threshold, start_score=start, low_score=min(track.low_score, start)
    )


def _sort() -> Updated:
    from services.track.sort import Sort

    track = TrackSettings()
    return _Sure(Sort(track.max_age, track.min_hits, track.iou_threshold), InferSettings().min_score)


class _Sure:
    """Gives a tracker sure detections only."""

    def __init__(self, tracker: Updated, least: float) -> None:
        self._tracker, self._least = tracker, least

    def update(self, detections: Array) -> Any:
        return self._tracker.update(np.ascontiguousarray(detections[detections[:, 4] >= self._least]))


class _Called:
    """A peer behind a function of its own."""

    def __init__(self, update: Callable[[Array], Any]) -> None:
        self.update = update


def _reference() -> Updated:
    tracker = importlib.import_module("sort_tracker").SortTracker(max_age=30, min_hits=3, iou_threshold=0.3)
    return _Called(lambda rows: _columns(tracker.update(rows), (0, 1, 2, 3, -1)))


def _cython(name: str, *arguments: Any) -> Updated:
    tracker = getattr(importlib.import_module("pyxtrackers"), name)(*arguments)
    return _Called(lambda rows: _columns(tracker.update(np.ascontiguousarray(rows)), (0, 1, 2, 3, 4)))


def _rust() -> Updated:
    tracker = importlib.import_module("ioutrack").ByteTrack(max_age=30, min_hits=3, iou_threshold=0.3)
    return _Called(lambda rows: tracker.update(np.ascontiguousarray(rows), False))


def _roboflow(name: str, **arguments: Any) -> Updated:
    tracker = getattr(importlib.import_module("trackers"), name)(**arguments)
    supervision = importlib.import_module("supervision")

    def update(rows: Array) -> Array:
        given = supervision.Detections.empty()
        if len(rows):
            boxes, scores = rows[:, :4].astype(np.float32), rows[:, 4].astype(np.float32)
            given = supervision.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(rows), int))
        out = tracker.update(given)
        if out.tracker_id is None:
            return np.empty((0, 5))
        good = out.tracker_id >= 0
        return np.column_stack([out.xyxy[good], out.tracker_id[good]]).astype(np.float64)

    return _Called(update)


def _columns(rows: Any, order: tuple[int, ...]) -> Array:
    table = np.asarray(rows, dtype=np.float64)
    return table[:, order] if len(table) else np.empty((0, 5))


PEERS: Mapping[str, Make] = {
    "SORT, reference (sort-tracker-py)": _reference,
    "SORT (pyxtrackers)": lambda: _cython("Sort", 30, 3, 0.3),
    "ByteTrack (pyxtrackers)": lambda: _cython("BYTETracker"),
    "OC-SORT (pyxtrackers)": lambda: _cython("OCSort", 0.3),
    "ByteTrack (ioutrack-rs)": _rust,
    "SORT (trackers)": lambda: _roboflow("SORTTracker"),
    "ByteTrack (trackers)": lambda: _roboflow("ByteTrackTracker"),
    "OC-SORT (trackers)": lambda: _roboflow("OCSORTTracker"),
    "C-BIoU (trackers)": lambda: _roboflow("CBIoUTracker"),
    "BoT-SORT (trackers)": lambda: _roboflow("BoTSORTTracker", enable_cmc=False),
}
