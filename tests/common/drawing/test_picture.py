"""From planes to small pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.drawing import draw, picture
from common.drawing.marks import Kind, Mark
from common.pixels import Geometry, PixelFormat

WIDTH, HEIGHT = 320, 180
COLOURS = [(200, 60, 40), (40, 200, 60), (60, 40, 200), (180, 180, 30)]


def bars() -> NDArray[np.uint8]:
    scene = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        scene[:, index * WIDTH // 4 : (index + 1) * WIDTH // 4] = colour
    return scene


def planes_of(scene: NDArray[np.uint8], pixel_format: PixelFormat) -> list[NDArray[np.uint8]]:
    i420 = cv2.cvtColor(scene, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma = i420[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    chroma = i420[WIDTH * HEIGHT :].reshape(2, HEIGHT // 2, WIDTH // 2)
    match pixel_format:
        case PixelFormat.BGR:
            return [scene]
        case PixelFormat.GRAY:
            return [luma]
        case PixelFormat.NV12:
            return [luma, np.ascontiguousarray(np.moveaxis(chroma, 0, 2))]
        case PixelFormat.I420:
            return [luma, chroma[0], chroma[1]]
        case PixelFormat.YUYV:
            mixed = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
            mixed[:, :, 0] = luma
            mixed[:, 0::2, 1] = chroma[0].repeat(2, axis=0)
            mixed[:, 1::2, 1] = chroma[1].repeat(2, axis=0)
            return [mixed]


@pytest.mark.parametrize("pixel_format", [*PixelFormat])
@pytest.mark.parametrize("width", [320, 200, 96])
def test_every_pixel_format_keeps_its_colours_at_every_size(pixel_format: PixelFormat, width: int) -> None:
    geometry = Geometry(WIDTH, HEIGHT, pixel_format)
    size = picture.view_size(geometry, width)
    planes = planes_of(bars(), pixel_format)
    for plane in planes:
        plane.flags.writeable = False  # as a reader's mapping is
    small = picture.shrink(planes, geometry, size)
    assert small.shape == (size[1], size[0], 3)
    assert small.flags.writeable
    for index, colour in enumerate(COLOURS):
        middle = small[size[1] // 2, (2 * index + 1) * size[0] // 8].astype(int)
        if pixel_format is PixelFormat.GRAY:
            assert middle.max() == middle.min()
        else:
            assert np.abs(middle - colour).max() < 8


def test_picture_is_never_larger_than_the_frame() -> None:
    assert picture.view_size(Geometry(640, 360, PixelFormat.BGR), 960) == (640, 360)
    assert picture.view_size(Geometry(1280, 720, PixelFormat.BGR), 961) == (960, 540)
    assert picture.view_size(Geometry(1920, 2, PixelFormat.BGR), 64) == (64, 2)


def test_cover_leaves_no_detail_inside_and_touches_nothing_outside() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (180, 320, 3)).astype(np.uint8)
    shown = noise.copy()
    picture.cover(shown, np.array([[40, 30, 140, 150], [0, 0, 0, 0], [318, 178, 320, 180]], np.int32))
    inside = shown[30:150, 40:140]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) <= picture.MOSAIC_CELLS**2
    outside = np.ones((180, 320), bool)
    outside[30:150, 40:140] = outside[178:, 318:] = False
    assert (shown[outside] == noise[outside]).all()


@pytest.mark.parametrize("size", [(64, 36), (160, 90), (960, 540), (2000, 1000), (90, 160)])
def test_drawing_fits_every_size_and_place(size: tuple[int, int]) -> None:
    width, height = size
    shown = np.zeros((height, width, 3), np.uint8)
    boxes = [(0, 0, width, height), (0, 0, 1, 1), (width - 2, height - 2, width, height), (5, 5, 6, 30)]
    marks = [
        Mark(box, index, f"#{index}  59 min", kind, ((-3, 0), (width, height)))
        for index, (box, kind) in enumerate((box, kind) for box in boxes for kind in Kind)
    ]
    draw.draw(shown, marks)
    draw.badge(shown, "no results from detection")
    assert shown.any()
    words = draw.placeholder(size, "door", "offline", "a long reason " * 20)
    assert words.shape == shown.shape
    assert words.std() > 2


def test_lost_box_has_gaps_and_a_seen_one_has_none() -> None:
    def share(kind: Kind) -> float:
        shown = np.zeros((540, 960, 3), np.uint8)
        draw.draw(shown, [Mark((200, 200, 500, 480), 0, "", kind)])
        return float((shown[478:481, 250:450].max(axis=(0, 2)) > 60).mean())

    assert share(Kind.SEEN) == 1.0
    assert 0.3 < share(Kind.LOST) < 0.8
