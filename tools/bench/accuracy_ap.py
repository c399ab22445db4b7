"""Average precision of a detector at one overlap, by the size of the faces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.bench.metrics import iou

Array = NDArray[np.float64]

OVERLAP = 0.5  # from here on a box has found a face
FRAME = 640.0  # sizes are those in a frame whose longer side has so many pixels
BINS = (10.0, 20.0, 40.0, 80.0)  # lower bounds of the sizes; faces below the first are neither asked for nor false


@dataclass(frozen=True, slots=True)
class Found:
    """One picture: its faces and what a detector found.

    Attributes:
        faces: Shape (n, 4), xyxy in pixels.
        ignored: Shape (n,), faces that nobody is asked for: too blurred, or a crowd.
        boxes: Shape (m, 4), xyxy in pixels.
        scores: Shape (m,).
        longer: Longer side of the picture in pixels.
    """

    faces: Array
    ignored: NDArray[np.bool_]
    boxes: Array
    scores: Array
    longer: float


@dataclass(frozen=True, slots=True)
class Score:
    """How well a detector does on faces of some sizes.

    Attributes:
        ap: Average precision, 0 to 1; nan without faces.
        faces: How many were asked for.
        recall: Share of them that was found at any score.
    """

    ap: float
    faces: int
    recall: float


def by_size(pictures: Sequence[Found], bins: Sequence[float] = BINS, overlap: float = OVERLAP) -> dict[str, Score]:
    """Scores of all faces from the first bound on, and of each bin (`20-40`, `80+`, in pixels)."""
    edges = [*bins, float("inf")]
    ranges = {"all": (edges[0], edges[-1])}
    for low, high in itertools.pairwise(edges):
        ranges[f"{low:g}+" if np.isinf(high) else f"{low:g}-{high:g}"] = (low, high)
    return {name: score(pictures, limits, overlap) for name, limits in ranges.items()}


def score(pictures: Sequence[Found], limits: tuple[float, float], overlap: float = OVERLAP) -> Score:
    """Score of the faces between two sizes.

    A face outside the limits, and a box that finds nothing and is itself outside them, count neither way.
    """
    scores: list[Array] = []
    hits: list[NDArray[np.bool_]] = []
    faces = 0
    for picture in pictures:
        outside = picture.ignored | ~_within(picture.faces, picture.longer, limits)
        faces += int((~outside).sum())
        hit, counted = _match(picture, outside, limits, overlap)
        scores.append(picture.scores[counted])
        hits.append(hit[counted])
    if not faces:
        return Score(float("nan"), 0, float("nan"))
    ranked = np.concatenate(hits)[np.argsort(-np.concatenate(scores), kind="stable")]
    return Score(average_precision(ranked, faces), faces, float(ranked.sum()) / faces)


def average_precision(hits: NDArray[np.bool_], faces: int) -> float:
    """Area under the curve of precision over recall, precision made to never rise.

    Args:
        hits: Which boxes found a face, best score first.
        faces: How many there were to be found.

    Source:
        Everingham et al., "The PASCAL VOC Challenge 2012 Development Kit", 2012, section 3.4.1 (all points).
    """
    found = np.cumsum(hits)
    recall = found / faces
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float(np.sum(steps * envelope))


def _match(
    picture: Found, outside: NDArray[np.bool_], limits: tuple[float, float], overlap: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes found a face, and which count at all: best score first, each face once."""
    overlaps = iou(picture.boxes, picture.faces)
    hit, counted = np.zeros(len(picture.boxes), bool), np.ones(len(picture.boxes), bool)
    free = np.ones(len(picture.faces), bool)
    inside = _within(picture.boxes, picture.longer, limits)
    for row in np.argsort(-picture.scores, kind="stable"):
        near = overlaps[row] >= overlap
        wanted = np.flatnonzero(near & free & ~outside)
        if len(wanted):
            free[wanted[np.argmax(overlaps[row, wanted])]] = False
            hit[row] = True
        elif (near & outside).any() or not inside[row]:
            counted[row] = False
    return hit, counted


def _within(boxes: Array, longer: float, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Boxes whose longer side is between the limits, in a frame of the usual size."""
    if not len(boxes):
        return np.zeros(0, bool)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) * FRAME / longer
    return np.asarray((sides >= limits[0]) & (sides < limits[1]))
