"""Folders in the format of the MOT challenge: detections and ground truth, frame by frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError

Array = NDArray[np.float64]
Labelled = tuple[NDArray[np.int64], Array]  # ids, shape (n,), and boxes xyxy, shape (n, 4)

NOBODY = np.empty((0, 5))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence.

    Attributes:
        name: Of its folder.
        detections: Of each frame, shape (n, 5): box xyxy, score.
        truth: Of each frame: ids and boxes; None when there is no gt.txt.
        clip: The video, when there is one.
    """

    name: str
    detections: list[Array]
    truth: list[Labelled] | None
    clip: Path | None


def load_sequences(folder: Path, names: str = "") -> list[Sequence]:
    """Every sequence in a folder: <name>/det/det.txt or <name>/det.txt, with gt and clip.mp4 alike.

    Args:
        folder: Holds the sequences.
        names: Comma list of those that are wanted; empty for all.

    Raises:
        ConfigError: There is none, or a named one is missing.
    """
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _file(path, "det")}
    wanted = names.split(",") if names else list(found)
    if missing := [name for name in wanted if name not in found]:
        raise ConfigError(f"{folder}: no sequence {', '.join(missing)}; there are {', '.join(found) or 'none'}")
    if not wanted:
        raise ConfigError(f"{folder}: no folder with a det/det.txt")
    return [load_sequence(found[name]) for name in wanted]


def load_sequence(folder: Path) -> Sequence:
    """One sequence."""
    det, gt = _file(folder, "det"), _file(folder, "gt")
    rows, truth = _rows(det) if det else np.empty((0, 10)), _rows(gt) if gt else None
    last = int(max([_length(folder), *rows[:, 0], *(truth[:, 0] if truth is not None else ())]))
    detections = [_corners(part[:, 2:7]) for part in _frames(rows, last)]
    clip = folder / "clip.mp4"
    labelled = None
    if truth is not None:
        truth = truth[truth[:, 6] != 0]  # rows of weight 0 are not to be judged
        labelled = [(part[:, 1].astype(np.int64), _corners(part[:, 2:6])) for part in _frames(truth, last)]
    return Sequence(folder.name, detections, labelled, clip if clip.is_file() else None)


def _file(folder: Path, kind: str) -> Path | None:
    return next((path for path in (folder / kind / f"{kind}.txt", folder / f"{kind}.txt") if path.is_file()), None)


def _rows(path: Path) -> Array:
    if not path.stat().st_size:
        return np.empty((0, 10))
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if rows.shape[1] < 7:
        raise ConfigError(f"{path}: {rows.shape[1]} columns; frame, id, left, top, width, height and score are needed")
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _length(folder: Path) -> int:
    """Number of frames, as seqinfo.ini tells it; 0 when it does not."""
    info = folder / "seqinfo.ini"
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((int(line.partition("=")[2]) for line in lines if line.startswith("seqLength")), 0)


def _frames(rows: Array, last: int) -> list[Array]:
    edges = np.searchsorted(rows[:, 0], np.arange(1, last + 2))
    return [rows[start:stop] for start, stop in itertools.pairwise(edges)]


def _corners(rows: Array) -> Array:
    rows = rows.copy()
    rows[:, 2:4] += rows[:, :2]
    return rows
