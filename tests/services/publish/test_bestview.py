"""Which view is the best, and which part of the frame is taken."""

from __future__ import annotations

import numpy as np
import pytest

from services.publish.bestview import Region, frontality, region


def face(nose_x: float) -> np.ndarray:
    return np.array([40, 50, 80, 50, nose_x, 70, 45, 90, 75, 90], np.float32)


def test_a_profile_is_less_frontal_than_a_half_profile() -> None:
    straight, half, profile = (frontality(face(x)) for x in (60, 70, 85))
    assert straight == 1
    assert straight > half > profile > 0


def test_a_turned_head_is_as_frontal_as_an_upright_one() -> None:
    turn = np.array([[0, -1], [1, 0]], np.float32)
    turned = (face(60).reshape(5, 2) @ turn).reshape(-1)
    assert frontality(turned) == pytest.approx(1)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 100, 200, 200), Region(50, 50, 250, 250)),
        ((-50, -50, 60, 60), Region(0, 0, 114, 114)),
        ((600, 440, 700, 540), Region(550, 390, 640, 480)),
        ((700, 100, 800, 200), None),
        ((float("nan"), 0, 10, 10), None),
        ((100, 100, 101, 101), None),
    ],
)
def test_the_region_stays_in_the_frame_on_even_pixels(box, expected) -> None:
    assert region(np.array(box, np.float32), 640, 480, 0.5) == expected
