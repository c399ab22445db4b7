"""The capture process, seen from the bus and the ring."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import config
from common.bus import Bus, Receiver
from common.errors import FrameGone
from common.ring.reader import RingReader
from common.settings import Settings
from common.shm import segments
from common.stats import read_json, read_stats
from common.wire import CameraControl, CameraState, ControlState, FrameHandle, TrackFrame
from services.capture.pattern import draw_pattern, pattern_number

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30


@pytest.fixture
def launch() -> Iterator[Callable[[Settings], subprocess.Popen[bytes]]]:
    """Starts the capture process of the camera `door`."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(settings: Settings) -> subprocess.Popen[bytes]:
        name, path = config.write_resolved(settings)
        child = subprocess.Popen(
            [sys.executable, "-m", "services.capture", "door"],
            cwd=ROOT,
            env=config.child_environment(**{name: str(path)}),
            stderr=subprocess.PIPE,
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def bus(settings: Settings) -> Iterator[Bus]:
    """A bus in the node's runtime directory."""
    with Bus(settings.runtime_dir) as made:
        yield made


def messages(bus: Bus, receiver: Receiver) -> Iterator[Any]:
    """Everything that is heard, until the deadline."""
    end, last = time.monotonic() + DEADLINE_S, None
    while time.monotonic() < end:
        bus.wait(100, receiver)
        for last in receiver.drain():
            yield last
    pytest.fail(f"deadline passed; heard last: {last}")


def test_frames_come_in_order_with_the_pixels_of_their_number(settings: Settings, bus: Bus, launch: Any) -> None:
    frames = bus.subscriber("frames", ["door"])
    launch(settings)
    reader = RingReader(settings, "door")
    seen: list[FrameHandle] = []
    for handle in messages(bus, frames):
        try:
            with reader.lease(handle) as lease:
                number = pattern_number(lease.planes[0])
                expected = [np.empty_like(plane) for plane in lease.planes]
                draw_pattern(expected, number)
                assert all(np.array_equal(a, b) for a, b in zip(expected, lease.planes, strict=True))
        except FrameGone:
            continue
        assert number >= handle.seq - 1
        seen.append(handle)
        if len(seen) == 20:
            break
    assert all(a.seq < b.seq and a.captured_ns < b.captured_ns for a, b in pairwise(seen))


def test_killed_capture_is_followed_into_its_new_epoch(settings: Settings, bus: Bus, launch: Any) -> None:
    frames = bus.subscriber("frames", ["door"])
    reader = RingReader(settings, "door")
    epochs = set()
    for _ in range(2):
        child = launch(settings)
        for handle in messages(bus, frames):
            if handle.epoch not in epochs:
                with reader.lease(handle) as lease:
                    assert pattern_number(lease.planes[0]) >= 0
                epochs.add(handle.epoch)
                break
        child.kill()
        child.wait()
    assert len(epochs) == 2
    assert len(segments(settings.runtime_dir, "door")) == 1


def test_sigterm_leaves_no_segment(settings: Settings, bus: Bus, launch: Any) -> None:
    frames = bus.subscriber("frames", ["door"])
    child = launch(settings)
    next(messages(bus, frames))
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert segments(settings.runtime_dir) == []


def answer(handle: FrameHandle) -> TrackFrame:
    """Track's answer to a frame without faces."""
    none = np.empty(0)
    names = ("ids", "scores", "states", "shown", "detection_index", "hits", "ages_s")
    arrays: dict[str, Any] = dict.fromkeys(names, none)
    empty = np.empty((0, 4), np.float32)
    return TrackFrame(
        handle, 160, 120, 0, 0, 0, **arrays, boxes=empty, velocities=empty, event_ids=(), detections=empty,
        landmarks=np.empty((0, 10), np.float32),
    )  # fmt: skip


def states(bus: Bus, receiver: Receiver, wanted: str) -> CameraState:
    return next(state for state in messages(bus, receiver) if state.status == wanted)


def test_missing_clip_is_a_state_and_comes_back_when_it_appears(
    make_settings: Callable[..., Settings], node_dir: Path, launch: Any, clip: Path
) -> None:
    target = node_dir / "later.mp4"
    settings = make_settings(cameras={"door": {"source": f"file:{target}"}})
    with Bus(settings.runtime_dir) as bus:
        camera = bus.subscriber("camera", ["door"])
        child = launch(settings)
        state = states(bus, camera, "offline")
        while "later.mp4" not in state.reason:
            state = states(bus, camera, "offline")
        assert "No such file" in state.reason
        assert child.poll() is None
        target.write_bytes(clip.read_bytes())
        assert states(bus, camera, "online").width == 160


def test_end_of_a_clip_is_a_state(make_settings: Callable[..., Settings], launch: Any, clip: Path) -> None:
    settings = make_settings(cameras={"door": {"source": f"file:{clip}", "loop": False, "fps": 100}})
    with Bus(settings.runtime_dir) as bus:
        camera = bus.subscriber("camera", ["door"])
        child = launch(settings)
        assert "played to its end" in states(bus, camera, "ended").reason
        assert child.poll() is None


def test_switched_off_camera_sends_nothing_and_comes_back(settings: Settings, bus: Bus, launch: Any) -> None:
    camera, control = bus.subscriber("camera", ["door"]), bus.publisher("control")
    launch(settings)
    states(bus, camera, "online")

    def switch(enabled: bool, wanted: str) -> None:
        for state in messages(bus, camera):
            control.send(ControlState((CameraControl("door", enabled=enabled),), 0))
            if state.status == wanted:
                return

    switch(False, "disabled")
    assert segments(settings.runtime_dir, "door") == []
    switch(True, "online")


def test_replay_sends_every_frame_once_and_again_only_without_an_answer(
    make_settings: Callable[..., Settings], launch: Any, clip: Path
) -> None:
    settings = make_settings(cameras={"door": {"source": f"file:{clip}", "loop": False}}, replay=True)
    with Bus(settings.runtime_dir) as bus:
        frames, tracks = bus.subscriber("frames", ["door"]), bus.publisher("tracks")
        camera = bus.subscriber("camera", ["door"])
        launch(settings)
        seqs = []
        for handle in messages(bus, frames):
            if handle.seq == 3 and handle.offer == 0:
                continue  # as if a worker had died with it
            seqs.append((handle.seq, handle.offer))
            tracks.send(answer(handle))
            if handle.seq == 30:
                break
        distinct = list(dict.fromkeys(seq for seq, _ in seqs))
        assert distinct == list(range(1, 31))
        assert (3, 1) in seqs
        states(bus, camera, "ended")


@pytest.mark.parametrize(
    "source", ["patern:64x48@30", "pattern:big", "file:", "still:x.jpg?path=fly", "no.such.module:Class"]
)
def test_malformed_sources_end_with_2_and_say_what_is_allowed(
    make_settings: Callable[..., Settings], launch: Any, source: str
) -> None:
    child = launch(make_settings(cameras={"door": {"source": source}}))
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 2
    assert b"source" in errors


def test_a_damaged_clip_plays_what_can_be_read(
    make_settings: Callable[..., Settings], node_dir: Path, launch: Any, clip: Path
) -> None:
    data = bytearray(clip.read_bytes())
    for start in range(2000, len(data) - 4000, 900):
        data[start : start + 200] = bytes(200)
    broken = node_dir / "broken.mp4"
    broken.write_bytes(data)
    settings = make_settings(cameras={"door": {"source": f"file:{broken}", "fps": 60}})
    with Bus(settings.runtime_dir) as bus:
        frames = bus.subscriber("frames", ["door"])
        child = launch(settings)
        heard = messages(bus, frames)
        assert [next(heard) is not None for _ in range(40)]
        assert child.poll() is None


def test_a_password_in_an_address_is_never_told(make_settings: Callable[..., Settings], launch: Any) -> None:
    source = "rtsp://user:hunter2@127.0.0.1:9/live"
    settings = make_settings(cameras={"door": {"source": source}})
    with Bus(settings.runtime_dir) as bus:
        camera = bus.subscriber("camera", ["door"])
        child = launch(settings)
        state = states(bus, camera, "offline")
        while "127.0.0.1" not in state.reason:
            state = states(bus, camera, "offline")
        assert "hunter2" not in state.reason
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=30)
        assert b"hunter2" not in errors


def test_sigterm_is_obeyed_while_a_network_camera_is_silent(
    make_settings: Callable[..., Settings], launch: Any, node_dir: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/door"
        settings = make_settings(cameras={"door": {"source": address}})
        child = launch(settings)
        silent.settimeout(DEADLINE_S)
        connection, _ = silent.accept()
        with connection:
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0
            assert time.monotonic() - began < 4.5  # the connection itself would time out after 5 s


HUNG = """
import threading
from services.capture import opening
opening.LIMIT_S = 2.0  # a driver may take 20 s
class Camera:
    nominal_fps = 30.0
    def __init__(self, address, settings, stats, paced): pass
    def open(self): threading.Event().wait()
    def close(self): pass
"""


def test_a_driver_that_never_returns_from_opening_is_told_and_ended(
    make_settings: Callable[..., Settings], launch: Any, node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node_dir / "hungdriver").mkdir()
    (node_dir / "hungdriver" / "one.py").write_text(HUNG)
    monkeypatch.setenv("PYTHONPATH", str(node_dir))
    settings = make_settings(cameras={"door": {"source": "hungdriver.one:Camera"}})
    child = launch(settings)
    end = time.monotonic() + DEADLINE_S
    while "opening the camera for" not in read_stats(settings.runtime_dir).get("capture:door", {}).get("reason", ""):
        assert time.monotonic() < end
        time.sleep(0.05)  # the pace of looking
    assert child.wait(DEADLINE_S) == 1
    assert "has not returned from opening" in read_json(node_dir / "run" / "exits" / "capture:door.json")["reason"]
