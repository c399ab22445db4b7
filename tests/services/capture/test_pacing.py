"""When frames are due."""

from __future__ import annotations

import itertools

import pytest

from common.stats import Stats
from services.capture import pacing
from services.capture.pacing import Pacer

MS = 1_000_000


class Clock:
    """A clock that moves only when it is told to, or slept on."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing, "time", made)
    return made


def play(clock: Clock, pacer: Pacer, frames: int, cost_ms: float, period_ms: int = 10) -> list[int]:
    """Times in ms at which frames are given when each costs `cost_ms` to decode."""
    given = []
    for number in range(frames):
        clock.sleep(cost_ms / 1e3)
        while (due := pacer.due(number * period_ms * MS, period_ms * MS)) > 0:
            pass
        if due == 0:
            given.append((clock.now_ns - 10**12) // MS)
    return given


def test_frames_come_at_their_time(clock: Clock) -> None:
    given = play(clock, Pacer(Stats(), paced=True), 10, 2)
    assert [later - first for first, later in itertools.pairwise(given)] == [10] * 9


def test_after_a_stall_late_frames_are_skipped_not_sent_in_a_burst(clock: Clock) -> None:
    stats = Stats()
    pacer = Pacer(stats, paced=True)
    play(clock, pacer, 2, 1)
    clock.sleep(0.2)
    given = []
    for number in range(2, 60):
        clock.sleep(0.001)
        while (due := pacer.due(number * 10 * MS, 10 * MS)) > 0:
            pass
        if due == 0:
            given.append(clock.now_ns)
    gaps = [(later - first) // MS for first, later in itertools.pairwise(given)]
    assert stats.report()["drops"]["late"] >= 18
    assert min(gaps[1:]) >= 9


def test_a_decoder_slower_than_the_clip_gives_what_it_can(clock: Clock) -> None:
    given = play(clock, Pacer(Stats(), paced=True), 100, 25)
    assert len(given) >= 45


def test_unpaced_gives_every_frame_at_once(clock: Clock) -> None:
    assert len(play(clock, Pacer(Stats(), paced=False), 100, 1, 10_000)) == 100
