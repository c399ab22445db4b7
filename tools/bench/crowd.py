"""A photograph with four faces, and which track each of them has: the place of every face is known exactly."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from common.pixels import Geometry, PixelFormat
from common.wire import TrackFrame
from services.capture.still import view_matrix

WIDTH, HEIGHT, TILE = 1280, 720, 260
CENTRES = ((440, 220), (840, 220), (440, 500), (840, 500))  # in the part that every view shows
VIEW = Geometry(960, 540, PixelFormat.BGR)
FPS = 15


def write_crowd(clip: Path, target: Path) -> Path:
    """Four pictures of the face in a clip, on grey."""
    import cv2

    photo = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    faces = _faces(clip, len(CENTRES))
    for (x, y), face in zip(CENTRES, faces, strict=True):
        tile = cv2.resize(face, (TILE, TILE), interpolation=cv2.INTER_AREA)
        photo[y - TILE // 2 : y + TILE // 2, x - TILE // 2 : x + TILE // 2] = tile
    cv2.imwrite(str(target), photo)
    return target


def source(photo: Path, path: str = "pan") -> str:
    """The camera source that shows the photograph."""
    return f"still:{photo}?size={VIEW.width}x{VIEW.height}&fps={FPS}&path={path}"


def who_is_who(frame: TrackFrame, path: str = "pan") -> dict[int, int]:
    """Track id of each face that is shown in a frame, by the number of the face."""
    matrix = view_matrix(path, frame.frame.media_ns / 1e9, (WIDTH, HEIGHT), VIEW)
    reach = TILE * matrix[0, 0] * 0.4
    boxes = frame.boxes[frame.shown > 0]
    ids = frame.ids[frame.shown > 0]
    if not len(boxes):
        return {}
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    found = {}
    for number, (x, y) in enumerate(CENTRES):
        away = np.abs(middles - matrix @ (x, y, 1.0)).max(axis=1)
        if away.min() < reach:
            found[number] = int(ids[away.argmin()])
    return found


def _faces(clip: Path, count: int) -> list[NDArray[np.uint8]]:
    """Square cuts around the face of some pictures of a clip."""
    from common.settings import InferSettings
    from services.infer.detector import build_detector
    from tools.bench.prepared import decoded

    detector = build_detector(InferSettings(width=640))
    frames, geometry = decoded(clip, 60)
    wanted = np.linspace(0, len(frames) - 1, count).astype(int).tolist()
    cuts: list[NDArray[np.uint8]] = []
    with av.open(str(clip)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number in wanted:
                left, top, right, bottom = detector.detect(frames[number], geometry).boxes[0].tolist()
                pixels = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
                half = 0.7 * max(right - left, bottom - top)
                x, y = (left + right) / 2, (top + bottom) / 2
                cuts.append(pixels[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)])
            if len(cuts) == count:
                break
    return cuts
