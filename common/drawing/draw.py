"""Boxes, tags and landmarks on a picture, and the picture that stands for a missing one."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.drawing.marks import Kind, Mark
from common.drawing.opencv import opencv
from common.pixels import Plane

Bgr = tuple[int, int, int]
Point = tuple[int, int]

# Okabe and Ito's colours without black, told apart with every common kind of colour vision; the page has the same row.
COLOURS: tuple[Bgr, ...] = (
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (66, 228, 240),  # yellow
    (167, 121, 204),  # purple
    (115, 158, 0),  # green
    (0, 94, 213),  # vermilion
    (230, 230, 230),  # white
    (178, 114, 0),  # blue
)
INK: Bgr = (24, 20, 16)
PAPER: Bgr = (255, 255, 255)
DIM: Bgr = (176, 163, 148)
DASH_PX = 7


def colour(track_id: int) -> Bgr:
    """Colour of a face; the same for the whole life of its id, another one for the next id."""
    return COLOURS[track_id % len(COLOURS)]


def draw(picture: Plane, marks: Iterable[Mark]) -> None:
    """Draw the boxes in place; tags last, so that no box crosses a tag."""
    cv2 = opencv()
    marks = list(marks)
    stroke = max(1, round(min(picture.shape[:2]) / 240))
    for mark in marks:
        _outline(picture, mark, stroke)
        for point in mark.landmarks:
            cv2.circle(picture, point, stroke + 1, INK, -1, cv2.LINE_AA)
            cv2.circle(picture, point, stroke, colour(mark.track_id), -1, cv2.LINE_AA)
    for mark in reversed(marks):
        _put_tag(picture, mark)


def badge(picture: Plane, text: str) -> None:
    """A note in the upper right corner."""
    tag = _tag(text, _text_px(picture), DIM)
    _blit(picture, tag, picture.shape[1] - tag.shape[1] - 8, 8)


def caption(picture: Plane, text: str) -> None:
    """A name in the lower left corner."""
    tag = _tag(text, _text_px(picture), INK)
    _blit(picture, tag, 8, picture.shape[0] - tag.shape[0] - 8)


def placeholder(size: tuple[int, int], camera: str, status: str, reason: str) -> Plane:
    """A picture that says why there is none.

    Args:
        size: Width and height.
        camera: Name of the camera.
        status: One word, as `offline`.
        reason: Why, in words.
    """
    width, height = size
    shade = np.linspace(34, 22, height)[:, None, None] * np.array([1.15, 1.0, 0.9])
    picture = np.broadcast_to(shade, (height, width, 3)).astype(np.uint8, order="C")
    unit = max(6, min(width // 24, height // 14))
    x, y = width // 2, height // 2 - 2 * unit
    _crossed_camera(picture, (x, y - 2 * unit), unit)
    _centre(picture, y + 2 * unit, f"{camera}  ·  {status}", int(unit * 1.1), PAPER, bold=True)
    px = max(9, int(unit * 0.62))
    for line, words in enumerate(textwrap.wrap(reason, max(20, int(width * 0.8 / (px * 0.56))))[:3]):
        _centre(picture, y + int(3.6 * unit) + line * int(px * 1.6), words, px, DIM)
    return picture


def _outline(picture: Plane, mark: Mark, stroke: int) -> None:
    cv2 = opencv()
    path = _rounded(mark.box)
    wide = stroke if mark.kind is Kind.SEEN else max(1, stroke - 1)
    lines = _dashes(path, DASH_PX * stroke) if mark.kind is Kind.LOST else [path]
    cv2.polylines(picture, lines, False, INK, wide + 2, cv2.LINE_AA)
    cv2.polylines(picture, lines, False, colour(mark.track_id), wide, cv2.LINE_AA)


def _rounded(box: tuple[int, int, int, int]) -> NDArray[np.int32]:
    """Closed path along a box with round corners."""
    x1, y1, x2, y2 = box[0], box[1], box[2] - 1, box[3] - 1
    radius = max(0, min(x2 - x1, y2 - y1) // 8)
    path = []
    for corner, (x, y) in enumerate(
        ((x2 - radius, y1 + radius), (x2 - radius, y2 - radius), (x1 + radius, y2 - radius), (x1 + radius, y1 + radius))
    ):
        for step in range(5):
            angle = math.pi / 2 * (corner - 1 + step / 4)
            path.append((round(x + radius * math.cos(angle)), round(y + radius * math.sin(angle))))
    return np.array([*path, path[0]], np.int32)


def _dashes(path: NDArray[np.int32], length: int) -> list[NDArray[np.int32]]:
    """Every other piece of a path."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    cuts = np.arange(0, along[-1], length)
    points = np.stack([np.interp(cuts, along, path[:, axis]) for axis in (0, 1)], axis=1).astype(np.int32)
    return [points[index : index + 2] for index in range(0, len(points) - 1, 2)]


def _put_tag(picture: Plane, mark: Mark) -> None:
    tag = _tag(mark.label, _text_px(picture), colour(mark.track_id))
    height, width = tag.shape[:2]
    x1, y1, _, y2 = mark.box
    above, below = y1 - height - 3, y2 + 3
    y = above if above >= 0 else below if below + height <= picture.shape[0] else y1
    _blit(picture, tag, min(x1, picture.shape[1] - width), y)


def _text_px(picture: Plane) -> int:
    return max(10, min(28, int(picture.shape[0]) // 28))


@functools.lru_cache(maxsize=64)  # 11 kB each at 540 rows; more only made a long-watched page grow
def _tag(text: str, px: int, fill: Bgr) -> Plane:
    """A filled label; ages change once a second, so most frames find theirs here."""
    bright = 0.114 * fill[0] + 0.587 * fill[1] + 0.299 * fill[2] > 110
    pad = max(3, px // 3)
    width, height = _text_width(text, px, bold=True) + 2 * pad, px + pad
    tag = np.empty((height, width, 3), np.uint8)
    tag[:] = fill
    _text(tag, (pad, height - pad // 2 - px // 6), text, px, INK if bright else PAPER, bold=True)
    return tag


def _blit(picture: Plane, tag: Plane, x: int, y: int) -> None:
    """Put a tag on the picture, cut at its borders."""
    x, y = max(0, x), max(0, y)
    part = picture[y : y + tag.shape[0], x : x + tag.shape[1]]
    part[:] = tag[: part.shape[0], : part.shape[1]]


def _crossed_camera(picture: Plane, centre: Point, unit: int) -> None:
    cv2 = opencv()
    x, y = centre
    line = max(2, unit // 7)
    cv2.rectangle(picture, (x - 2 * unit, y - unit), (x + unit // 2, y + unit), DIM, line, cv2.LINE_AA)
    lens = np.array([(x + unit // 2, y - unit // 4), (x + 2 * unit, y - unit), (x + 2 * unit, y + unit),
                     (x + unit // 2, y + unit // 4)], np.int32)  # fmt: skip
    cv2.polylines(picture, [lens], False, DIM, line, cv2.LINE_AA)
    ends = (x - 2 * unit, y + int(1.7 * unit)), (x + int(1.7 * unit), y - int(1.7 * unit))
    cv2.line(picture, *ends, (30, 27, 24), line * 3, cv2.LINE_AA)
    cv2.line(picture, *ends, COLOURS[0], line, cv2.LINE_AA)


def _centre(picture: Plane, y: int, text: str, px: int, ink: Bgr, *, bold: bool = False) -> None:
    x = (picture.shape[1] - _text_width(text, px, bold=bold)) // 2
    _text(picture, (max(4, x), y), text, px, ink, bold=bold)


@functools.cache
def _font() -> Any:
    """The font of OpenCV 5; None before, which has strokes only."""
    cv2 = opencv()
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def _text(picture: Plane, at: Point, text: str, px: int, ink: Bgr, *, bold: bool) -> None:
    cv2 = opencv()
    font = _font()
    if font is not None:
        cv2.putText(picture, text, at, ink, font, px, 600 if bold else 400)
        return
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, px / 30, ink, 2 if bold and px > 14 else 1, cv2.LINE_AA)


def _text_width(text: str, px: int, *, bold: bool) -> int:
    cv2 = opencv()
    font = _font()
    if font is not None:
        return int(cv2.getTextSize((4096, 4096), text, (0, 0), font, px, 600 if bold else 400)[2])
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, px / 30, 2 if bold else 1)
    return int(width)
