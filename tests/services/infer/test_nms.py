from __future__ import annotations

import numpy as np

from services.infer.nms import MAX_CANDIDATES, suppress

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], np.float32)


def test_weaker_of_two_overlapping_boxes_goes():
    assert suppress(BOXES, np.array([0.7, 0.9, 0.8], np.float32), 0.4).tolist() == [1, 2]


def test_overlap_below_the_limit_stays():
    assert sorted(suppress(BOXES, np.array([0.7, 0.9, 0.8], np.float32), 0.95).tolist()) == [0, 1, 2]


def test_boxes_that_are_no_boxes_are_dropped():
    bad = np.array([[0, 0, np.inf, 10], [np.nan, 0, 1, 1], [5, 5, 5, 9], [9, 9, 3, 3], [0, 0, 4, 4]], np.float32)
    assert suppress(bad, np.full(5, 0.9, np.float32), 0.4).tolist() == [4]


def test_flood_of_candidates_is_bounded_to_the_best():
    count = 5 * MAX_CANDIDATES
    low = np.arange(count, dtype=np.float32)[:, None] * 20
    boxes = np.concatenate((low, low, low + 10, low + 10), axis=1)
    scores = np.linspace(0.1, 0.9, count).astype(np.float32)
    kept = suppress(boxes, scores, 0.4)
    assert len(kept) == MAX_CANDIDATES
    assert scores[kept].min() >= np.sort(scores)[-MAX_CANDIDATES]


def test_nothing_in_nothing_out():
    assert len(suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.4)) == 0
