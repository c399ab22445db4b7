"""Thinning a stream to a rate."""

from __future__ import annotations

import itertools
import random

import pytest

from common.drawing.pace import Pace


def shown_times(source_fps: float, fps: float, jitter_s: float = 0.0) -> list[float]:
    pace, chance, shown = Pace(fps), random.Random(1), []
    for number in range(int(10 * source_fps)):
        now = 100 + number / source_fps + chance.uniform(0, jitter_s)
        pace.arrived(now)
        if pace.is_due(now):
            pace.shown(now)
            shown.append(now)
    return shown


@pytest.mark.parametrize(("source_fps", "fps"), [(30, 15), (20, 15), (25, 15), (60, 15), (30, 10), (15, 15), (5, 15)])
def test_rate_is_the_smaller_of_both(source_fps: float, fps: float) -> None:
    times = shown_times(source_fps, fps, 0.004)
    assert len(times) / 10 == pytest.approx(min(source_fps, fps), rel=0.06)


def test_every_second_picture_of_30_is_shown_at_15() -> None:
    times = shown_times(30, 15, 0.003)[5:]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < 0.075
    assert min(gaps) > 0.06


def test_picture_that_was_passed_over_is_shown_when_no_other_follows() -> None:
    pace = Pace(10)
    for now in (1.0, 1.03):
        pace.arrived(now)
        if pace.is_due(now):
            pace.shown(now)
    assert not pace.is_due(1.05)
    assert pace.is_due(1.3)
