"""The layout: its parts fill the model's input and no more, and no place is left out by the search."""

from __future__ import annotations

import numpy as np
import pytest

from services.infer.letterbox import model_size
from services.infer.region_layout import HOPELESS_PX, TILES, Layout, lay_out
from services.infer.tiles import within

SHAPES = [((1280, 720), 640), ((1920, 1080), 640), ((720, 1280), 640), ((2560, 1440), 1280), ((1280, 960), 640)]


def layout_of(frame: tuple[int, int], width: int, spare: int = 32) -> Layout | None:
    return lay_out(frame, model_size(frame, width, 32), spare)


@pytest.mark.parametrize(("frame", "width"), SHAPES)
def test_the_parts_cover_the_input_once_and_it_is_no_larger_than_the_usual_one(frame, width):
    layout = layout_of(frame, width)
    cover = np.zeros(layout.model[::-1], int)
    for left, top, columns, rows in (layout.low, *layout.fine):
        cover[top : top + rows, left : left + columns] += 1
    assert (cover == 1).all()
    assert len(layout.fine) == TILES
    assert np.prod(layout.model) < np.prod(model_size(frame, width, 32))
    assert [value % 2 for value in np.ravel(layout.spots)] == [0] * (4 * len(layout.spots))


@pytest.mark.parametrize(("frame", "width"), SHAPES)
def test_every_face_that_the_low_picture_cannot_show_lies_whole_in_a_spot(frame, width):
    layout = layout_of(frame, width)
    side = HOPELESS_PX * max(frame[0] / layout.low[2], frame[1] / layout.low[3]) - 4  # spots begin at even pixels
    places = [(x, y) for x in range(0, int(frame[0] - side), 7) for y in range(0, int(frame[1] - side), 7)]
    boxes = np.array([(x, y, x + side, y + side) for x, y in places], np.float32)
    covered = np.zeros(len(boxes), bool)
    for spot in layout.spots:
        covered |= within(boxes, spot)
    assert covered.all()


def test_a_model_of_fixed_size_keeps_it():
    layout = lay_out((1920, 1080), (640, 640), 0)
    assert layout.model == (640, 640)
    assert layout.fine == ((320, 0, 320, 320), (0, 320, 320, 320), (320, 320, 320, 320))


@pytest.mark.parametrize(
    ("frame", "width"), [((640, 480), 640), ((640, 360), 640), ((1280, 720), 1280), ((1280, 720), 320), ((64, 48), 32)]
)
def test_a_frame_that_gains_nothing_has_no_layout(frame, width):
    assert layout_of(frame, width) is None
