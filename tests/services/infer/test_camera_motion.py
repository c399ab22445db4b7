"""The motion of a camera, told by what is behind the faces."""

import cv2
import numpy as np
import pytest

from common.wire import FrameHandle
from services.infer.camera_motion import IDLE_NS, CameraMotion

FACE = np.array([[900.0, 300, 1000, 420]], np.float32)
NOBODY = np.empty((0, 4), np.float32)


@pytest.fixture(scope="module")
def wall():
    """Something to look at: soft patches with sharp corners in them."""
    random = np.random.default_rng(3)
    picture = cv2.resize(
        random.integers(0, 255, (40, 70, 3), dtype=np.uint8), (1960, 1120), interpolation=cv2.INTER_AREA
    )
    for x, y in random.integers(0, 1100, (150, 2)):
        cv2.rectangle(picture, (int(x), int(y)), (int(x) + 40, int(y) + 30), random.integers(0, 255, 3).tolist(), -1)
    return picture


def view(wall, matrix):
    return [cv2.warpAffine(wall, matrix, (1280, 720))]


def handle(seq, epoch=1, at_ns=None):
    at_ns = seq * 33_000_000 if at_ns is None else at_ns
    return FrameHandle("door", epoch, 0, 1, seq, at_ns, at_ns, at_ns, 0)


@pytest.mark.parametrize(
    ("dx", "dy", "zoom"), [(0, 0, 1.0), (7, -3, 1.0), (110, 40, 1.0), (-60, 10, 1.06), (30, 0, 0.95)]
)
def test_pan_and_zoom_are_found(wall, dx, dy, zoom):
    camera = CameraMotion()
    start = np.array([[1.0, 0, -300], [0, 1, -180]])
    after = np.array([[zoom, 0, dx - 300], [0, zoom, dy - 180]])
    assert camera.follow(view(wall, start), handle(1), FACE, 1280)[0] == 0
    since, motion = camera.follow(view(wall, after), handle(2), FACE, 1280)
    assert since == 1
    points = np.array([[200.0, 1100, 640], [200, 500, 360]])
    on_wall = points - start[:, 2:]
    expected = after[:, :2] @ on_wall + after[:, 2:]
    found = motion.reshape(2, 3)[:, :2] @ points + motion.reshape(2, 3)[:, 2:]
    np.testing.assert_allclose(found, expected, atol=4)


def test_a_wall_without_corners_tells_nothing():
    camera, grey = CameraMotion(), np.full((720, 1280, 3), 90, np.uint8)
    camera.follow([grey], handle(1), FACE, 1280)
    assert camera.follow([grey + 30], handle(2), FACE, 1280)[0] == 0


def test_a_face_that_moves_alone_is_no_motion_of_the_camera(wall):
    camera = CameraMotion()
    start = np.array([[1.0, 0, -300], [0, 1, -180]])
    for k in range(2):
        (frame,) = view(wall, start)
        x = 400 + 60 * k
        frame[200:320, x : x + 100] = wall[:120, :100]
        box = np.array([[x, 200, x + 100, 320]], np.float32)
        since, motion = camera.follow([frame], handle(k + 1), box, 1280)
    assert since == 1
    np.testing.assert_allclose(motion, [1, 0, 0, 0, 1, 0], atol=0.02)


@pytest.mark.parametrize("later", [handle(2, epoch=2), handle(1)])
def test_frames_of_another_start_or_no_later_do_not_compare(wall, later):
    camera, frame = CameraMotion(), view(wall, np.eye(2, 3))
    camera.follow(frame, handle(1), FACE, 1280)
    assert camera.follow(frame, later, FACE, 1280)[0] == 0


def test_nothing_is_computed_while_nobody_is_there(wall):
    camera, frame = CameraMotion(), view(wall, np.eye(2, 3))
    camera.follow(frame, handle(1), FACE, 1280)
    assert camera.follow(frame, handle(2), NOBODY, 1280)[0] == 1
    assert camera.follow(frame, handle(3, at_ns=IDLE_NS + 10**9), NOBODY, 1280) == (0, pytest.approx([]))
    assert camera.follow(frame, handle(4, at_ns=IDLE_NS + 2 * 10**9), FACE, 1280)[0] == 0


def test_a_still_picture_is_told_as_still_and_the_next_move_is_not_lost(wall):
    camera = CameraMotion()
    start, after = (np.array([[1.0, 0, dx - 300], [0, 1, -180]]) for dx in (0, 30))
    assert camera.stood(handle(1), FACE)[0] == 0
    camera.follow(view(wall, start), handle(2), FACE, 1280)
    for seq in (3, 4):
        since, motion = camera.stood(handle(seq), FACE)
        assert since == seq - 1
        np.testing.assert_array_equal(motion, [1, 0, 0, 0, 1, 0])
    assert camera.stood(handle(4), FACE)[0] == 0
    assert camera.stood(handle(5, epoch=2), FACE)[0] == 0
    since, motion = camera.follow(view(wall, after), handle(5), FACE, 1280)
    assert since == 4
    np.testing.assert_allclose(motion, [1, 0, 30, 0, 1, 0], atol=1)


def test_a_still_picture_without_a_face_is_forgotten_after_a_while(wall):
    camera = CameraMotion()
    camera.follow(view(wall, np.eye(2, 3)), handle(1), FACE, 1280)
    assert camera.stood(handle(2, at_ns=IDLE_NS + 10**9), NOBODY)[0] == 0
    assert camera.stood(handle(3, at_ns=IDLE_NS + 2 * 10**9), FACE)[0] == 0
