"""What three hops add: capture, infer (8 ms), track (0.5 ms), publish (0.1 ms) with the node's ring, bus and messages.

Frames are leased and claimed as a worker does it, and the messages carry two faces.
Beside it the same stages over bare ZeroMQ sockets without ring, lease or checked messages. All under SCHED_FIFO.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import zmq

from common.bus import Bus
from common.claims import Claims
from common.pixels import Geometry, PixelFormat
from common.ring.reader import Lease, RingReader
from common.ring.writer import RingWriter
from common.settings import CameraSettings, Settings
from common.shm import remove_segments
from common.wire import CONFIRMED, DetectionResult, FrameHandle, TrackFrame
from tools.bench import report

WORK_S = {"infer": 0.008, "track": 0.0005, "publish": 0.0001}
CAMERA, WARM, PRIORITY = "bench", 20, 10
BOXES = np.array([[100, 100, 180, 200], [600, 200, 660, 280]], np.float32)
SCORES, MARKS = np.array([0.9, 0.8], np.float32), np.zeros((2, 10), np.float32)
TRACKS = (
    np.array([1, 2]), BOXES, BOXES, SCORES, np.array([CONFIRMED, CONFIRMED], np.uint8), np.ones(2, np.uint8),
    np.array([0, 1], np.int32), np.array([9, 9], np.int32), SCORES,
)  # fmt: skip
EVENT_IDS = ("01J0000000000000000000TEST", "")
GOAL = {"added p50 ms": 1.0, "added p99 ms": 1.5}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("chain", "what three hops add under SCHED_FIFO")
    parser.add_argument("--fps", type=float, default=30.0)
    options = parser.parse_args(arguments)
    runs: dict[str, list[dict[str, float]]] = {"bare ZeroMQ": [], "the node's ring and bus": []}
    for _ in range(options.repetitions):
        for way, kept in runs.items():
            kept.append(measure(way, options.fps, options.seconds))
    rows = [{"way": way, **report.medians(kept)} for way, kept in runs.items()]
    report.show(f"chain of three hops at {options.fps:g} fps", [*rows, {"way": "goal", **GOAL}], options.json)
    return 0


def measure(way: str, fps: float, seconds: float) -> dict[str, float]:
    """One run in four new processes; milliseconds that were not work."""
    directory = tempfile.mkdtemp(prefix="vd-")
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    stage = _ours if way != "bare ZeroMQ" else _bare
    names = ("publish", "track", "infer", "capture")
    children = [
        context.Process(target=stage, args=(name, directory, fps, seconds, theirs), daemon=True) for name in names
    ]
    try:
        for child in children:
            child.start()
            if not mine.poll(30) or mine.recv() != "ready":
                raise RuntimeError("a stage did not start")
        if not mine.poll(seconds + 30):
            raise RuntimeError("nothing came through")
        added: list[float] = mine.recv()
    finally:
        for child in children:
            child.kill()
            child.join()
        remove_segments(directory)
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "added p50 ms": report.quantile(added, 0.5),
        "added p99 ms": report.quantile(added, 0.99),
        "frames": len(added),
    }


def _realtime() -> None:
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))  # ZeroMQ's threads too


def _busy(seconds: float) -> int:
    """Work; gives how long it really took, nanoseconds."""
    start = time.monotonic_ns()
    while time.monotonic_ns() - start < seconds * 1e9:
        pass
    return time.monotonic_ns() - start


def _pace(fps: float, count: int, send: Callable[[int], None]) -> None:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number / fps - time.monotonic()))
        send(number)


def _ours(name: str, directory: str, fps: float, seconds: float, pipe: multiprocessing.connection.Connection) -> None:
    _realtime()
    settings = Settings(cameras={CAMERA: CameraSettings(source="bench:")}, runtime_dir=directory)
    with Bus(directory, realtime_priority=PRIORITY + 1) as bus:
        {"capture": _capture, "infer": _infer, "track": _track, "publish": _publish}[name](
            bus, settings, fps, seconds, pipe
        )


def _capture(bus: Bus, settings: Settings, fps: float, seconds: float, pipe: Any) -> None:
    with RingWriter(settings, CAMERA, Geometry(1280, 720, PixelFormat.BGR), 8) as ring:
        frames = bus.publisher("frames", CAMERA)
        pipe.send("ready")
        time.sleep(0.5)

        def send(number: int) -> None:
            slot = ring.acquire()
            if slot is not None:
                frames.send(ring.publish(slot, number + 1, time.monotonic_ns(), 0))

        _pace(fps, int(fps * seconds) + WARM, send)
        time.sleep(30)


def _infer(bus: Bus, settings: Settings, _fps: float, _seconds: float, pipe: Any) -> None:
    frames, results, reader = bus.subscriber("frames", [CAMERA]), bus.pusher("results"), RingReader(settings, CAMERA)
    with Claims.open(settings) as claims:
        pipe.send("ready")
        held: Lease | None = None
        while True:
            bus.wait(1000, frames)
            for handle in frames.drain(until=FrameHandle.is_just_sent):
                lease = reader.lease(handle)
                claim = claims.take(CAMERA, handle.captured_ns, 0)
                if claim is None:
                    raise RuntimeError("there is no other worker")
                if held is not None:
                    held.release()
                held = lease  # as a worker keeps it: whoever hears of the result may want the pixels
                _busy(WORK_S["infer"])
                results.send(DetectionResult(handle, claim, 1280, 720, time.monotonic_ns(), BOXES, SCORES, MARKS))


def _track(bus: Bus, _settings: Settings, _fps: float, _seconds: float, pipe: Any) -> None:
    results, tracks = bus.puller("results"), bus.publisher("tracks")
    pipe.send("ready")
    while True:
        bus.wait(1000, results)
        for result in results.drain(until=DetectionResult.is_just_sent):
            spent = _busy(WORK_S["track"]) + result.finished_ns - result.claim.claimed_ns
            tracks.send(_frame(result.frame, spent))


def _frame(handle: FrameHandle, spent_ns: int) -> TrackFrame:
    """Tracks of two faces; carries the work so far in its times."""
    return TrackFrame(handle, 1280, 720, 0, spent_ns, time.monotonic_ns(), *TRACKS, EVENT_IDS, BOXES, MARKS)


def _publish(bus: Bus, _settings: Settings, fps: float, seconds: float, pipe: Any) -> None:
    tracks = bus.subscriber("tracks")
    pipe.send("ready")
    added: list[float] = []
    wanted, end = int(fps * seconds), 0.0
    while len(added) < wanted + WARM and (not end or time.monotonic() < end):
        bus.wait(500, tracks)
        for frame in tracks.drain(until=TrackFrame.is_just_sent):
            end = end or time.monotonic() + seconds + 5
            spent = _busy(WORK_S["publish"]) + frame.finished_ns
            added.append((time.monotonic_ns() - frame.frame.captured_ns - spent) / 1e6)
    pipe.send(added[WARM:])
    time.sleep(30)


def _bare(name: str, directory: str, fps: float, seconds: float, pipe: multiprocessing.connection.Connection) -> None:
    """The same stages over PUSH/PULL with a bare msgpack list (captured, work so far)."""
    _realtime()
    context = zmq.Context()
    order = ("capture", "infer", "track", "publish")
    place = order.index(name)
    out, into = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    if place < 3:
        out.connect(f"ipc://{directory}/{place}")
    if place:
        into.bind(f"ipc://{directory}/{place - 1}")
    pipe.send("ready")
    if not place:
        time.sleep(0.5)
        _pace(fps, int(fps * seconds) + WARM, lambda _: out.send(msgpack.packb((time.monotonic_ns(), 0))))
        time.sleep(30)
    added: list[float] = []
    while len(added) < int(fps * seconds) + WARM:
        captured, spent = msgpack.unpackb(into.recv())
        spent += _busy(WORK_S[name])
        if place < 3:
            out.send(msgpack.packb((captured, spent)))
        else:
            added.append((time.monotonic_ns() - captured - spent) / 1e6)
    pipe.send(added[WARM:])
    time.sleep(30)
