"""What is drawn and what is covered: from a message of track to boxes in pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from common.wire import TrackFrame

Ints = NDArray[np.int32]

LONGEST_PREDICTION_S = 1.0  # an older box says nothing about where the face is now
COVER_MARGIN = 0.3  # of the box, on every side: hair, chin, and a box that sits a little off
COVER_MARGIN_PX = 4
FAR = 4  # sides of the frame: a box farther away, or turned inside out, does not say where its face is


class Kind(Enum):
    """How sure a box is."""

    SEEN = "seen"  # detected in this very frame
    AHEAD = "ahead"  # detected a moment ago, moved on by its speed
    LOST = "lost"  # not detected, held by the tracker


@dataclass(frozen=True, slots=True)
class Mark:
    """One box to draw.

    Attributes:
        box: xyxy in pixels of the picture, inside of it.
        track_id: Id of the face.
        label: Text of its tag.
        kind: How sure it is.
        landmarks: Points (x, y) in pixels of the picture, maybe none.
    """

    box: tuple[int, int, int, int]
    track_id: int
    label: str
    kind: Kind
    landmarks: tuple[tuple[int, int], ...] = ()


def marks_of(tracks: TrackFrame, size: tuple[int, int], ahead_s: float = 0.0) -> list[Mark]:
    """The boxes that a viewer is shown, the largest first.

    Args:
        tracks: Of one camera.
        size: Width and height of the picture.
        ahead_s: How much later than these tracks the picture was captured, seconds; 0 for the very frame.

    Returns:
        Nothing when the prediction would be too old.
    """
    if abs(ahead_s) > LONGEST_PREDICTION_S:
        return []
    boxes = _in_pixels(tracks.boxes + tracks.velocities * ahead_s, tracks, size)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    marks = []
    for row in np.argsort(-areas, kind="stable").tolist():
        if not tracks.shown[row] or areas[row] <= 0:
            continue
        seen = int(tracks.detection_index[row])
        kind = Kind.LOST if seen < 0 else Kind.AHEAD if ahead_s else Kind.SEEN
        points = _landmarks(tracks, seen, size) if kind is Kind.SEEN else ()
        x1, y1, x2, y2 = boxes[row].tolist()
        track_id = int(tracks.ids[row])
        label = f"#{track_id}  {age_text(float(tracks.ages_s[row]))}"
        marks.append(Mark((x1, y1, x2, y2), track_id, label, kind, points))
    return marks


def covered_boxes(tracks: TrackFrame, size: tuple[int, int]) -> Ints:
    """Everything that may be a face: every detection and every box of a track, shown or not, with a margin.

    Returns:
        Shape (N, 4), xyxy in pixels of the picture; a box that cannot be one covers all of it.
    """
    boxes = np.concatenate([tracks.detections, tracks.boxes]).astype(np.float32)
    if not len(boxes):
        return np.zeros((0, 4), np.int32)
    far = FAR * max(tracks.width, tracks.height)
    wild = ~(np.abs(boxes) <= far).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)  # a NaN too
    boxes[wild] = (0, 0, tracks.width, tracks.height)
    grow = (boxes[:, 2:] - boxes[:, :2]) * COVER_MARGIN + COVER_MARGIN_PX
    return _in_pixels(np.concatenate([boxes[:, :2] - grow, boxes[:, 2:] + grow], axis=1), tracks, size)


def without_landmarks(mark: Mark) -> Mark:
    """The mark without what would tell about the face below it."""
    return replace(mark, landmarks=())


def age_text(seconds: float) -> str:
    """How long a face has been there, in few signs."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    return f"{int(seconds // 3600)} h"


def _in_pixels(boxes: NDArray[np.float32], tracks: TrackFrame, size: tuple[int, int]) -> Ints:
    """Boxes of the frame scaled to the picture, grown to whole pixels, cut at its borders."""
    scale = np.array([size[0] / max(1, tracks.width), size[1] / max(1, tracks.height)] * 2, np.float32)
    limit = np.array([size[0], size[1]] * 2, np.float32)
    scaled = np.nan_to_num(boxes * scale, nan=0.0, posinf=1e6, neginf=-1e6)
    whole = np.concatenate([np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])], axis=1)
    cut: Ints = np.clip(whole, 0, limit).astype(np.int32)
    return cut


def _landmarks(tracks: TrackFrame, row: int, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    if row >= len(tracks.landmarks) or not np.isfinite(tracks.landmarks[row]).all():
        return ()
    points = tracks.landmarks[row].reshape(-1, 2) * (size[0] / max(1, tracks.width), size[1] / max(1, tracks.height))
    return tuple((int(x), int(y)) for x, y in np.clip(points, -1e4, 1e4))
