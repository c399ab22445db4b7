"""Tiles of a frame: views, not copies, in every pixel format; and one answer out of several pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import Detections, build_detector
from services.infer.tiles import crop, merge, moved, whole, within

FRAME = (1280, 720)
TILE = (300, 200, 200, 160)


def found(*rows: tuple[float, ...], marks: bool = False) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    points = np.tile(table[:, :2], 5) if marks else np.empty((0, 10), np.float32)
    return Detections(table[:, :4], table[:, 4], points)


def frame_of(image: np.ndarray, pixel_format: PixelFormat) -> list[np.ndarray]:
    height, width = image.shape[:2]
    geometry = Geometry(width, height, pixel_format)
    i420 = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, u, v = Geometry(width, height, PixelFormat.I420).planes(i420)
    match pixel_format:
        case PixelFormat.BGR:
            return [image]
        case PixelFormat.GRAY:
            return [luma]
        case PixelFormat.I420:
            return [luma, u, v]
        case PixelFormat.NV12:
            return [luma, np.ascontiguousarray(np.dstack((u, v)))]
        case PixelFormat.YUYV:
            plane = np.empty(geometry.plane_shapes()[0], np.uint8)
            plane[:, :, 0] = luma
            plane[:, 0::2, 1], plane[:, 1::2, 1] = u.repeat(2, axis=0), v.repeat(2, axis=0)
            return [plane]


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_a_face_in_a_tile_is_found_where_it_is_in_the_frame_and_nothing_is_copied(pixel_format, model, photo):
    model("yunet")
    image = cv2.resize(photo("single"), (320, 320))
    canvas = np.full((720, 1280, 3), 90, np.uint8)
    canvas[210:530, 502:822] = image
    planes = frame_of(canvas, pixel_format)
    views = crop(planes, tile := (482, 190, 360, 360))
    geometry = Geometry(360, 360, pixel_format)
    assert [view.shape for view in views] == geometry.plane_shapes()
    assert all(np.shares_memory(view, plane) for view, plane in zip(views, planes, strict=True))
    detector = build_detector(InferSettings(width=320))
    part = moved(detector.detect(views, geometry), tile)
    alone = detector.detect([np.ascontiguousarray(view) for view in views], geometry)
    assert len(part.boxes) == len(part.landmarks) == 1
    np.testing.assert_allclose(part.boxes - np.array([482, 190] * 2, np.float32), alone.boxes, atol=1e-3)
    expected = moved(detector.detect([image], Geometry(320, 320, PixelFormat.BGR)), (502, 210, 320, 320))
    np.testing.assert_allclose(part.boxes, expected.boxes, atol=12)
    np.testing.assert_allclose(part.landmarks, expected.landmarks, atol=12)


def test_what_a_border_of_the_tile_cuts_is_left_to_another_look():
    tile = found(
        (400, 300, 420, 324, 0.9),  # in the middle
        (301, 300, 320, 324, 0.9),  # at the left border
        (400, 340, 420, 359.5, 0.9),  # at the lower one
        (400, 210, 480, 300, 0.9),  # large: the whole frame tells it
    )
    kept = whole(tile, TILE, FRAME, 70)
    assert kept.boxes.tolist() == [[400, 300, 420, 324]]


def test_the_frames_own_border_cuts_nothing():
    tile = found((0, 0, 20, 24, 0.9), (182, 30, 199, 50, 0.9))
    assert whole(tile, (0, 0, 200, 160), FRAME, 70).boxes.tolist() == [[0, 0, 20, 24]]
    last = found((1262, 700, 1280, 720, 0.9))
    assert len(whole(last, (1080, 560, 200, 160), FRAME, 70).boxes) == 1


def test_a_face_in_several_pictures_is_told_once_as_the_tile_saw_it():
    low = found((100, 100, 130, 136, 0.95), (600, 200, 700, 320, 0.9))
    first = found((104, 104, 124, 128, 0.7), (160, 100, 180, 124, 0.5))
    second = found((161, 101, 181, 125, 0.6))
    answer = merge(low, [first, second])
    assert answer.boxes.tolist() == [[600, 200, 700, 320], [104, 104, 124, 128], [161, 101, 181, 125]]
    np.testing.assert_allclose(answer.scores, [0.9, 0.7, 0.6])


def test_neighbours_stay_two_faces_and_landmarks_stay_with_theirs():
    answer = merge(found((100, 100, 120, 124, 0.8), marks=True), [found((124, 100, 144, 124, 0.9), marks=True)])
    assert answer.boxes.tolist() == [[124, 100, 144, 124], [100, 100, 120, 124]]
    assert answer.landmarks[:, 0].tolist() == [124, 100]


@pytest.mark.parametrize("marks", [True, False])
def test_nothing_in_any_picture_is_no_face(marks):
    answer = merge(found(marks=marks), [found(marks=marks)] * 2)
    assert [array.shape for array in answer] == [(0, 4), (0,), (0, 10)]


def test_within_asks_for_the_whole_box():
    boxes = np.array([[300, 200, 320, 220], [490, 200, 501, 220], [299, 200, 320, 220]], np.float32)
    assert within(boxes, TILE).tolist() == [True, False, False]
