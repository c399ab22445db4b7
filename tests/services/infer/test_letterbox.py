from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.infer.letterbox import fit, model_size

sides = st.integers(16, 4096)
model_sides = st.integers(2, 40).map(lambda n: 32 * n)


@pytest.mark.parametrize(
    ("source", "longer", "expected"),
    [
        ((1280, 720), 320, (320, 192)),
        ((1280, 720), 640, (640, 384)),
        ((640, 480), 320, (320, 256)),
        ((640, 360), 640, (640, 384)),
        ((720, 1280), 640, (384, 640)),
        ((640, 640), 100, (128, 128)),
        ((4096, 16), 320, (320, 32)),
    ],
)
def test_input_size_follows_the_cameras_aspect(source, longer, expected):
    assert model_size(source, longer, 32) == expected


@given(st.tuples(sides, sides), st.tuples(model_sides, model_sides))
def test_picture_lies_inside_the_input_with_even_sides(source, model):
    box = fit(source, model)
    assert box.inner[0] % 2 == box.inner[1] % 2 == 0
    assert 0 <= box.left <= box.left + box.inner[0] <= model[0]
    assert 0 <= box.top <= box.top + box.inner[1] <= model[1]
    assert min(model[0] - box.inner[0], model[1] - box.inner[1]) <= 1


@given(
    st.tuples(sides, sides),
    st.tuples(model_sides, model_sides),
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=20),
)
def test_way_back_undoes_the_way_in(source, model, fractions):
    box = fit(source, model)
    points = np.array(fractions, np.float32) * np.array([*source, *source], np.float32)
    back = box.to_source(box.to_model(points))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, points, atol=max(source) / min(box.inner) * max(model) * 1e-6 + 1e-4)


@given(st.tuples(sides, sides), st.tuples(model_sides, model_sides))
def test_corners_of_the_source_are_corners_of_the_inner_picture(source, model):
    box = fit(source, model)
    corners = box.to_model(np.array([[0, 0, *source]], np.float32))[0]
    expected = [box.left, box.top, box.left + box.inner[0], box.top + box.inner[1]]
    np.testing.assert_allclose(corners, expected, atol=1e-2)
