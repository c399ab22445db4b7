"""The time of a camera."""

from __future__ import annotations

import pytest

from common.wire import FrameHandle
from services.track.clock import CameraClock

SECOND = 1_000_000_000
START = 50 * SECOND


def frame(seq: int, captured_ns: int, media_ns: int = 0, epoch: int = 3) -> FrameHandle:
    return FrameHandle("door", epoch, 0, 1, seq, captured_ns, media_ns, captured_ns)


def running(clock: CameraClock, frames: int = 10, fps: float = 25.0) -> int:
    """Feed frames; each is heard 40 ms after it was captured. Returns when the last one was heard."""
    heard = 0
    for seq in range(1, frames + 1):
        captured = START + int(seq * SECOND / fps)
        heard = captured + 40_000_000
        clock.advance(frame(seq, captured), heard)
    return heard


def test_distance_is_counted_in_frames_of_the_announced_rate() -> None:
    clock = CameraClock(30, replay=False)
    clock.announce(50.0)
    assert clock.advance(frame(1, START), START).dt == 1.0
    assert clock.advance(frame(2, START + SECOND // 50), START).dt == pytest.approx(1.0)
    assert clock.advance(frame(9, START + SECOND // 5), START).dt == pytest.approx(9.0)
    assert clock.advance(frame(8, START), START).dt == 0.0


@pytest.mark.parametrize("announced", [0.0, 90_000.0, -1.0, float("nan")])
def test_without_a_sound_announcement_the_rate_is_measured_by_frames_not_by_results(announced: float) -> None:
    clock = CameraClock(30, replay=False)
    clock.announce(announced)
    for seq in range(0, 60, 4):  # every fourth frame is detected
        clock.advance(frame(seq, START + seq * SECOND // 20), START)
    assert clock.fps == pytest.approx(20, rel=0.01)
    assert clock.period_ns == pytest.approx(SECOND / 20, rel=0.01)


def test_a_replay_goes_by_its_time_stamps() -> None:
    clock = CameraClock(30, replay=True)
    clock.announce(30.0)
    clock.advance(frame(1, START, 0), START)
    step = clock.advance(frame(2, START + 9 * SECOND, SECOND // 10), START + 9 * SECOND)
    assert (step.dt, step.broken, step.at_ns) == (pytest.approx(3.0), False, START + SECOND // 10)


def test_silence_longer_than_a_face_lives_breaks_the_line() -> None:
    clock = CameraClock(25, replay=False)
    heard = running(clock)
    at = clock.at_ns
    assert clock.pass_silence(heard + SECOND - 1, patient=True) is None
    step = clock.pass_silence(heard + SECOND + 1, patient=True)
    assert step is not None
    assert (step.broken, step.dt) == (True, pytest.approx(25.0))
    assert clock.at_ns == at + SECOND + 1
    late = clock.advance(frame(12, at + SECOND // 5), heard + SECOND + 2)  # it was on its way all the time
    assert (late.dt, late.broken) == (0.0, False)
    assert clock.advance(frame(99, clock.at_ns + 2 * SECOND), heard + 4 * SECOND).broken


def test_slow_results_are_no_silence_while_the_camera_is_there() -> None:
    clock = CameraClock(5, replay=False)
    clock.announce(25.0)
    heard = 0
    for seq in range(0, 250, 25):  # one result a second, faces live 0.2 s
        heard = START + seq * SECOND // 25
        step = clock.advance(frame(seq, heard), heard)
    assert not step.broken
    assert clock.pass_silence(heard + 2 * SECOND, patient=True) is None
    assert clock.pass_silence(heard + 2 * SECOND, patient=False) is not None


def test_time_goes_on_from_what_was_heard_last() -> None:
    clock = CameraClock(25, replay=False)
    heard = running(clock)
    assert clock.now_ns(heard + 7) == clock.at_ns + 7
    assert clock.now_ns(heard - 7) == clock.at_ns


def test_state_goes_through_a_restart_and_the_gap_counts_when_a_frame_tells() -> None:
    clock = CameraClock(25, replay=False)
    heard = running(clock)
    again = CameraClock(25, replay=False)
    again.restore(clock.state(), heard + 60 * SECOND)
    assert again.fps == pytest.approx(clock.fps)
    assert again.now_ns(heard + 60 * SECOND) == clock.at_ns
    assert again.knows(frame(10, 0))
    assert not again.knows(frame(11, 0))
    assert not again.knows(frame(10, 0)._replace(epoch=4))
    soon, later = frame(11, clock.at_ns + SECOND // 25), frame(500, clock.at_ns + 60 * SECOND)
    assert not again.advance(soon, heard + 60 * SECOND).broken
    assert again.advance(later, heard + 60 * SECOND).broken
