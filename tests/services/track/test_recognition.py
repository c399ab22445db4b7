"""Faces that are known again by how they look."""

from __future__ import annotations

import numpy as np

from services.track.face import FaceTracker
from services.track.recognition import Recognition
from services.track.tracks import CONFIRMED

ANNA, BEN = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
SECOND = 1_000_000_000


class Stage:
    """A tracker and what it knows, fed with faces at thirty frames a second."""

    def __init__(self, recall_s=60.0, likeness=0.45):
        self.tracker, self.recognition = FaceTracker(), Recognition(recall_s, likeness, 3)
        self.at_ns = 0

    def show(self, *people, looks=None, times=1):
        """Faces (x, vector) for some frames; `looks` are the rows that are looked at, all by default."""
        for _ in range(times):
            self.at_ns += SECOND // 30
            boxes = np.array([[x, 100, x + 60, 170] for x, _ in people], np.float64).reshape(-1, 4)
            tracks = self.tracker.step(boxes, np.full(len(boxes), 0.9))
            rows = np.arange(len(people)) if looks is None else np.array(looks)
            seen = np.array([people[row][1] for row in rows] or np.empty((0, 0)), np.float32)
            former = self.recognition.look(tracks, rows.astype(np.int32), seen, self.at_ns)
            for track_id, known in former.items():
                self.tracker.take_over(track_id, known)
        tracks = self.tracker.tracks
        here = tracks.detection_index >= 0
        return dict(zip(tracks.detection_index[here].tolist(), tracks.ids[here].tolist(), strict=True))


def test_a_face_that_comes_back_elsewhere_has_its_id():
    stage = Stage()
    assert stage.show((100, ANNA), times=10) == {0: 1}
    stage.show(times=200)
    assert stage.show((500, ANNA), times=5) == {0: 1}
    assert stage.tracker.tracks.states.tolist() == [CONFIRMED]


def test_a_lost_track_of_the_same_face_ends():
    stage = Stage()
    stage.show((100, ANNA), times=10)
    stage.show(times=5)
    assert stage.show((500, ANNA)) == {0: 1}
    assert len(stage.tracker.tracks) == 1


def test_somebody_else_is_somebody_else():
    stage = Stage()
    stage.show((100, ANNA), times=10)
    stage.show(times=200)
    assert stage.show((100, BEN), times=5) != {0: 1}


def test_two_that_come_back_are_told_apart():
    stage = Stage()
    stage.show((100, ANNA), (400, BEN), times=10)
    stage.show(times=200)
    assert stage.show((400, ANNA), (100, BEN), times=5) == {0: 1, 1: 2}


def test_a_face_that_is_here_is_nobody_elses_id():
    stage = Stage()
    stage.show((100, ANNA), times=10)
    assert stage.show((100, ANNA), (400, ANNA), times=5)[0] == 1
    assert len(set(stage.show((100, ANNA), (400, ANNA)).values())) == 2


def test_who_left_long_ago_is_forgotten():
    stage = Stage(recall_s=2)
    stage.show((100, ANNA), times=10)
    stage.show(times=70)
    assert stage.show((500, ANNA), times=5) != {0: 1}


def test_a_track_that_was_told_keeps_its_id():
    stage = Stage()
    stage.show((100, ANNA), times=10)
    stage.show(times=200)
    (known,) = stage.show((500, ANNA), looks=[], times=5).values()
    assert known != 1
    assert stage.show((500, ANNA)) == {0: known}


def test_views_of_another_length_or_of_nothing_are_no_match():
    stage = Stage()
    stage.show((100, ANNA), times=10)
    stage.show(times=200)
    other = stage.show((500, np.ones(5)), times=3)
    assert other != {0: 1}
    assert stage.show((900, np.zeros(3)), times=3) not in ({0: 1}, other)
