"""What the face mode promises beyond SORT, one test for each of its settings."""

from pathlib import Path

import numpy as np
import pytest

from services.track.face import FaceTracker
from services.track.tracks import CONFIRMED, LOST, TENTATIVE

NOTHING = np.empty((0, 5))
MOT15 = Path(__file__).parents[4] / "shared" / "data" / "mot15"


def face(x, y=100.0, side=50.0, score=0.9):
    return [x, y, x + side, y + 1.2 * side, score]


def feed(tracker, *rows, times=1):
    out = np.empty((0, 5))
    for _ in range(times):
        out = tracker.update(np.array(rows, dtype=np.float64).reshape(-1, 5))
    return out[:, 4].astype(int).tolist()


def test_a_face_that_is_found_again_is_shown_at_once():
    tracker = FaceTracker(coast=0)
    feed(tracker, face(100), times=10)
    assert feed(tracker, times=20) == []
    assert feed(tracker, face(102)) == [1]


def test_a_short_miss_is_bridged_by_the_predicted_box():
    tracker = FaceTracker(coast=2)
    for k in range(20):
        feed(tracker, face(100 + 6 * k))
    out = tracker.update(NOTHING)
    np.testing.assert_allclose(out[0, :4], face(100 + 6 * 20)[:4], atol=3)
    assert tracker.tracks.detection_index.tolist() == [-1]
    assert tracker.tracks.states.tolist() == [CONFIRMED]
    assert feed(tracker) == [1]
    assert feed(tracker) == []
    assert tracker.tracks.states.tolist() == [LOST]


@pytest.mark.parametrize(("size", "wanted"), [(None, 1), ((1280, 720), 1), ((260, 720), 0)])
def test_a_prediction_that_goes_out_of_the_picture_is_not_shown(size, wanted):
    tracker = FaceTracker()
    tracker.size = size
    for k in range(20):
        feed(tracker, face(100 + 6 * k))
    assert len(feed(tracker)) == wanted
    assert feed(tracker, face(100 + 6 * 21)) == [1]


def test_without_coasting_a_missed_face_is_not_shown():
    tracker = FaceTracker(coast=0)
    feed(tracker, face(100), times=5)
    assert feed(tracker) == []


def test_one_miss_is_bridged_when_frames_are_skipped():
    tracker = FaceTracker()
    for _ in range(5):
        tracker.update(np.array([face(100)]), dt=6.0)
    assert len(tracker.update(NOTHING, dt=6.0)) == 1


def test_low_scores_go_on_with_a_track_but_start_none():
    tracker = FaceTracker()
    assert feed(tracker, face(400, score=0.4), times=5) == []
    assert len(tracker.tracks) == 0
    feed(tracker, face(100), times=5)
    assert feed(tracker, face(100, score=0.4), times=10) == [1]
    assert tracker.tracks.detection_index.tolist() == [0]


def test_low_scores_are_left_out_when_turned_off():
    tracker = FaceTracker(low_score=0.7, coast=0)
    feed(tracker, face(100), times=5)
    assert feed(tracker, face(100, score=0.4)) == []


def test_a_face_of_doubtful_score_is_never_confirmed():
    doubtful = [face(100, score=0.72), *(face(100, score=0.55) for _ in range(20))]
    strict, lenient = FaceTracker(), FaceTracker(confirm_score=0.0)
    assert [feed(strict, row) for row in doubtful][-1] == []
    assert strict.tracks.states.tolist() == [TENTATIVE]
    assert [feed(lenient, row) for row in doubtful][-1] == [1]


def test_a_sure_face_is_confirmed_one_detection_earlier():
    for sure_score, wanted in ((0.8, [0, 1, 1]), (2.0, [0, 0, 1])):
        tracker = FaceTracker(sure_score=sure_score)
        feed(tracker, times=5)
        assert [len(feed(tracker, face(100))) for _ in range(3)] == wanted


def test_a_sure_face_is_shown_at_once_in_the_first_frames():
    assert feed(FaceTracker(), face(100)) == [1]


def test_a_small_fast_face_keeps_its_id_without_any_overlap():
    def run(tracker):
        return {i for k in range(20) for i in feed(tracker, face(100 + 32 * k, side=20))}

    assert run(FaceTracker()) == {1}
    assert run(FaceTracker(reach=0)) != {1}


def test_a_face_that_returns_to_its_place_keeps_its_id():
    tracker = FaceTracker()
    for k in range(10):
        feed(tracker, face(100 + 4 * k))
    feed(tracker, times=40)
    assert feed(tracker, face(140)) == [1]


def test_a_face_beyond_memory_is_a_new_one():
    tracker = FaceTracker(max_age=10, memory=0)
    feed(tracker, face(100), times=10)
    feed(tracker, times=12)
    assert len(tracker.tracks) == 0
    feed(tracker, face(100), times=3)
    assert tracker.tracks.ids.tolist() == [2]


def jolted(tracker):
    places = [face(100), face(190, 130), face(280, 90), face(370, 160)]
    ids = [feed(tracker, *places, times=10)]
    ids.append(feed(tracker, *([r[0] + 90, r[1], r[2] + 90, r[3], r[4]] for r in places)))
    return ids


def test_a_jolt_of_the_camera_swaps_no_ids():
    before, after = jolted(FaceTracker())
    assert before == after
    tracker = FaceTracker(camera=False)
    jolted(tracker)
    tracks = tracker.tracks
    assert tracks.detection_index[:4].tolist() != [0, 1, 2, 3]


def test_a_turn_is_learned_at_once():
    def error(tracker):
        for k in range(30):
            feed(tracker, face(100 + 10 * k, side=60))
        for k in range(2):
            feed(tracker, face(390, 110 + 10 * k, side=60))
        return abs(tracker.predict(1.0).boxes[0, 0] - 390)

    assert error(FaceTracker()) < error(FaceTracker(manoeuvre=False))


def test_the_picture_moves_at_most_once_for_one_walker():
    tracker = FaceTracker()
    for k in range(10):
        feed(tracker, face(100), face(300), face(500), face(700 + 12 * k))
    np.testing.assert_allclose(tracker.tracks.boxes[:3, 0], [100, 300, 500], atol=0.5)


@pytest.mark.shared
@pytest.mark.skipif(not MOT15.is_dir(), reason="needs the MOT15 detections")
@pytest.mark.parametrize("sequence", ["PETS09-S2L1", "Venice-2", "ADL-Rundle-6"])
def test_real_detections_give_finite_boxes_and_unique_ids(sequence):
    rows = np.loadtxt(MOT15 / sequence / "det.txt", delimiter=",")
    tracker = FaceTracker()
    for k in range(1, 200):
        frame = rows[rows[:, 0] == k, 2:7]
        frame[:, 2:4] += frame[:, :2]
        out = tracker.update(frame)
        assert np.isfinite(out).all()
        assert len(set(out[:, 4])) == len(out)


def test_a_face_that_went_out_at_the_border_comes_back_as_itself():
    """Its box shrinks while it leaves, and grows when it returns: the size must not be carried on while it is away."""
    tracker = FaceTracker()
    for k in range(20):
        feed(tracker, face(60 - 5 * k) if k < 12 else [0, 100, 52 - 3 * (k - 11), 160, 0.8])
    feed(tracker, times=15)
    assert feed(tracker, [0, 100, 30, 160, 0.8]) == [1]


def test_of_two_near_faces_the_one_of_like_size_is_taken():
    tracker = FaceTracker()
    feed(tracker, face(100, side=50), face(300, side=70), times=6)
    ids = feed(tracker, face(245, side=70), face(155, side=50))  # both moved to between their places
    assert ids == feed(tracker, face(300, side=70), face(100, side=50))
    boxes = tracker.tracks.boxes
    np.testing.assert_allclose(boxes[:2, 2] - boxes[:2, 0], [50, 70], atol=6)


def test_a_thing_of_doubtful_score_is_shown_only_where_it_is_sure():
    scores = [0.66, 0.67, 0.66, 0.66, 0.65, 0.5, 0.66, 0.45]
    for firm_score, wanted in ((0.7, [1, 1, 0, 1, 0]), (0.0, [1, 1, 1, 1, 1])):
        tracker = FaceTracker(start_score=0.6, low_score=0.3, firm_score=firm_score, confirm_score=0.6)
        shown = [len(feed(tracker, face(100, score=score))) for score in scores]
        assert shown[3:] == wanted


def panned(camera):
    """One face that stands still before a camera that pans by two of its widths a frame, and stops for a moment."""
    tracker, ids, x = FaceTracker(camera=camera), set(), 100.0
    for k in range(30):
        step = 100.0 if k % 10 else 0.0
        x += step if k < 15 else -step
        out = tracker.update(
            np.array([face(x)]), 1.0, np.array([[1.0, 0.0, step if k < 15 else -step], [0.0, 1.0, 0.0]])
        )
        ids |= set(out[:, 4].astype(int))
    return ids, tracker


def test_a_face_keeps_its_id_while_the_camera_pans():
    assert panned(camera=True)[0] == {1}
    assert panned(camera=False)[0] != {1}


def test_a_prediction_goes_on_with_the_camera():
    _, tracker = panned(camera=True)
    np.testing.assert_allclose(tracker.tracks.velocities[0], [-100, 0, -100, 0], atol=2)
    np.testing.assert_allclose(tracker.predict(0.5).boxes[0] - tracker.tracks.boxes[0], [-50, 0, -50, 0], atol=2)


def test_a_face_that_is_away_is_looked_for_where_the_camera_left_it():
    tracker = FaceTracker()
    feed(tracker, face(1000), times=10)
    for step in (40.0, -40.0):
        for _ in range(10):
            tracker.update(NOTHING, 1.0, np.array([[1.0, 0.0, step], [0.0, 1.0, 0.0]]))
    assert feed(tracker, face(1005)) == [1]
