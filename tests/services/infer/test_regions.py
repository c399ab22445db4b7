"""Regions: the tiles cost what was saved, miss no place, follow small faces, and find what the usual picture cannot."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import Detections, build_detector
from services.infer.letterbox import model_size
from services.infer.region_layout import TILES, Layout, lay_out
from services.infer.regions import FORGET, NEVER, SEARCH_EVERY, SPARE, Chooser, Regions
from services.infer.tiles import within

GEOMETRY = Geometry(1280, 720, PixelFormat.BGR)


def layout_of() -> Layout:
    layout = lay_out((1280, 720), model_size((1280, 720), 640, 32), SPARE * 32)
    assert layout is not None
    return layout


SWEEP = -(-len(layout_of().spots) // TILES)


def found(boxes: np.ndarray) -> Detections:
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.empty((0, 10), np.float32))


def faces(*rows: tuple[float, float, float]) -> np.ndarray:
    """Boxes of these left, top and side."""
    return np.array([(x, y, x + side, y + side) for x, y, side in rows], np.float32).reshape(-1, 4)


def test_with_nobody_known_all_tiles_search_and_a_sweep_looks_at_every_spot():
    layout = layout_of()
    chooser, seen = Chooser(layout), Counter()
    looks = [chooser.choose() for _ in range(-(-len(layout.spots) // TILES))]
    for look in looks:
        assert not look.usual
        seen.update(look.tiles)
    assert set(seen) == set(layout.spots)
    assert len(looks) == chooser.sweep


@pytest.mark.parametrize("known", [1, 2])
def test_known_small_faces_get_a_tile_in_each_frame_and_the_search_goes_on(known):
    layout, spread = layout_of(), faces((300, 300, 18), (900, 500, 18))[:known]
    chooser, searched = Chooser(layout), Counter()
    chooser.learn(found(spread), chooser.choose())
    for _ in range(SEARCH_EVERY * len(layout.spots)):
        look = chooser.choose()
        assert not look.usual
        held = np.array([within(spread, spot) for spot in look.tiles])
        assert held.any(axis=0).all()
        searched.update(look.tiles)
        chooser.learn(found(spread), look)
    assert set(layout.spots) <= set(searched)


def test_faces_close_together_share_a_tile():
    chooser = Chooser(layout_of())
    chooser.learn(found(group := faces((300, 300, 18), (340, 310, 20), (320, 340, 16))), chooser.choose())
    first, *rest = chooser.choose().tiles
    assert within(group, first).all()
    assert set(rest) <= set(layout_of().spots)


def test_more_small_faces_than_tiles_can_hold_take_turns():
    layout = layout_of()
    spread = faces(*((150 + 240 * k, 100 + 240 * row, 16) for k in range(5) for row in range(2)))
    chooser, held = Chooser(layout), Counter()
    chooser.learn(found(spread), chooser.choose())
    for _ in range(20):
        look = chooser.choose()
        seen = np.flatnonzero(np.array([within(spread, tile) for tile in look.tiles]).any(axis=0))
        held.update(seen.tolist())
        chooser.learn(found(spread[seen]), look)
    assert min(held[row] for row in range(10)) >= 20 * (TILES - 1 / SEARCH_EVERY) // 10 - 1
    assert set(held) == set(range(10))


def test_a_crowd_that_the_usual_picture_shows_is_shown_it_and_searched_now_and_then():
    layout = layout_of()
    crowd = faces(*((60 + 200 * k, 60 + 150 * row, 60) for k in range(6) for row in range(4)))
    chooser = Chooser(layout)
    chooser.learn(found(crowd), chooser.choose())
    looks = []
    for _ in range(3 * SEARCH_EVERY):
        looks.append(chooser.choose())
        chooser.learn(found(crowd), looks[-1])
    assert sum(look.usual for look in looks) == 3 * (SEARCH_EVERY - 1)


def test_a_still_middling_face_lets_the_gate_close_after_a_search_and_a_small_one_beside_it_does_not():
    layout = layout_of()
    near, far = faces((300, 300, 70)), faces((300, 300, 70), (900, 500, 18))
    chooser = Chooser(layout)
    chooser.learn(found(near), chooser.choose())
    sweeps = []
    for _ in range(2 * SEARCH_EVERY):
        look = chooser.choose()
        sweeps.append(chooser.sweep)
        assert look.usual == (chooser.sweep is not None)
        chooser.learn(found(near), look)
    assert sweeps.count(None) == 2
    assert max(sweep for sweep in sweeps if sweep is not None) == SEARCH_EVERY * SWEEP
    chooser.learn(found(far), chooser.choose())
    looks = []
    for _ in range(4):
        looks.append(chooser.choose().usual)
        assert chooser.sweep == NEVER
    assert sum(looks) == 2


def test_an_unsure_middling_face_does_not_bring_the_usual_picture():
    chooser = Chooser(layout_of())
    unsure = found(faces((300, 300, 70)))._replace(scores=np.array([0.4], np.float32))
    chooser.learn(unsure, chooser.choose())
    assert not any(chooser.choose().usual for _ in range(8))


def test_a_small_face_is_given_up_after_looks_in_vain_and_not_before():
    layout, face = layout_of(), faces((300, 300, 18))
    chooser = Chooser(layout)
    chooser.learn(found(face), chooser.choose())
    for _ in range(FORGET):
        look = chooser.choose()
        assert within(face, look.tiles[0]).all()
        chooser.learn(found(faces()), look)
    assert set(chooser.choose().tiles) <= set(layout.spots)


def test_a_small_face_that_walks_on_is_one_face():
    layout, chooser = layout_of(), Chooser(layout_of())
    for step in range(40):
        face = faces((300 + 12 * step, 300, 18))
        look = chooser.choose()
        if step:
            assert within(face, look.tiles[0]).all()
            assert set(look.tiles[1:]) <= set(layout.spots)
        chooser.learn(found(face), look)


@pytest.fixture(scope="module")
def street(model, photo):
    """A 1280x720 frame with the photograph's five faces, 13 to 18 pixels each, and where they are."""
    model("yunet")
    image = photo("group")
    fine = build_detector(InferSettings()).detect([image], Geometry(image.shape[1], image.shape[0], PixelFormat.BGR))
    scale = 17 / float(np.median(fine.boxes[:, 3] - fine.boxes[:, 1]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((720, 1280, 3), 110, np.uint8)
    frame[430 : 430 + small.shape[0], 830 : 830 + small.shape[1]] = small
    return frame, fine.boxes * scale + np.array([830, 430] * 2, np.float32)


def hits(boxes, truth):
    """How many faces have a box around their middle that is about as large."""
    middle = (truth[:, None, :2] + truth[:, None, 2:]) / 2
    inside = ((boxes[None, :, :2] < middle) & (boxes[None, :, 2:] > middle)).all(axis=2)
    ratio = (boxes[:, 2] - boxes[:, 0])[None] / (truth[:, 2] - truth[:, 0])[:, None]
    return int((inside & (ratio > 0.6) & (ratio < 1.7)).any(axis=1).sum())


def test_faces_too_small_for_the_usual_picture_are_found_within_a_sweep_and_stay_found(street):
    frame, truth = street
    detector = build_detector(InferSettings())
    assert hits(detector.detect([frame], GEOMETRY).boxes, truth) <= 1
    regions = Regions(detector)
    regions.prepare(GEOMETRY)
    sweep = [regions.detect([frame], GEOMETRY) for _ in range(SWEEP + 1)]
    assert hits(sweep[-1].boxes, truth) >= 4
    later = [regions.detect([frame], GEOMETRY) for _ in range(SWEEP)]
    assert min(hits(found.boxes, truth) for found in later) >= 4
    assert all(len(found.landmarks) == len(found.boxes) == len(found.scores) for found in later)
    assert all((np.diff(found.scores) <= 0).all() for found in later)
    assert min(detector.laps) > 0


def test_the_same_frames_give_the_same_answers(street):
    frame, _ = street
    shown = [np.roll(frame, 4 * k, axis=1) for k in range(40)]
    runs = []
    for _ in range(2):
        regions = Regions(build_detector(InferSettings()))
        runs.append([regions.detect([picture], GEOMETRY) for picture in shown])
    for first, second in zip(*runs, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_faces_are_found_as_without_regions(model, photo):
    model("yunet")
    image = cv2.resize(photo("group"), (1280, 720))
    detector = build_detector(InferSettings())
    usual = detector.detect([image], GEOMETRY)
    regions = Regions(detector)
    for _ in range(8):
        found = regions.detect([image], GEOMETRY)
        assert len(found.boxes) == len(usual.boxes) == 5
        assert hits(found.boxes, usual.boxes) == 5


def test_one_regions_follows_a_camera_that_changes_its_size(street, model):
    frame, truth = street
    regions = Regions(build_detector(InferSettings()))
    little = Geometry(640, 360, PixelFormat.BGR)
    for _ in range(2):
        assert len(regions.detect([np.zeros((360, 640, 3), np.uint8)], little).boxes) == 0
        assert regions.sweep == 0
        found = [regions.detect([frame], GEOMETRY) for _ in range(40)]
        assert hits(found[-1].boxes, truth) >= 4


def test_a_frame_that_is_shown_well_is_said_to_gain_nothing(model, caplog):
    model("yunet")
    Regions(build_detector(InferSettings())).prepare(Geometry(640, 360, PixelFormat.BGR))
    assert "regions change nothing" in caplog.text


def test_a_frame_is_one_run_of_the_model_also_when_its_size_is_fixed_and_its_input_holds_several(street, model):
    frame, truth = street
    model("yunet")
    regions = Regions(build_detector(InferSettings(max_batch=2)))
    found = [regions.detect([frame], GEOMETRY) for _ in range(SWEEP + 1)]
    assert hits(found[-1].boxes, truth) >= 4
