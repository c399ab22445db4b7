"""What must hold for every tracker, whatever it is fed."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.track.compiled import CompiledSort
from services.track.face import FaceTracker
from services.track.sort import Sort

TRACKERS = [Sort, lambda: Sort(max_age=30), lambda: CompiledSort(max_age=30), FaceTracker]
TRACKER = pytest.mark.parametrize("make", TRACKERS, ids=["sort", "sort-30", "compiled-30", "face"])

coordinate = st.floats(-200, 2000)
number = st.one_of(coordinate, st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300]))
score = st.floats(0, 1)
box = st.tuples(coordinate, coordinate, st.floats(1, 300), st.floats(1, 300), score).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3], b[4])
)


def stream(row):
    return st.lists(st.lists(row, max_size=6), min_size=1, max_size=12)


def array(rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def moving_faces(seed, faces=5, frames=40, missed=0.1):
    """Faces that move steadily, each of another size; the same stream for the same seed."""
    random = np.random.default_rng(seed)
    centre, speed = random.uniform(100, 900, (faces, 2)), random.uniform(-4, 4, (faces, 2))
    half = random.uniform(20, 50, (faces, 1)) * [1.0, 1.25]
    for _ in range(frames):
        centre = centre + speed
        boxes = np.hstack([centre - half, centre + half]) + random.normal(0, 1, (faces, 4))
        rows = np.column_stack([boxes, random.uniform(0.7, 0.99, faces)])
        yield rows[random.random(faces) >= missed]


@TRACKER
@given(data=stream(st.tuples(number, number, number, number, number)))
@settings(max_examples=60)
def test_rubbish_is_counted_and_never_crashes(make, data):
    tracker, rubbish = make(), 0
    for rows in data:
        frame = array(rows)
        out = tracker.update(frame)
        with np.errstate(invalid="ignore", over="ignore"):
            good = (np.abs(frame) < 1e7).all(axis=1) & ((frame[:, 2:4] - frame[:, :2]) > 1e-3).all(axis=1)
        rubbish += int((~good).sum())
        assert tracker.ignored == rubbish
        assert np.isfinite(out).all()
        index = tracker.tracks.detection_index
        assert good[index[index >= 0]].all()


@TRACKER
@given(data=stream(box), steps=st.lists(st.sampled_from([0.5, 1.0, 2.5, 40.0]), min_size=12, max_size=12))
@settings(max_examples=60)
def test_ids_are_unique_and_never_reused(make, data, steps):
    tracker, alive, ever = make(), set(), set()
    for rows, dt in zip(data, steps, strict=False):
        out = tracker.update(array(rows), dt)
        ids = set(tracker.tracks.ids.tolist())
        assert len(ids) == len(tracker.tracks)
        assert len(set(out[:, 4])) == len(out)
        assert set(out[:, 4].astype(int)) <= ids
        assert not (ids - alive) & ever
        alive, ever = ids, ever | ids


@TRACKER
@given(data=stream(box))
@settings(max_examples=60)
def test_one_detection_belongs_to_one_track(make, data):
    tracker = make()
    for rows in data:
        tracker.update(array(rows))
        index = tracker.tracks.detection_index
        index = index[index >= 0]
        assert len(set(index.tolist())) == len(index)
        assert (index < len(rows)).all()


@TRACKER
@pytest.mark.parametrize("seed", range(4))
def test_order_of_detections_changes_nothing(make, seed):
    shuffle, one, other = np.random.default_rng(99), make(), make()
    for frame in moving_faces(seed, faces=8):
        np.testing.assert_allclose(one.update(frame), other.update(shuffle.permutation(frame)), atol=1e-9)


@TRACKER
def test_update_gives_the_shown_rows_of_the_snapshot(make):
    tracker = make()
    for frame in moving_faces(1):
        out, tracks = tracker.update(frame), tracker.tracks
        np.testing.assert_array_equal(out[:, :4], tracks.boxes[tracks.shown])
        np.testing.assert_array_equal(out[:, 4], tracks.ids[tracks.shown])
        matched = tracks.detection_index >= 0
        np.testing.assert_array_equal(matched, tracks.time_since_update == 0)
        np.testing.assert_array_equal(tracks.scores[matched], frame[tracks.detection_index[matched], 4])


@TRACKER
def test_index_counts_the_rows_that_were_given(make):
    tracker = make()
    rubbish = [np.nan] * 4
    boxes = np.array([rubbish, [10.0, 10, 50, 60], rubbish, [200.0, 10, 250, 60]])
    for _ in range(3):
        tracks = tracker.step(boxes, np.full(4, 0.9))
    assert tracks.detection_index.tolist() == [1, 3]
    assert tracker.ignored == 6


@TRACKER
def test_predict_moves_boxes_and_changes_nothing(make):
    tracker = make()
    for k in range(12):
        tracker.update(np.array([[10.0 + 5 * k, 20.0, 60.0 + 5 * k, 90.0, 0.9]]))
    before = json.dumps(tracker.state())
    ahead = tracker.predict(4.0)
    assert json.dumps(tracker.state()) == before
    np.testing.assert_allclose(ahead.boxes - tracker.tracks.boxes, [[20, 0, 20, 0]], atol=1.0)
    np.testing.assert_allclose(ahead.velocities, [[5, 0, 5, 0]], atol=0.3)
    assert ahead.detection_index.tolist() == [-1]
    assert ahead.ids.tolist() == tracker.tracks.ids.tolist()


@TRACKER
def test_skipped_frames_count_as_time(make):
    tracker = make()
    for k in range(0, 30, 3):
        tracks = tracker.step(np.array([[10.0 + 4 * k, 20.0, 60.0 + 4 * k, 90.0]]), np.array([0.9]), dt=3.0)
    np.testing.assert_allclose(tracks.velocities, [[4, 0, 4, 0]], atol=0.3)
    assert tracks.ages_frames.tolist() == [27.0]


@TRACKER
@pytest.mark.parametrize("stop", [0, 1, 25])
def test_a_restored_tracker_goes_on_the_same(make, stop):
    whole, first, second = make(), make(), make()
    for k, frame in enumerate(moving_faces(2)):
        if k == stop:
            second.restore(json.loads(json.dumps(first.state())))
        out = whole.update(frame)
        np.testing.assert_array_equal(out, (first if k < stop else second).update(frame))


def test_a_checkpoint_of_the_other_mode_is_refused():
    with pytest.raises(ValueError, match="rows"):
        FaceTracker().restore(Sort().state())


@TRACKER
def test_nothing_at_all_is_fine(make):
    tracker = make()
    for _ in range(3):
        assert tracker.update(np.empty((0, 5))).shape == (0, 5)
    assert len(tracker.tracks) == 0
    assert len(tracker.predict(1.0)) == 0
    assert tracker.ignored == 0


@pytest.mark.parametrize(("seed", "faces", "dt"), [(5, 150, 1.0), (6, 40, 0.5), (7, 40, 2.5), (8, 8, 1.0)])
def test_the_compiled_tracker_gives_what_the_other_gives(seed, faces, dt):
    one, other = Sort(max_age=30), CompiledSort(max_age=30)
    for frame in moving_faces(seed, faces=faces, frames=30):
        expected, got = one.update(frame, dt), other.update(frame, dt)
        np.testing.assert_array_equal(got[:, 4], expected[:, 4])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
