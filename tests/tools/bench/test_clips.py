"""The clips of `vedette bench clips`: the truth is where the pixels are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.errors import ConfigError
from tools.bench.clips import _film
from tools.bench.scenery import Piece, Scene, Still, cut, find_stills, render
from tools.bench.scenes import NOBODY, SCENES, SIZE, Stock, steady

GREY = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)


def marker(path, *, is_face=True, colour=(0, 0, 255)):
    picture = np.full((60, 60, 3), colour, np.uint8)
    return Piece(picture, np.ones((60, 60), np.float32), np.array([10.0, 10, 50, 50]), path, is_face)


def still():
    """A photograph with a face in it, as far as the scenes know."""
    picture = np.random.default_rng(5).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    boxes = np.array([[200.0, 200, 300, 330], [500, 210, 600, 340], [800, 190, 900, 320]])
    return Still(picture, boxes, np.array([0.9, 0.95, 0.85]))


def test_the_truth_is_where_the_pixels_are():
    scene = Scene(GREY, NOBODY, (marker(lambda t: (400 + 60 * t, 300, 80)),), lambda _: (640, 360, 1.0), frames=60)
    frame, ((index, box),) = render(scene, 30, SIZE)
    assert index == 0
    np.testing.assert_allclose(box, [420, 260, 500, 340], atol=1e-6)
    y, x = np.nonzero(frame[:, :, 2] > 200)
    np.testing.assert_allclose([x.min(), y.min(), x.max(), y.max()], [400, 240, 520, 360], atol=2)


def test_a_camera_moves_the_truth_of_fixed_faces():
    scene = Scene(GREY, np.array([[600.0, 300, 700, 420]]), (), lambda t: (640 + 90 * t, 360, 1.5))
    (_, before), (_, after) = render(scene, 0, SIZE)[1][0], render(scene, 20, SIZE)[1][0]
    np.testing.assert_allclose(before - after, [90, 0, 90, 0], atol=1e-6)
    np.testing.assert_allclose(before[2:] - before[:2], [150, 180], atol=1e-6)


def test_who_is_hidden_or_out_of_the_picture_is_not_expected():
    face = marker(lambda t: (100 * t - 20, 300, 80))
    hides = marker(lambda _: (640, 300, 200), is_face=False, colour=(0, 255, 0))
    scene = Scene(GREY, NOBODY, (face, hides), steady)
    assert [len(render(scene, 30 * s, SIZE)[1]) for s in (0, 3, 6, 9, 14)] == [0, 1, 0, 1, 0]


def test_a_head_that_is_cut_out_knows_its_face():
    picture, alpha, box = cut(still(), 0)
    x1, y1, x2, y2 = box.astype(int)
    np.testing.assert_array_equal(picture[y1:y2, x1:x2], still().picture[200:330, 200:300])
    assert alpha[0, 0] == 0
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 1


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_can_be_drawn_and_depends_on_its_seed_alone(name):
    def one(seed):
        stock = Stock([still()] * 2, [GREY] * 2, np.random.default_rng(seed))
        return SCENES[name](stock)

    frame, seen = render(one(1), 7, SIZE)
    again, same = render(one(1), 7, SIZE)
    assert frame.shape == (*SIZE[::-1], 3)
    np.testing.assert_array_equal(frame, again)
    assert [index for index, _ in seen] == [index for index, _ in same]
    assert (len(seen) == 0) == (name == "empty")


def test_a_clip_has_its_frames_and_a_line_for_each_face(tmp_path):
    scene = Scene(GREY, np.array([[600.0, 300, 700, 420]]), (), steady, fps=5.0, frames=4)
    lines = _film(scene, tmp_path)
    assert [line.split(",")[:2] for line in lines] == [[str(k), "1"] for k in range(1, 5)]
    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 5.0
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no photograph"):
        find_stills(tmp_path)
