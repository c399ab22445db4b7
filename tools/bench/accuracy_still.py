"""The whole node against exact truth: a photograph that a `still:` camera pans over, where each face is known."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat
from services.capture.still import view_matrix
from tools.bench.accuracy_run import detector_of
from tools.bench.metrics import Judge, iou, row
from tools.models.frames import read_picture
from tools.replay.replay import run_replay

Boxes = NDArray[np.float64]
Truth = list[tuple[list[int], Boxes]]

SEEN = 0.5  # share of a face that must be in the view; less is neither asked for nor false
SMALLEST_PX = 16.0  # longer side in the view, likewise
SURE = 0.7  # a reference model's boxes from here on are faces
REFERENCE_WIDTH = 1280


def photo_faces(photo: Path, truth: Path | None, reference: str) -> tuple[Boxes, str]:
    """Faces of a photograph, shape (n, 4), xyxy; and where they are known from.

    Args:
        photo: The photograph.
        truth: A JSON file with a list of [x1, y1, x2, y2].
        reference: The model to ask when there is no such file.

    Raises:
        ConfigError: The file cannot be read, or there is no face.
    """
    if truth is not None:
        try:
            boxes = np.array(json.loads(truth.read_text(encoding="utf-8")), np.float64).reshape(-1, 4)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"--truth {truth}: a JSON list of [x1, y1, x2, y2] expected: {error}") from error
        source = f"labels of {truth.name}"
    else:
        geometry, planes = read_picture(photo)
        found = detector_of(reference, REFERENCE_WIDTH, min_score=SURE).detect(planes, geometry)
        boxes, source = found.boxes.astype(np.float64), f"{reference} at {REFERENCE_WIDTH} on the photograph"
    if not len(boxes):
        raise ConfigError(f"{photo}: no face in it, by {source}")
    return boxes, source


def true_boxes(
    faces: Boxes, photo: tuple[int, int], way: str, fps: float, view: tuple[int, int], count: int
) -> tuple[Truth, list[Boxes]]:
    """Where the faces are in each view, and those that nobody is asked for.

    Args:
        faces: On the photograph, xyxy.
        photo: Its width and height.
        way: Path of the camera.
        fps: Views a second.
        view: Width and height of a view.
        count: Number of views.
    """
    asked: Truth = []
    ignored: list[Boxes] = []
    geometry = Geometry(*view, PixelFormat.BGR)
    for number in range(count):
        matrix = view_matrix(way, number / fps, photo, geometry)
        moved = faces * np.array([matrix[0, 0], matrix[1, 1]] * 2) + np.array([matrix[0, 2], matrix[1, 2]] * 2)
        inside = np.clip(moved, 0, np.array([*view, *view]))
        share = _area(inside) / np.maximum(_area(moved), 1e-9)
        wanted = (share >= SEEN) & ((inside[:, 2:] - inside[:, :2]).max(axis=1) >= SMALLEST_PX)
        asked.append(([int(index) for index in np.flatnonzero(wanted)], inside[wanted]))
        ignored.append(moved[~wanted & (share > 0)])
    return asked, ignored


def run_still(
    photo: Path, faces: Boxes, way: str, view: tuple[int, int], fps: float, count: int, settings: Path | None
) -> dict[str, Any]:
    """Replay one path over a photograph through the node's processes, and judge its tracks.

    Raises:
        DeviceError: The node lost frames.
        ConfigError: TrackEval is missing.
    """
    judge = Judge()
    image = cv2.imread(str(photo), cv2.IMREAD_COLOR)
    if image is None:
        raise DeviceError(f"{photo}: no picture that can be read")
    height, width = image.shape[:2]
    truth, ignored = true_boxes(faces, (width, height), way, fps, view, count)
    source = f"still:{photo.resolve()}?size={view[0]}x{view[1]}&fps={fps:g}&path={way}&frames={count}"
    with tempfile.TemporaryDirectory(prefix="vedette-accuracy-") as folder:
        out = Path(folder, "tracks.jsonl")
        code = run_replay(settings, source, out)
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    if code or len(lines) != count:
        raise DeviceError(f"{photo.name}, path {way}: {len(lines)} of {count} frames came through")
    said = [np.array([[*track["box"], track["id"]] for track in line["tracks"]], np.float64) for line in lines]
    tracks = [
        _kept(rows.reshape(-1, 5), boxes, left) for rows, (_, boxes), left in zip(said, truth, ignored, strict=True)
    ]
    counts = judge.judge([(ids, boxes) for ids, boxes in truth], tracks)  # type: ignore[misc]
    clear = counts["clear"]
    made = row(counts)
    return {
        "path": way,
        "frames": count,
        "faces": int(sum(len(ids) for ids, _ in truth)),
        "recall": round(100 * float(clear["CLR_Re"]), 2),
        "precision": round(100 * float(clear["CLR_Pr"]), 2),
        **{key: made[key] for key in ("IDF1", "HOTA", "MOTA", "switches", "false", "missed")},
    }


def _kept(rows: Boxes, asked: Boxes, ignored: Boxes) -> Boxes:
    """Tracks without those that lie on a face that nobody is asked for, and on none that is."""
    if not len(rows) or not len(ignored):
        return rows
    boxes = rows[:, :4]
    low, high = np.maximum(boxes[:, None, :2], ignored[:, :2]), np.minimum(boxes[:, None, 2:], ignored[:, 2:])
    share = np.clip(high - low, 0, None).prod(axis=2) / np.maximum(_area(boxes), 1e-9)[:, None]
    elsewhere = iou(boxes, asked).max(axis=1, initial=0.0) < SEEN
    return np.asarray(rows[~((share.max(axis=1) >= SEEN) & elsewhere)])


def _area(boxes: Boxes) -> Boxes:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))
