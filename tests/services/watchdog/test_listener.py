"""The event listener's side of supervisord's protocol, over real pipes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from services.watchdog.listener import DONE, READY, Listener, StateChange, parse_event

BODY = "processname:infer-0 groupname:infer-0 from_state:STARTING pid:42"


def event(name: str = "PROCESS_STATE_RUNNING", body: str = BODY) -> bytes:
    return f"ver:3.0 server:hall serial:1 pool:watchdog poolserial:1 eventname:{name} len:{len(body)}\n{body}".encode()


Pipes = tuple[Listener, int, int]


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """A listener, where its events are written, and where its answers are read."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    os.set_blocking(out_read, False)
    yield Listener(in_read, out_write), in_write, out_read
    for fd in (in_read, out_read, out_write):
        os.close(fd)


def test_says_ready_first_and_after_each_event(pipes: Pipes) -> None:
    listener, write, answers = pipes
    assert os.read(answers, 100) == READY
    os.write(write, event())
    assert listener.read() == [StateChange("infer-0", "RUNNING", "STARTING", 42)]
    assert os.read(answers, 100) == DONE + READY
    os.close(write)
    assert listener.read() is None


def test_an_event_in_pieces_is_answered_once_when_it_is_whole(pipes: Pipes) -> None:
    listener, write, answers = pipes
    os.read(answers, 100)
    data = event()
    for part in (data[:10], data[10:-5]):
        os.write(write, part)
        assert listener.read() == []
    with pytest.raises(BlockingIOError):
        os.read(answers, 100)
    os.write(write, data[-5:])
    assert listener.read() == [StateChange("infer-0", "RUNNING", "STARTING", 42)]
    os.close(write)


def test_several_events_at_once_keep_their_order(pipes: Pipes) -> None:
    listener, write, answers = pipes
    os.read(answers, 100)
    os.write(write, event("PROCESS_STATE_EXITED") + event("TICK_5", "when:1") + event("PROCESS_STATE_STARTING"))
    assert [change.state for change in listener.read() or []] == ["EXITED", "STARTING"]
    assert os.read(answers, 1000) == (DONE + READY) * 3
    os.close(write)


def test_reading_without_an_event_does_not_wait(pipes: Pipes) -> None:
    listener, write, _ = pipes
    assert listener.read() == []
    os.close(write)


def test_other_events_are_no_change() -> None:
    assert parse_event("ver:3.0 eventname:TICK_5 len:6", "when:1") is None


def test_a_stop_carries_no_pid_and_is_read() -> None:
    change = parse_event("eventname:PROCESS_STATE_FATAL len:1", "processname:track groupname:track from_state:BACKOFF")
    assert change == StateChange("track", "FATAL", "BACKOFF", 0)
