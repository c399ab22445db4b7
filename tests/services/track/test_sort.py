"""SORT equals the published program, frame by frame, on recorded streams."""

from pathlib import Path

import numpy as np
import pytest

from services.track.sort import Sort
from services.track.tracks import CONFIRMED, LOST, TENTATIVE

GOLDEN = Path(__file__).parents[2] / "data" / "track" / "sort_golden.npz"


def frames(rows, count):
    return [np.ascontiguousarray(rows[rows[:, 0] == k, 1:]) for k in range(count)]


@pytest.mark.parametrize("max_age", [1, 30])
@pytest.mark.parametrize("stream", ["calm", "crowd", "gaps"])
def test_boxes_and_ids_equal_the_recorded_ones(stream, max_age):
    with np.load(GOLDEN) as golden:
        count = int(golden["frames"])
        detections = frames(golden[f"{stream}_detections"], count)
        expected = frames(golden[f"{stream}_tracks_{max_age}"], count)
    tracker, names = Sort(max_age=max_age), {}
    for seen, theirs in zip(detections, expected, strict=True):
        got = tracker.update(seen)
        assert len(got) == len(theirs)
        wanted, got = theirs[np.lexsort(theirs[:, :4].T)], got[np.lexsort(got[:, :4].T)]
        np.testing.assert_allclose(got[:, :4], wanted[:, :4], rtol=0, atol=1e-6)
        for name, ours in zip(wanted[:, 4], got[:, 4], strict=True):
            assert names.setdefault(name, ours) == ours
    assert len(set(names.values())) == len(names)


def test_a_track_is_shown_after_min_hits_and_hidden_when_missed():
    tracker = Sort(max_age=3, min_hits=2)
    box = np.array([[10.0, 10.0, 50.0, 60.0, 0.9]])
    for _ in range(4):
        assert len(tracker.update(np.empty((0, 5)))) == 0
    shown = [len(tracker.update(box)) for _ in range(4)]
    assert shown == [0, 0, 1, 1]
    assert tracker.tracks.states.tolist() == [CONFIRMED]
    assert len(tracker.update(np.empty((0, 5)))) == 0
    assert tracker.tracks.states.tolist() == [LOST]
    assert len(tracker.update(box)) == 0
    assert tracker.tracks.states.tolist() == [TENTATIVE]


def test_a_track_ends_by_time_not_by_number_of_updates():
    tracker = Sort(max_age=5)
    tracker.update(np.array([[10.0, 10.0, 50.0, 60.0, 0.9]]))
    tracker.update(np.empty((0, 5)), dt=4.5)
    assert len(tracker.tracks) == 1
    tracker.update(np.empty((0, 5)), dt=1.0)
    assert len(tracker.tracks) == 0


def test_an_area_that_shrinks_stays_positive():
    tracker = Sort(max_age=100)
    for k in range(6):
        tracker.update(np.array([[10.0 + 3 * k, 10.0 + 3 * k, 60.0 - 3 * k, 60.0 - 3 * k, 0.9]]))
    for _ in range(60):
        tracker.update(np.empty((0, 5)))
    box = tracker.tracks.boxes[0]
    assert np.isfinite(box).all()
    assert box[2] > box[0]
    assert box[3] > box[1]
