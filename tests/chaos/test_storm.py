"""A short storm: kills, a stop and outages of the broker at random; the long form is `vedette bench chaos`."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tools.bench.patient import Patient, Wound, leftovers, patient
from tools.bench.waiting import until
from tools.bench.witness import broken_lives

pytestmark = pytest.mark.usefixtures("fetched")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kills", "seed"),
    [(8, 1), pytest.param(60, 2, marks=pytest.mark.slow), pytest.param(60, 3, marks=pytest.mark.slow)],
)
def test_whatever_is_killed_no_event_is_lost_and_nothing_is_left(kills: int, seed: int) -> None:
    dice = random.Random(seed)
    with patient() as one:
        for number in range(kills):
            one.hurt(dice.choice(one.names()), signal.SIGKILL)
            if number % 8 == 3:
                one.outage.kill()
                one.hurt("track", signal.SIGKILL)
                one.outage.back()
            if number % 8 == 6:
                one.hurt(dice.choice(one.names()), signal.SIGSTOP)
            time.sleep(dice.uniform(0.3, 1.0))  # storms have a pace
        until(lambda: all(one.recovery_s(wound) is not None for wound in one.wounds), what="all are back")
        one.calm()
        assert one.complaints() == []
        kept = {wound: one.kept_ids(wound) for wound in one.wounds if wound.name == "track" and wound.kind == "SIGKILL"}
        assert kills < 60 or any(of for _, of in kept.values()), "somebody was in view at some kill of track"
        lost = {wound: around(one, wound) for wound, (same, of) in kept.items() if same < of}
        assert sum(same for same, _ in kept.values()) >= 0.95 * sum(of for _, of in kept.values()), lost
    assert leftovers(one.settings) == []


def around(one: Patient, wound: Wound) -> list[str]:
    """What else was done in the seconds before and after, and how long each took to come back."""
    others = [other for other in one.wounds if -5 < other.at_s - wound.at_s < 5]
    return [f"{other.at_s - wound.at_s:+.2f} {other.kind} {other.name} {one.recovery_s(other)}" for other in others]


def test_broken_lives_are_told_apart() -> None:
    def rows(*steps: tuple[int, str]) -> list[dict[str, object]]:
        return [{"id": "a", "seq": seq, "type": kind} for seq, kind in steps]

    assert broken_lives(rows((1, "start"), (2, "update"), (2, "update"), (3, "end")), ended=True) == []
    assert broken_lives(rows((1, "start"), (3, "end")), ended=True)
    assert broken_lives(rows((1, "start"), (2, "update")), ended=True)
    assert broken_lives(rows((1, "start"), (2, "update")), ended=False) == []
    assert broken_lives(rows((1, "start"), (2, "end"), (3, "end")), ended=True)
    assert broken_lives(rows((1, "start"), (2, "start"), (3, "end")), ended=True)
    assert broken_lives(rows((1, "start"), (1, "end")), ended=False)
    assert broken_lives(rows((1, "update"), (2, "end")), ended=True)
