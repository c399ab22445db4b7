"""The bus, over real sockets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from common.bus import Bus, Receiver, Sender
from common.errors import ConfigError, DeviceError
from common.stats import Stats
from common.wire import Command, EventNotice, FrameHandle


def until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "deadline passed"


def meet(bus: Bus, sender: Sender, receiver: Receiver, message: FrameHandle) -> None:
    """Send until the subscription has arrived."""

    def heard() -> bool:
        sender.send(message)
        return bool(bus.wait(20, receiver))

    until(heard)


def handle(camera: str, seq: int) -> FrameHandle:
    return FrameHandle(camera, 1, 0, 1, seq, seq, 0, 0)


def test_one_subscriber_hears_all_cameras_in_order(node_dir: Path) -> None:
    with Bus(node_dir) as bus:
        door, yard = bus.publisher("frames", "door"), bus.publisher("frames", "yard")
        receiver = bus.subscriber("frames", ["door", "yard"])
        meet(bus, door, receiver, handle("door", 0))
        meet(bus, yard, receiver, handle("yard", 0))
        receiver.drain()
        for seq in range(1, 200):
            door.send(handle("door", seq))
            yard.send(handle("yard", seq))
        heard: list[FrameHandle] = []

        def complete() -> bool:
            bus.wait(20, receiver)
            heard.extend(message for message in receiver.drain() if message.seq)
            return len(heard) == 398

        until(complete)
        for camera in ("door", "yard"):
            assert [message.seq for message in heard if message.camera == camera] == list(range(1, 200))


def test_drain_never_waits_and_wait_tells_who_is_ready(node_dir: Path) -> None:
    with Bus(node_dir) as bus:
        first, second = bus.puller("commands"), bus.subscriber("events")
        read_end, write_end = os.pipe()
        assert first.drain() == []
        assert bus.wait(0, first, second, fds=[read_end]) == []
        os.write(write_end, b"x")
        assert bus.wait(1000, first, second, fds=[read_end]) == [read_end]
        bus.pusher("commands").send(Command("door", "privacy", "ON"))
        until(lambda: first in bus.wait(100, first, second))
        assert first.drain() == [Command("door", "privacy", "ON")]


def test_what_drain_left_is_ready_at_once(node_dir: Path) -> None:
    with Bus(node_dir) as bus:
        receiver, other = bus.puller("commands"), bus.subscriber("events")
        sender = bus.pusher("commands")
        for payload in "abc":
            sender.send(Command("door", "privacy", payload))
        until(lambda: bus.wait(100, receiver, other) == [receiver])
        heard: list[str] = []
        while len(heard) < 3:
            found = receiver.drain(until=lambda _: True)
            heard += [message.payload for message in found]
            assert len(found) == 1
            if len(heard) < 3:
                assert bus.wait(5000, receiver, other) == [receiver]
        assert heard == ["a", "b", "c"]
        assert bus.wait(0, receiver, other) == []
        assert receiver.drain() == []


def test_every_message_wakes_a_waiter_that_has_drained(node_dir: Path) -> None:
    """Nothing may be lost between the socket's word that it is empty and the wait for its descriptor."""
    with Bus(node_dir) as bus:
        receiver, other = bus.puller("commands"), bus.subscriber("events")
        sender = bus.pusher("commands")
        until(lambda: sender.send(Command("door", "privacy", "")) and bool(bus.wait(100, receiver)))
        receiver.drain()
        for number in range(2000):
            if number % 3 == 0:
                assert receiver.drain() == []
            sender.send(Command("door", "privacy", str(number)))
            assert bus.wait(5000, receiver, other) == [receiver], number
            assert [message.payload for message in receiver.drain()] == [str(number)]


def test_an_empty_message_is_counted_as_foreign(node_dir: Path) -> None:
    stats = Stats()
    with Bus(node_dir, stats) as bus:
        receiver, sender = bus.puller("commands"), bus.pusher("commands")
        sender.socket.send(b"")
        sender.send(Command("door", "privacy", "ON"))
        heard: list[Command] = []

        def hear() -> bool:
            bus.wait(100, receiver)
            heard.extend(receiver.drain())
            return bool(heard)

        until(hear)
        assert heard == [Command("door", "privacy", "ON")]
        assert stats.report()["drops"] == {"wire_commands": 1}


def test_pushed_messages_wait_for_a_receiver_that_comes_later(node_dir: Path) -> None:
    with Bus(node_dir) as bus:
        sender = bus.pusher("commands")
        for number in range(50):
            assert sender.send(Command("door", "detect_fps", str(number)))
        receiver = bus.puller("commands")
        heard: list[Command] = []

        def complete() -> bool:
            bus.wait(20, receiver)
            heard.extend(receiver.drain())
            return len(heard) == 50

        until(complete)
        assert [command.payload for command in heard] == [str(number) for number in range(50)]


def test_full_queue_is_counted_and_never_blocks(node_dir: Path) -> None:
    stats = Stats()
    with Bus(node_dir, stats) as bus:
        sender = bus.pusher("commands")
        sent = sum(sender.send(Command("door", "x", "y")) for _ in range(3000))
        assert stats.report()["drops"]["unsent_commands"] == 3000 - sent > 0


def test_foreign_bytes_are_counted_and_dropped(node_dir: Path) -> None:
    stats = Stats()
    with Bus(node_dir, stats) as bus:
        receiver = bus.puller("commands")
        stranger = zmq.Context.instance().socket(zmq.PUSH)
        stranger.connect(f"ipc://{node_dir}/bus/commands.ipc")
        stranger.send(b"\xc1 not a message")
        stranger.send(EventNotice(1, 2).pack())
        stranger.send(Command("door", "privacy", "OFF").pack())
        heard: list[Command] = []

        def complete() -> bool:
            bus.wait(20, receiver)
            heard.extend(receiver.drain())
            return bool(heard)

        until(complete)
        assert heard == [Command("door", "privacy", "OFF")]
        assert stats.report()["drops"] == {"wire_commands": 2}
        stranger.close(0)


def test_second_live_bind_is_refused_by_name_and_free_after_close(node_dir: Path) -> None:
    with Bus(node_dir) as one, Bus(node_dir) as two:
        first = one.publisher("frames", "door")
        with pytest.raises(DeviceError, match=f"frames.door.ipc is served already by process {os.getpid()}"):
            two.publisher("frames", "door")
        two.publisher("frames", "yard")
        first.close()
        two.publisher("frames", "door")


def test_subscriber_hears_a_restarted_publisher(node_dir: Path) -> None:
    with Bus(node_dir) as hearing:
        receiver = hearing.subscriber("frames", ["door"])
        for start in range(3):
            with Bus(node_dir) as sending:
                meet(hearing, sending.publisher("frames", "door"), receiver, handle("door", start))
                assert {message.seq for message in receiver.drain()} == {start}


def test_endpoints_are_private(node_dir: Path) -> None:
    with Bus(node_dir / "run") as bus:
        bus.publisher("tracks")
        assert (node_dir / "run" / "bus").stat().st_mode & 0o077 == 0


def test_too_long_runtime_dir_is_a_configuration_error(node_dir: Path) -> None:
    with Bus(node_dir / ("x" * 100)) as bus, pytest.raises(ConfigError, match="too long"):
        bus.publisher("tracks")
