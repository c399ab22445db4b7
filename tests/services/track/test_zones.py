"""Zones and masks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import CameraSettings
from services.track.zones import Zones, inside

SQUARE = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
HORSESHOE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.7, 0.9), (0.7, 0.3), (0.3, 0.3), (0.3, 0.9), (0.1, 0.9)]
ALL = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
unit = st.floats(0, 1)


@pytest.mark.parametrize(
    ("polygon", "point", "expected"),
    [
        (SQUARE, (0.5, 0.5), True),
        (SQUARE, (0.2, 0.5), False),
        (SQUARE, (0.5, 0.8), False),
        (list(reversed(SQUARE)), (0.5, 0.5), True),
        (HORSESHOE, (0.2, 0.8), True),
        (HORSESHOE, (0.5, 0.8), False),
        (HORSESHOE, (0.5, 0.2), True),
        ([], (0.5, 0.5), False),
        (SQUARE[:2], (0.5, 0.25), False),
    ],
)
def test_a_point_is_inside_by_its_edges(
    polygon: list[tuple[float, float]], point: tuple[float, float], expected: bool
) -> None:
    assert inside(polygon, *point) is expected


@given(st.tuples(unit, unit, unit, unit))
def test_the_whole_frame_holds_every_box(box: tuple[float, float, float, float]) -> None:
    assert Zones(CameraSettings(source="x", zones={"all": ALL})).at(box) == ("all",)


@given(st.lists(st.tuples(unit, unit), max_size=8), unit, unit)
def test_a_point_is_in_one_of_two_halves_of_the_plane(polygon: list[tuple[float, float]], x: float, y: float) -> None:
    assert inside(polygon, x, y) == inside(list(reversed(polygon)), x, y)


def test_the_bottom_centre_decides_or_the_centre_when_asked_for() -> None:
    zones = Zones(CameraSettings(source="x", zones={"b": SQUARE, "a": ALL}, masks=[SQUARE]))
    assert zones.at((0.4, 0.5, 0.2, 0.2)) == ("a", "b")
    assert zones.at((0.4, 0.6, 0.2, 0.2)) == ("a",)
    assert zones.masked((0.4, 0.5, 0.2, 0.2))
    assert not zones.masked((0.4, 0.6, 0.2, 0.2))
    centre = Zones(CameraSettings(source="x", zones={"b": SQUARE}, masks=[SQUARE]), "centre")
    assert centre.at((0.4, 0.6, 0.2, 0.2)) == ("b",)
    assert centre.at((0.4, 0.7, 0.2, 0.2)) == ()
    assert centre.masked((0.4, 0.6, 0.2, 0.2))
