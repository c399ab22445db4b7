"""Vectors of faces: alignment, models and plug-ins, and whose face is looked at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from common.wire import FrameHandle
from services.infer.detector import Detections, build_detector
from services.infer.embedder import SIDE, TEMPLATE, align, load_embedder
from services.infer.looks import AGAIN_NS, MOST_NEW, Looks

GEOMETRY = Geometry(640, 360, PixelFormat.BGR)


class Counting:
    """An embedder that tells how often it was asked."""

    def __init__(self, settings=None):
        self.asked = 0

    def embed(self, face):
        assert face.shape == (SIDE, SIDE, 3)
        self.asked += 1
        return np.full(4, self.asked, np.float32)


def faces(*boxes, score=0.9):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    sides = (array[:, 2:] - array[:, :2])[:, None]
    points = array[:, None, :2] + (TEMPLATE / SIDE).astype(np.float32) * sides
    return Detections(array, np.full(len(array), score, np.float32), points.reshape(-1, 10))


def handle(ms, epoch=1):
    return FrameHandle("door", epoch, 0, 1 + ms, 1 + ms, ms * 1_000_000 + 1, 0, 0)


def planes():
    return [np.zeros((360, 640, 3), np.uint8)]


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_points_of_an_upright_face_lie_on_the_template():
    image = np.zeros((360, 640, 3), np.uint8)
    points = (TEMPLATE * 1.5 + (200, 80)).astype(np.float32)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 3, (255, 255, 255), -1)
    face = align([image], GEOMETRY, points.ravel())
    assert all(face[round(y), round(x)].min() > 200 for x, y in TEMPLATE)


def test_a_turned_face_is_turned_back(photo):
    image = photo("single")
    height, width = image.shape[:2]
    geometry = Geometry(width, height, PixelFormat.BGR)
    points = build_detector(InferSettings(width=320)).detect([image], geometry).landmarks[0]
    straight = align([image], geometry, points)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 0.7)
    moved = points.reshape(5, 2) @ turn[:, :2].T + turn[:, 2]
    turned = align([cv2.warpAffine(image, turn, (width, height))], geometry, moved.astype(np.float32).ravel())
    assert np.corrcoef(straight.ravel(), turned.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420, PixelFormat.YUYV])
def test_every_pixel_format_gives_the_same_face(photo, pixel_format):
    image = cv2.resize(photo("single"), (320, 320))
    found = build_detector(InferSettings(width=320)).detect([image], Geometry(320, 320, PixelFormat.BGR))
    face = align([image], Geometry(320, 320, PixelFormat.BGR), found.landmarks[0])
    geometry = Geometry(320, 320, pixel_format)
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    luma, u, v = yuv[:320], yuv[320:400].reshape(160, 160), yuv[400:].reshape(160, 160)
    made = {
        PixelFormat.I420: [luma, u, v],
        PixelFormat.NV12: [luma, np.dstack((u, v))],
        PixelFormat.YUYV: [np.dstack((luma, np.dstack((u, v)).repeat(2, axis=0).reshape(320, 320)))],
    }
    other = align(made[pixel_format], geometry, found.landmarks[0])
    assert np.abs(face.astype(int) - other).mean() < 6


def test_a_face_outside_the_picture_or_in_one_point_is_none():
    far = (TEMPLATE + 5000.0).astype(np.float32).ravel()
    assert align(planes(), GEOMETRY, far) is None
    assert align(planes(), GEOMETRY, np.full(10, 50, np.float32)) is None
    assert align(planes(), GEOMETRY, np.full(10, np.nan, np.float32)) is None


def test_sface_tells_people_apart(model, photo):
    model("sface")
    embedder = load_embedder(InferSettings(embedder="sface"))
    detector = build_detector(InferSettings(width=640))
    image = photo("group")
    bright = cv2.convertScaleAbs(cv2.resize(image, None, fx=0.8, fy=0.8), alpha=0.8, beta=20)
    first, second = (vectors(detector, embedder, picture) for picture in (image, bright))
    likeness = first @ second.T
    assert likeness.shape == (5, 5)
    assert (np.sort(likeness.max(axis=1)) > 0.6).all()
    assert (np.sort(likeness, axis=1)[:, :-1] < 0.45).all()


def test_a_model_that_is_no_embedder_is_refused(model):
    model("yunet")
    with pytest.raises(ModelError, match="its decoder is 'yunet', 'embedding' expected"):
        load_embedder(InferSettings(embedder="yunet"))


def test_a_model_that_gives_no_vector_is_refused(make_model):
    path = make_model({"map": np.zeros((1, 2, 3))}, 'decoder = "embedding"', (1, 3, 112, 112))
    with pytest.raises(ModelError, match="one vector expected"):
        load_embedder(InferSettings(embedder=str(path)))


def test_a_wrong_name_says_which_setting_it_is():
    with pytest.raises(ConfigError, match=r"infer.embedder='sfacee': did you mean 'sface'\?"):
        load_embedder(InferSettings(embedder="sfacee"))
    with pytest.raises(ConfigError, match=r"infer.embedder='nowhere:It'"):
        load_embedder(InferSettings(embedder="nowhere:It"))


def test_a_plug_in_is_asked():
    embedder = load_embedder(InferSettings(embedder="tests.services.infer.test_embedder:Counting"))
    assert embedder.embed(np.zeros((SIDE, SIDE, 3), np.uint8)).tolist() == [1, 1, 1, 1]


def test_new_faces_are_looked_at_at_once_and_known_ones_now_and_then():
    looks, box = Looks(Counting(), 0.6), [100, 100, 180, 200]
    asked = [len(looks.look(planes(), GEOMETRY, handle(ms), faces(box))[0]) for ms in range(0, 2100, 100)]
    assert asked[0] == 1
    assert sum(asked) == 2
    assert looks.look(planes(), GEOMETRY, handle(2200), faces(box, [400, 100, 480, 200]))[0].tolist() == [1]


def test_a_face_that_moves_on_is_the_same_and_one_that_jumps_is_new():
    looks = Looks(Counting(), 0.6)
    assert len(looks.look(planes(), GEOMETRY, handle(0), faces([100, 100, 180, 200]))[0]) == 1
    for step in range(1, 9):
        box = [100 + 20 * step, 100, 180 + 20 * step, 200]
        assert len(looks.look(planes(), GEOMETRY, handle(33 * step), faces(box))[0]) == 0
    assert len(looks.look(planes(), GEOMETRY, handle(330), faces([500, 100, 580, 200]))[0]) == 1


def test_a_crowd_is_looked_at_a_few_a_frame():
    looks = Looks(Counting(), 0.6)
    crowd = faces(*([70 * k, 100, 70 * k + 50, 160] for k in range(8)))
    rows = [looks.look(planes(), GEOMETRY, handle(33 * k), crowd)[0].tolist() for k in range(3)]
    assert [len(part) for part in rows] == [MOST_NEW, MOST_NEW, 8 - 2 * MOST_NEW]
    assert sorted(row for part in rows for row in part) == list(range(8))


def test_unsure_small_and_pointless_faces_are_not_looked_at():
    looks = Looks(Counting(), 0.6)
    assert not len(looks.look(planes(), GEOMETRY, handle(0), faces([100, 100, 180, 200], score=0.5))[0])
    assert not len(looks.look(planes(), GEOMETRY, handle(1), faces([100, 100, 120, 130]))[0])
    found = faces([100, 100, 180, 200])._replace(landmarks=np.empty((0, 10), np.float32))
    assert not len(looks.look(planes(), GEOMETRY, handle(2), found)[0])


def test_places_of_an_older_stream_mean_nothing():
    looks, box = Looks(Counting(), 0.6), [100, 100, 180, 200]
    looks.look(planes(), GEOMETRY, handle(AGAIN_NS // 2_000_000), faces(box))
    assert len(looks.look(planes(), GEOMETRY, handle(600, epoch=2), faces(box))[0]) == 1


def vectors(detector, embedder, image):
    image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    geometry = Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)
    found = detector.detect([image], geometry)
    return np.array([unit(embedder.embed(align([image], geometry, points))) for points in found.landmarks])
