"""Real faces as movable pieces, and pictures made of them in which the place of every face is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import Detector, build_detector

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float64]
Place = tuple[float, float, float]  # centre x, centre y, width of the face, in pixels of the background

SUFFIXES = {".jpg", ".jpeg", ".png"}
FINE_PX = 1280  # width at which stills are searched, so that their boxes are finer than those of a clip
SURE = 0.8  # least score of a face that is cut out
KNOWN = 0.6  # least score of a face that counts as truth where it stands
LEAST_PX = 60  # width of a face that is worth cutting out
VISIBLE = 0.5  # part of a face that must be seen for it to be expected
MARGIN = (0.35, 0.45, 0.35, 0.3)  # left, top, right, bottom of the face, as parts of its sides


@dataclass(frozen=True, slots=True)
class Still:
    """A photograph and the faces in it.

    Attributes:
        picture: Shape (height, width, 3), BGR.
        boxes: Shape (n, 4), xyxy in its pixels.
        scores: Shape (n,).
    """

    picture: Picture
    boxes: Boxes
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that moves in front of the background.

    Attributes:
        picture: Shape (height, width, 3), BGR.
        alpha: How opaque it is, shape (height, width), 0 to 1.
        box: Of the face in it, xyxy in its pixels.
        path: Where the face is at a time in seconds; None while it is away.
        is_face: False for what only hides others.
    """

    picture: Picture
    alpha: NDArray[np.float32]
    box: Boxes
    path: Callable[[float], Place | None]
    is_face: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """What a clip shows.

    Attributes:
        background: The world, shape (height, width, 3), BGR.
        fixed: Faces in the background, shape (n, 4), xyxy.
        pieces: What moves, the farthest first.
        camera: At a time in seconds: centre x, centre y in the background, and pixels of the view for one of its.
        fps: Frames a second.
        frames: How many.
        gain: What light is left, 0 to 1.
        noise: Of a dark picture: standard deviation, 0 to 255.
    """

    background: Picture
    fixed: Boxes
    pieces: tuple[Piece, ...]
    camera: Callable[[float], Place]
    fps: float = 30.0
    frames: int = 300
    gain: float = 1.0
    noise: float = 0.0


def find_stills(folder: Path) -> list[Path]:
    """Photographs in a folder, in a fixed order.

    Raises:
        ConfigError: There is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ConfigError(f"{folder}: no photograph ({', '.join(sorted(SUFFIXES))})")
    return found


def load_stills(folder: Path, width: int = 1280) -> list[Still]:
    """Photographs of one width with the faces in them."""
    detector = build_detector(InferSettings(width=FINE_PX, min_score=KNOWN))
    return [_search(detector, _scaled(path, width)) for path in find_stills(folder)]


def load_plain(folder: Path) -> list[Picture]:
    """Photographs in which nobody is."""
    return [_scaled(path, 640) for path in find_stills(folder)]


def cut(still: Still, row: int) -> tuple[Picture, NDArray[np.float32], Boxes]:
    """A head with a soft edge: picture, alpha, and the box of the face in it."""
    box = still.boxes[row]
    side = np.tile(box[2:] - box[:2], 2)
    height, width = still.picture.shape[:2]
    wide = np.clip(box + np.array(MARGIN) * side * [-1, -1, 1, 1], 0, [width, height, width, height]).astype(int)
    picture = still.picture[wide[1] : wide[3], wide[0] : wide[2]]
    y, x = np.mgrid[-1 : 1 : picture.shape[0] * 1j, -1 : 1 : picture.shape[1] * 1j]
    alpha = np.clip((1.0 - np.hypot(x, y)) * 6.0, 0.0, 1.0).astype(np.float32)
    return picture.copy(), alpha, box - np.tile(wide[:2], 2)


def render(scene: Scene, number: int, size: tuple[int, int]) -> tuple[Picture, list[tuple[int, Boxes]]]:
    """Draw a frame.

    Returns:
        The picture, and id and box (xyxy, inside the picture) of each face that is seen: fixed ones first.
    """
    time_s = number / scene.fps
    x, y, scale = scene.camera(time_s)
    view = np.array([[scale, 0, size[0] / 2 - scale * x], [0, scale, size[1] / 2 - scale * y]])
    frame = np.asarray(cv2.warpAffine(scene.background, view, size, borderMode=cv2.BORDER_REFLECT), np.uint8)
    boxes = [_moved(box, view) for box in scene.fixed]
    owner = np.full(size[::-1], -1, np.int32)
    for index, box in enumerate(boxes):
        _claim(owner, box, index)
    for index, piece in enumerate(scene.pieces, len(boxes)):
        place = piece.path(time_s)
        boxes.append(np.zeros(4) if place is None else _paste(frame, owner, piece, view @ _placed(piece, place), index))
    faces = range(len(boxes)), [True] * len(scene.fixed) + [piece.is_face for piece in scene.pieces]
    seen = [(i, _inside(boxes[i], size)) for i, face in zip(*faces, strict=True) if face and _seen(owner, boxes[i], i)]
    return _darkened(frame, scene, number), seen


def _scaled(path: Path, width: int) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"{path}: no picture that can be read")
    height = round(picture.shape[0] * width / picture.shape[1]) & ~1
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _search(detector: Detector, picture: Picture) -> Still:
    height, width = picture.shape[:2]
    found = detector.detect([picture], Geometry(width, height, PixelFormat.BGR))
    return Still(picture, found.boxes.astype(np.float64), found.scores.astype(np.float64))


def _placed(piece: Piece, place: Place) -> NDArray[np.float64]:
    """Map from a piece to the background, shape (3, 3)."""
    x, y, width = place
    scale = width / (piece.box[2] - piece.box[0])
    centre = (piece.box[:2] + piece.box[2:]) / 2
    return np.array([[scale, 0, x - scale * centre[0]], [0, scale, y - scale * centre[1]], [0, 0, 1]])


def _moved(box: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    corners = matrix[:, :2] @ box.reshape(2, 2).T + matrix[:, 2:]
    return np.asarray(corners.T.ravel())


def _paste(frame: Picture, owner: NDArray[np.int32], piece: Piece, matrix: NDArray[np.float64], index: int) -> Boxes:
    """Draw a piece; returns the box of its face in the frame."""
    height, width = piece.alpha.shape
    corners = _moved(np.array([0.0, 0.0, width, height]), matrix)
    x1, y1, x2, y2 = _inside(np.array([*np.floor(corners[:2]), *np.ceil(corners[2:])]), frame.shape[1::-1]).astype(int)
    if x2 > x1 and y2 > y1:
        local, size = matrix.copy(), (int(x2 - x1), int(y2 - y1))
        local[:, 2] -= x1, y1
        how = cv2.INTER_AREA if local[0, 0] < 1 else cv2.INTER_LINEAR
        picture = cv2.warpAffine(piece.picture, local, size, flags=how)
        alpha = np.asarray(cv2.warpAffine(piece.alpha, local, size, flags=how))
        part = frame[y1:y2, x1:x2]
        part[:] = (part + (picture.astype(np.float32) - part) * alpha[..., None]).astype(np.uint8)
        owner[y1:y2, x1:x2][alpha > 0.5] = -1
    box = _moved(piece.box, matrix)
    _claim(owner, box, index)
    return box


def _claim(owner: NDArray[np.int32], box: Boxes, index: int) -> None:
    x1, y1, x2, y2 = _inside(box, owner.shape[::-1]).round().astype(int)
    owner[y1:y2, x1:x2] = index


def _seen(owner: NDArray[np.int32], box: Boxes, index: int) -> bool:
    """Whether enough of a face is in the picture and not hidden."""
    area = float(np.prod(box[2:] - box[:2]))
    if area <= 0.0:
        return False
    x1, y1, x2, y2 = _inside(box, owner.shape[::-1]).round().astype(int)
    return float(np.count_nonzero(owner[y1:y2, x1:x2] == index)) >= VISIBLE * area


def _inside(box: Boxes, size: tuple[int, ...]) -> Boxes:
    return np.asarray(np.clip(box, 0.0, [size[0], size[1], size[0], size[1]]))


def _darkened(frame: Picture, scene: Scene, number: int) -> Picture:
    if scene.gain == 1.0 and not scene.noise:
        return frame
    grain = np.random.default_rng(number).normal(0.0, scene.noise, frame.shape)
    return np.clip(frame * scene.gain + grain, 0, 255).astype(np.uint8)
