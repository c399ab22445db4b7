"""What stands on the screen: the places of the cameras, letterboxing, covering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.drawing import draw, marks, picture
from common.drawing.scene import Scene
from common.pixels import Geometry, PixelFormat
from common.settings import Settings
from common.stats import Stats
from common.wire import CameraControl
from services.screen.board import GAP_PX, Board, layout

Picture = NDArray[np.uint8]


def scene(settings: Settings, name: str) -> Scene:
    return Scene(settings, name, CameraControl(name), Stats())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10])
@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (800, 480), (1366, 768), (480, 800)])
def test_places_lie_inside_and_never_overlap(count: int, size: tuple[int, int]) -> None:
    taken = np.zeros((size[1], size[0]), int)
    for x, y, width, height in layout(count, size):
        assert width % 2 == height % 2 == 0
        assert x + width <= size[0] and y + height <= size[1]
        taken[y : y + height, x : x + width] += 1
    assert taken.max() == 1
    assert taken.mean() > (0.95 if count in {1, 4, 9} else 0.55)


@pytest.mark.parametrize("size", [(1280, 720), (800, 600), (1024, 768), (320, 240), (600, 900)])
def test_frame_fills_the_screen_letterboxed_at_any_size(
    settings: Settings, camera: Any, still: Picture, size: tuple[int, int]
) -> None:
    door, watched = camera("door"), scene(settings, "door")
    handle = door.frame(still)
    watched.on_state(door.state())
    watched.on_frame(handle)
    watched.on_tracks(door.tracks(handle))
    board = Board([watched], size)
    assert board.update() == [handle.captured_ns]

    width, height = picture.fitted_size(Geometry(640, 360, PixelFormat.BGR), size)
    expected = picture.shrink([still], Geometry(640, 360, PixelFormat.BGR), (width, height))
    draw.draw(expected, marks.marks_of(door.tracks(handle), (width, height)))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    assert (board.picture[top : top + height, left : left + width] == expected).all()
    border = np.ones((size[1], size[0]), bool)
    border[top : top + height, left : left + width] = False
    assert not board.picture[border].any()
    assert max(width / size[0], height / size[1]) > 0.99
    assert board.update() is None, "drawn again without news"


def test_grid_shows_every_camera_and_the_state_of_one_that_is_away(
    settings: Settings, camera: Any, still: Picture
) -> None:
    door, scenes = camera("door"), [scene(settings, name) for name in ("door", "yard")]
    handle = door.frame(still)
    scenes[0].on_state(door.state())
    scenes[0].on_tracks(door.tracks(handle))
    board = Board(scenes, (800, 300))
    assert board.update() == [handle.captured_ns]
    assert board.picture[:, : 400 - GAP_PX].std() > 20
    assert board.picture[:, 400 + GAP_PX :].std() > 2, "no words for the camera that is away"


def test_privacy_blanks_the_picture_until_a_covered_one_comes(settings: Settings, camera: Any, face: Any) -> None:
    door, watched = camera("door"), scene(settings, "door")
    noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    handle = door.frame(noise)
    watched.on_state(door.state())
    watched.on_tracks(door.tracks(handle))
    board = Board([watched], (640, 360))
    board.update()
    x1, y1, x2, y2 = face.astype(int) + np.array([12, 30, -12, -12])

    def seen() -> float:
        return float((board.picture[y1:y2, x1:x2] == noise[y1:y2, x1:x2]).all(-1).mean())

    assert seen() > 0.7
    watched.on_control(CameraControl("door", privacy=True))
    watched.tracks = None
    board.update()
    assert not board.picture.any()
    handle = door.frame(noise)
    watched.on_tracks(door.tracks(handle))
    assert board.update() == [handle.captured_ns]
    assert seen() < 0.05
    assert (board.picture[300:] == noise[300:]).all()
    board.close()
    assert not watched.on_privacy
