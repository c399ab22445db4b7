"""Pictures in planes show the same as BGR ones, and colour is converted only where something is drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.drawing import draw, picture, planar
from common.drawing.marks import Kind, Mark
from common.drawing.overlay import Overlay
from common.pixels import Geometry, PixelFormat

WIDTH, HEIGHT = 320, 180
FACE = Mark((101, 61, 150, 120), 3, "#3  5 s", Kind.SEEN, ((115, 80), (136, 81), (126, 95)))
NOTHING = np.zeros((0, 4), np.int32)


def scenery(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).integers(80, 176, (height // 20, width // 20, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def bgr(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_YUV2BGR_I420), np.int32)


@pytest.mark.parametrize("pixel_format", [*PixelFormat])
@pytest.mark.parametrize("width", [640, 320, 200])
def test_every_format_scales_to_the_same_picture_as_in_bgr(pixel_format: PixelFormat, width: int) -> None:
    frame = scenery(640, 360)
    geometry = Geometry(640, 360, pixel_format)
    flat = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    match pixel_format:
        case PixelFormat.I420:
            planes = geometry.planes(flat)
        case PixelFormat.NV12:
            y, u, v = Geometry(640, 360, PixelFormat.I420).planes(flat)
            planes = [y, np.dstack([u, v])]
        case PixelFormat.YUYV:
            planes = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_YUYV), np.uint8)]
        case PixelFormat.GRAY:
            planes = [frame[:, :, 1].copy()]
        case PixelFormat.BGR:
            planes = [frame]
    for plane in planes:
        plane.flags.writeable = False
    size = picture.view_size(geometry, width)
    made = planar.shrink(planes, geometry, size)
    assert planar.size_of(made) == size
    assert made.flags.writeable
    expected = picture.shrink(planes, geometry, size).astype(int)
    assert np.abs(bgr(made) - expected).mean() < 4  # colour is at half the size


@pytest.mark.parametrize("kind", [*Kind])
@pytest.mark.parametrize("box", [(101, 61, 150, 120), (0, 0, 30, 40), (290, 5, 320, 180), (3, 150, 9, 180)])
@pytest.mark.parametrize("note", ["", "no results from detection"])
def test_all_that_is_drawn_lies_within_the_converted_area(
    kind: Kind, box: tuple[int, int, int, int], note: str
) -> None:
    marks = [Mark(box, 3, "#3  5 s", kind, ((box[0] - 6, box[1]), (box[2], box[3] + 7)))]
    cover = np.array([[40, 31, 77, 93]], np.int32)
    shown = planar.of_bgr(scenery())
    whole = np.asarray(cv2.cvtColor(shown, cv2.COLOR_YUV2BGR_I420), np.uint8)
    overlay = Overlay(marks, cover, note)
    overlay.put(shown)
    overlay.put(whole)
    differing = np.abs(bgr(shown) - bgr(planar.of_bgr(whole))).max(axis=2)
    assert differing.max() < 16  # by rounding of colour alone, where one was converted once more


def test_what_is_drawn_is_drawn_and_the_rest_stays_to_the_bit() -> None:
    plain = planar.of_bgr(scenery())
    shown = plain.copy()
    Overlay([FACE]).put(shown)
    changed = np.argwhere(shown[:HEIGHT] != plain[:HEIGHT])
    assert len(changed) > 100
    left, top, right, bottom = draw.reach(FACE, (WIDTH, HEIGHT))
    assert changed.min(axis=0).tolist() >= [top - 1, left - 1]
    assert changed.max(axis=0).tolist() <= [bottom + 1, right + 1]
    untouched = plain.copy()
    Overlay([]).put(untouched)
    assert (untouched == plain).all()


def test_covered_face_leaves_no_detail_in_any_plane() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    shown = planar.of_bgr(noise)
    Overlay([], np.array([[40, 30, 140, 150]], np.int32)).put(shown)
    for plane, share in zip(planar.planes(shown), (1, 2, 2), strict=True):
        inside = plane[30 // share : 150 // share, 40 // share : 140 // share]
        assert len(np.unique(inside)) <= picture.MOSAIC_CELLS**2
