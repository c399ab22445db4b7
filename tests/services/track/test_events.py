"""The life of faces, frame by frame, with a clock of the test's own."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.eventlog import Event
from common.settings import CameraSettings, EventSettings
from services.track.events import Face, Faces
from services.track.tracks import CONFIRMED, LOST, TENTATIVE, Tracks
from services.track.zones import Zones

FPS = 10.0
STEP_NS = 100_000_000
SIZE = (1000, 500)
LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]


class Scene:
    """Tracks as a tracker would hand them out, at 10 frames a second."""

    def __init__(self, camera: dict[str, Any] | None = None, min_hits: int = 1, **values: Any) -> None:
        zones = Zones(CameraSettings(source="x", **(camera or {})))
        self.faces = Faces("door", zones, EventSettings(**values), min_hits, "boot", lambda: 5_000_000_000_000)
        self.at_ns = 100_000_000_000
        self.born: dict[int, int] = {}
        self.events: list[Event] = []

    def frame(self, *rows: tuple[int, float] | tuple[int, float, dict[str, Any]], frames: int = 1) -> list[str]:
        """Advance one frame: rows of (track id, left edge in px, other values); returns what was told."""
        told: list[Event] = []
        for _ in range(frames):
            self.at_ns += STEP_NS
            told += self.faces.observe(self.tracks(list(rows)), self.at_ns, FPS, *SIZE)
        self.events += told
        return [f"{event.type} {event.track_id}" for event in told]

    def tracks(self, rows: list[Any]) -> Tracks:
        full = [(row[0], row[1], row[2] if len(row) > 2 else {}) for row in rows]
        ids = [row[0] for row in full]
        for track_id in ids:
            self.born.setdefault(track_id, self.at_ns)
        boxes = [[x, v.get("y", 100), x + v.get("w", 100), v.get("y", 100) + 100] for _, x, v in full]
        n = len(full)
        age = [(self.at_ns - self.born[track_id]) / STEP_NS for track_id in ids]
        return Tracks(
            ids=np.array(ids, np.int64),
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            scores=np.array([v.get("score", 0.8) for _, _, v in full]),
            states=np.array([v.get("state", CONFIRMED) for _, _, v in full], np.uint8),
            hits=np.array([v.get("hits", 9) for _, _, v in full], np.int32),
            ages_frames=np.array(age),
            time_since_update=np.zeros(n),
            velocities=np.zeros((n, 4)),
            detection_index=np.array([v.get("match", 0) for _, _, v in full], np.int32),
            shown=np.ones(n, np.bool_),
        )

    def id_of(self, track_id: int) -> str:
        return self.faces.event_ids([track_id])[0]


UNSEEN = {"match": -1, "state": LOST}


def test_a_face_starts_when_confirmed_and_ends_reattach_s_after_it_was_seen_last() -> None:
    scene = Scene(reattach_s=0.5)
    assert scene.frame((1, 100, {"state": TENTATIVE})) == []
    assert scene.id_of(1) == ""
    assert scene.frame((1, 100)) == ["start 1"]
    start = scene.events[0]
    assert scene.id_of(1) == start.id
    assert (start.camera, start.boot_id, start.mono_ns, start.time_ns) == (
        "door",
        "boot",
        scene.at_ns,
        scene.at_ns + 5_000_000_000_000,
    )
    assert start.box == pytest.approx((0.1, 0.2, 0.1, 0.2))
    assert scene.frame((1, 100), frames=9) == []
    assert scene.frame(frames=4) == []
    assert scene.frame() == ["end 1"]
    end = scene.events[-1]
    assert (end.id, end.duration_s) == (start.id, pytest.approx(1.0))
    assert scene.frame(frames=50) == []
    assert scene.faces.state() == []


def test_time_alone_ends_a_face_that_is_away() -> None:
    scene = Scene(reattach_s=0.5)
    scene.frame((1, 100))
    scene.frame()
    assert scene.faces.tick(scene.at_ns + STEP_NS) == []
    assert [event.type for event in scene.faces.tick(scene.at_ns + 4 * STEP_NS)] == ["end"]
    assert scene.faces.tick(scene.at_ns + 100 * STEP_NS) == []


def test_at_the_end_every_face_has_left_also_who_is_away() -> None:
    scene = Scene(reattach_s=9)
    scene.frame((1, 100), (2, 600))
    scene.frame((1, 100))
    ends = scene.faces.end(scene.at_ns)
    assert sorted((event.type, event.track_id) for event in ends) == [("end", 1), ("end", 2)]
    assert scene.faces.end(scene.at_ns) == []
    assert scene.frame((1, 100)) == ["start 1"]


def test_a_face_that_comes_back_near_its_place_goes_on_as_the_same_event() -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((1, 100))
    first = scene.id_of(1)
    assert scene.frame(frames=10) == []
    assert scene.frame((2, 160)) == []
    assert scene.id_of(2) == first
    assert scene.frame((2, 160), frames=60) == ["update 2"]
    scene.frame(frames=30)
    assert [event.type for event in scene.events] == ["start", "update", "end"]
    assert scene.events[-1].duration_s == pytest.approx(7.1)


@pytest.mark.parametrize("there", [(2, 300), (2, 100, {"y": 350}), (2, 90, {"w": 350})])
def test_a_face_elsewhere_or_of_another_size_is_another_one(there: tuple[Any, ...]) -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((1, 100))
    scene.frame(frames=3)
    assert scene.frame(there) == ["start 2"]
    assert scene.id_of(2) != scene.events[0].id


def test_a_face_that_was_there_before_the_other_vanished_is_another_one() -> None:
    scene = Scene(reattach_s=2.0)
    young = (2, 130, {"state": TENTATIVE})
    scene.frame((1, 100))
    scene.frame((1, 100), young)
    scene.frame(young)
    assert scene.frame((2, 130)) == ["start 2"]


def test_the_nearest_of_several_comes_back_and_each_only_once() -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((1, 100), (2, 180))
    one, two = scene.id_of(1), scene.id_of(2)
    scene.frame()
    scene.frame((3, 170))
    scene.frame((3, 170), (4, 120))
    assert (scene.id_of(3), scene.id_of(4)) == (two, one)
    assert scene.frame((3, 170), (4, 120), (5, 150)) == ["start 5"]


def test_a_new_track_takes_the_event_of_one_that_the_tracker_still_looks_for() -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((1, 100))
    event = scene.id_of(1)
    scene.frame((1, 100, UNSEEN), frames=3)
    assert scene.frame((1, 100, UNSEEN), (2, 120)) == []
    assert (scene.id_of(1), scene.id_of(2)) == ("", event)
    assert scene.frame((2, 120), frames=30) == []  # the old track's end is no end of the face
    assert scene.frame(frames=30) == ["end 2"]


def test_a_face_that_is_seen_in_this_frame_never_loses_its_event() -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((9, 100))
    event = scene.id_of(9)
    assert scene.frame((10, 130), (9, 100)) == ["start 10"]  # a new row above the known one
    assert scene.id_of(9) == event


def test_updates_come_every_update_s_while_it_is_seen() -> None:
    scene = Scene(update_s=1.0)
    scene.frame((1, 100))
    assert scene.frame((1, 100), frames=35) == ["update 1"] * 3
    assert scene.frame((1, 100, UNSEEN), frames=15) == []


def test_zones_and_a_better_score_are_told_once_a_second_at_most() -> None:
    scene = Scene({"zones": {"left": LEFT}}, update_s=60)
    scene.frame((1, 100))
    assert scene.events[0].zones == ("left",)
    assert scene.frame((1, 700), frames=9) == []
    assert scene.frame((1, 700)) == ["update 1"]
    assert scene.events[-1].zones == ()
    for index in range(40):
        scene.frame((1, 700 if index % 2 else 100))
    assert len(scene.events) <= 6
    before = len(scene.events)
    assert scene.frame((1, 100), frames=15) in ([], ["update 1"])
    assert scene.frame((1, 100, {"score": 0.83}), frames=15) == []
    assert scene.frame((1, 100, {"score": 0.86}), frames=15) == ["update 1"]
    assert scene.events[-1].best_score == pytest.approx(0.86)
    assert len(scene.events) > before


def test_minimum_duration_delays_the_start_and_short_faces_are_never_told() -> None:
    scene = Scene(min_duration_s=1.0)
    assert scene.frame((1, 100), frames=9) == []
    assert scene.frame(frames=30) == []
    assert scene.frame((2, 100), frames=10) == []
    assert scene.frame((2, 100)) == ["start 2"]
    assert scene.events[0].duration_s == pytest.approx(1.0)


def test_score_size_hits_and_masks_must_pass_before_a_start() -> None:
    assert Scene(min_score=0.85).frame((1, 100), frames=9) == []
    assert Scene(min_score=0.85).frame((1, 100, {"score": 0.9})) == ["start 1"]
    assert Scene(min_size=0.25).frame((1, 100), frames=9) == []
    assert Scene(min_size=0.19).frame((1, 100)) == ["start 1"]
    assert Scene(min_hits=10).frame((1, 100), frames=9) == []
    masked = Scene({"masks": [LEFT]})
    assert masked.frame((1, 100), frames=9) == []
    assert masked.frame((1, 600)) == ["start 1"]
    assert masked.frame((1, 100), frames=9) == []  # goes on in the mask
    assert masked.frame(frames=30) == ["end 1"]


def test_a_start_needs_a_detection_not_a_prediction() -> None:
    assert Scene().frame((1, 100, {"match": -1})) == []


def test_without_reattach_a_face_ends_with_its_track() -> None:
    scene = Scene(reattach_s=0)
    scene.frame((1, 100))
    assert scene.frame((2, 100)) == ["start 2", "end 1"]


def test_state_goes_through_a_restart() -> None:
    scene = Scene(reattach_s=2.0)
    scene.frame((1, 100), (2, 500))
    scene.frame((1, 100))
    again = Scene(reattach_s=2.0)
    again.at_ns, again.born = scene.at_ns, scene.born
    again.faces.restore([Face(**row) for row in scene.faces.state()], [1])
    assert again.id_of(1) == scene.id_of(1)
    assert again.frame((1, 100), (3, 510)) == []
    assert again.id_of(3) == scene.events[1].id


step = st.tuples(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.integers(0, 9),
            st.sampled_from([TENTATIVE, CONFIRMED, LOST]),
            st.sampled_from([-1, 0]),
        ),
        max_size=5,
        unique_by=lambda row: row[0],
    ),
    st.integers(1, 15),
    st.booleans(),
)


@settings(max_examples=150)
@given(st.lists(step, max_size=25), st.sampled_from([0.0, 0.3, 2.0]))
def test_every_start_has_one_end_whatever_the_tracks_do(steps: list[Any], reattach_s: float) -> None:
    scene = Scene({"zones": {"left": LEFT}}, reattach_s=reattach_s, update_s=0.5)
    for rows, frames, restart in steps:
        scene.frame(*((i, 90 * x, {"state": s, "match": m}) for i, x, s, m in rows), frames=frames)
        ids = [i for i, *_ in rows]
        told = [event_id for event_id in scene.faces.event_ids(ids) if event_id]
        assert len(set(told)) == len(told)
        if restart:
            faces = [Face(**row) for row in scene.faces.state()]
            scene.faces = Faces(
                "door", scene.faces._zones, scene.faces._settings, 1, "boot", scene.faces._wall_offset_ns
            )
            scene.faces.restore(faces, ids)
    scene.frame(frames=30)
    lives: dict[str, list[str]] = defaultdict(list)
    for event in scene.events:
        lives[event.id].append(event.type)
        assert event.duration_s >= 0
        assert all(0 <= value <= 1 for value in event.box)
    for life in lives.values():
        assert (life[0], life[-1]) == ("start", "end")
        assert set(life[1:-1]) <= {"update"}
    assert scene.faces.open == []
