"""From tracks to what is drawn and covered."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from common.drawing.draw import COLOURS, colour
from common.drawing.marks import Kind, age_text, covered_boxes, marks_of
from common.wire import FrameHandle, TrackFrame


def tracks(**changes: Any) -> TrackFrame:
    now = time.monotonic_ns()
    fields: dict[str, Any] = {
        "ids": np.array([1, 2, 3], np.int64),
        "boxes": np.array([[100, 100, 200, 200], [300, 100, 340, 150], [600, 300, 640, 360]], np.float32),
        "velocities": np.array([[100, 0, 100, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32),
        "scores": np.ones(3, np.float32),
        "states": np.array([1, 2, 0], np.uint8),
        "shown": np.array([1, 1, 0], np.uint8),
        "detection_index": np.array([0, -1, 1], np.int32),
        "hits": np.ones(3, np.int32),
        "ages_s": np.array([3, 75, 0], np.float32),
        "event_ids": ("", "", ""),
        "detections": np.array([[100, 100, 200, 200], [600, 300, 640, 360], [10, 10, 20, 20]], np.float32),
        "landmarks": np.zeros((3, 10), np.float32),
    }
    fields |= changes
    return TrackFrame(FrameHandle("door", 1, 0, 1, 1, now, 0, now), 640, 360, now, now, now, **fields)


def test_only_shown_boxes_are_drawn_scaled_to_the_picture() -> None:
    seen, lost = marks_of(tracks(), (320, 180))
    assert (seen.box, seen.kind, seen.label, len(seen.landmarks)) == ((50, 50, 100, 100), Kind.SEEN, "#1  3 s", 5)
    assert (lost.box, lost.kind, lost.label, lost.landmarks) == ((150, 50, 170, 75), Kind.LOST, "#2  1 min", ())


def test_boxes_move_on_with_their_speed_and_lose_their_landmarks() -> None:
    ahead = marks_of(tracks(), (640, 360), 0.5)[0]
    assert (ahead.box, ahead.kind, ahead.landmarks) == ((150, 100, 250, 200), Kind.AHEAD, ())
    assert marks_of(tracks(), (640, 360), 1.5) == []


def test_every_detection_and_every_track_is_covered_with_a_margin() -> None:
    boxes = covered_boxes(tracks(), (640, 360))
    assert len(boxes) == 6
    assert boxes[0].tolist() == [66, 66, 234, 234]
    assert boxes[-1].tolist() == [584, 278, 640, 360]
    assert (boxes[2] == [3, 3, 27, 27]).all()


def test_box_far_away_or_inside_out_covers_everything() -> None:
    for box in ([1e30] * 4, [0, 0, 9000, 10], [300, 100, 200, 150], [100, 200, 150, 100]):
        boxes = np.array([box, [0, 0, 5, 5], [0, 0, 5, 5]], np.float32)
        assert [0, 0, 640, 360] in covered_boxes(tracks(boxes=boxes), (640, 360)).tolist()
    drifted = np.array([[-200, 50, -100, 150], [0, 0, 5, 5], [0, 0, 5, 5]], np.float32)  # a lost face that has left
    assert [0, 0, 640, 360] not in covered_boxes(tracks(boxes=drifted), (640, 360)).tolist()


@pytest.mark.parametrize("wild", [np.nan, np.inf])
def test_box_that_is_not_a_number_covers_everything_and_is_not_drawn_as_a_face(wild: float) -> None:
    boxes = np.array([[wild, 0, 10, 10]] * 3, np.float32)
    assert [0, 0, 640, 360] in covered_boxes(tracks(boxes=boxes), (640, 360)).tolist()
    marks_of(tracks(boxes=boxes), (640, 360))


def test_empty_frame_has_nothing_to_draw_or_cover() -> None:
    none = tracks(
        ids=np.zeros(0, np.int64), boxes=np.zeros((0, 4), np.float32), velocities=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32), states=np.zeros(0, np.uint8), shown=np.zeros(0, np.uint8),
        detection_index=np.zeros(0, np.int32), hits=np.zeros(0, np.int32), ages_s=np.zeros(0, np.float32),
        event_ids=(), detections=np.zeros((0, 4), np.float32), landmarks=np.zeros((0, 10), np.float32),
    )  # fmt: skip
    assert marks_of(none, (64, 36)) == []
    assert covered_boxes(none, (64, 36)).shape == (0, 4)


def test_ages_are_told_in_few_signs() -> None:
    assert [age_text(value) for value in (-1, 0, 59.9, 60, 3599, 3600, 90000)] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "25 h",
    ]  # fmt: skip


def test_neighbouring_ids_have_different_colours() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == 8
    assert all(colour(number) != colour(number + 1) for number in range(20))
    assert colour(5) == colour(5 + len(COLOURS))
