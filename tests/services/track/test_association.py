"""The sparse matching is as heavy as the heaviest one."""

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.track.association import match
from services.track.boxes import from_cxcysr, from_cxcywh, overlaps, to_cxcysr, to_cxcywh

weights = st.lists(
    st.lists(st.one_of(st.just(0.0), st.floats(0.01, 1.0)), min_size=4, max_size=4), min_size=1, max_size=5
)


def heaviest(dense):
    n, m = dense.shape
    if n > m:
        return heaviest(dense.T)
    return max(dense[range(n), list(p)].sum() for p in permutations(range(m), n))


@given(weights)
@settings(max_examples=200)
def test_no_matching_is_heavier(rows):
    dense = np.array(rows)
    i, j = dense.nonzero()
    r, c, w = match(i, j, dense[i, j], dense.shape)
    assert len(set(r.tolist())) == len(r)
    assert len(set(c.tolist())) == len(c)
    np.testing.assert_array_equal(dense[r, c], w)
    assert abs(w.sum() - heaviest(dense)) < 1e-9


@given(st.lists(st.tuples(*[st.floats(0, 500)] * 2, *[st.floats(1, 200)] * 2), min_size=1, max_size=8))
@settings(max_examples=100)
def test_overlaps_finds_every_pair_with_its_iou(rows):
    boxes = np.array(rows).T
    boxes[2:] += boxes[:2]
    area = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    found = np.zeros((len(rows), len(rows)))
    i, j, iou = overlaps(boxes, area, boxes, area)
    found[i, j] = iou
    for a in range(len(rows)):
        for b in range(len(rows)):
            w, h = np.minimum(boxes[2:, a], boxes[2:, b]) - np.maximum(boxes[:2, a], boxes[:2, b])
            inter = max(w, 0) * max(h, 0)
            assert abs(found[a, b] - inter / (area[a] + area[b] - inter)) < 1e-9


def test_layouts_are_turned_back():
    boxes = np.array([[10.0, 20, 50, 90], [-5.0, 0, 1, 300]]).T.copy()
    np.testing.assert_allclose(from_cxcysr(to_cxcysr(boxes)), boxes, atol=1e-9)
    np.testing.assert_allclose(from_cxcywh(to_cxcywh(boxes)), boxes, atol=1e-9)
