"""How long a frame takes from one process to another: the node's ring and bus beside the plainest ways to do it."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tools.bench import report
from tools.bench.handoff_peers import Iceoryx2, Pixels, Raw
from tools.bench.ring_adapter import Adapter

WAYS: dict[str, type[Any]] = {"raw": Raw, "ours": Adapter, "iceoryx2": Iceoryx2, "pixels": Pixels}
END = -1
PRIORITY = 10
GOALS = {"raw": 1.1, "iceoryx2": 1.9}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("handoff", "hand-off of frames between two processes, latency in microseconds")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=float, default=30.0)
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    ways = [way for way in WAYS if way != "iceoryx2" or Iceoryx2.there()]
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(options.repetitions):
        for way in ways:
            runs[way].append(measure(way, (height, width, 3), options.fps, options.seconds))
    rows = [
        {
            "way": way,
            "p50 us": report.median(run["p50"] for run in runs[way]),
            "p99 us": report.median(run["p99"] for run in runs[way]),
            "ours / this": report.median(a["p50"] / b["p50"] for a, b in zip(runs["ours"], runs[way], strict=True)),
            "goal": GOALS.get(way, ""),
            "frames": int(sum(run["frames"] for run in runs[way])),
            "torn": int(sum(run["torn"] for run in runs[way])),
            "missed": int(sum(run["missed"] for run in runs[way])),
        }
        for way in ways
    ]
    report.show(f"hand-off {options.size} at {options.fps:g} fps", rows, options.json)
    return 0


def measure(way: str, shape: tuple[int, int, int], fps: float, seconds: float) -> dict[str, float]:
    """One run of a way in two new processes; latencies in microseconds."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))
    config = SimpleNamespace(shape=shape, slots=8, dir=directory)
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    pace = (fps, int(fps * seconds))
    consumer = context.Process(target=_consume, args=(way, config, theirs))
    ready, there = context.Pipe()
    producer = context.Process(target=_produce, args=(way, config, pace, there))
    try:
        producer.start()
        ready.recv()
        consumer.start()
        mine.recv()
        ready.send("go")
        latencies, torn = mine.recv()
        ready.send("enough")
        producer.join(30)
        mine.send("enough")  # not before: a socket without a peer makes the producer wait
        consumer.join(30)
    finally:
        for child in (producer, consumer):
            if child.is_alive():
                child.kill()
        WAYS[way](config).teardown()
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "p50": report.quantile(latencies, 0.5),
        "p99": report.quantile(latencies, 0.99),
        "frames": float(len(latencies)),
        "torn": float(torn),
        "missed": float(pace[1] - len(latencies)),
    }


def _realtime() -> None:
    """SCHED_FIFO where it is allowed, as the node's processes have it: for every way alike."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))  # its threads too


def _produce(
    way: str, config: SimpleNamespace, pace: tuple[float, int], pipe: multiprocessing.connection.Connection
) -> None:
    """Frames stamped with number and time, first and last bytes too; a late frame is never sent in a burst."""
    _realtime()
    made = WAYS[way](config)
    made.setup()
    made.open_producer()
    pipe.send("ready")
    pipe.recv()
    fps, count = pace
    for warm in range(20):
        _stamp(made, warm - 1000)
        time.sleep(0.02)
    start = time.monotonic()
    for number in range(count):
        delay = start + number / fps - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        _stamp(made, number)
    while not pipe.poll(0.05):
        _stamp(made, END)
    made.close_producer()


def _stamp(made: Any, number: int) -> None:
    pixels = made.acquire().reshape(-1)
    pixels[:8] = np.frombuffer(np.int64(number).tobytes(), np.uint8)
    pixels[-8:] = pixels[:8]
    now = time.monotonic_ns()
    pixels[8:16] = np.frombuffer(np.int64(now).tobytes(), np.uint8)
    made.publish(number, now)


def _consume(way: str, config: SimpleNamespace, pipe: multiprocessing.connection.Connection) -> None:
    _realtime()
    made = WAYS[way](config)
    made.open_consumer()
    pipe.send("ready")
    latencies: list[float] = []
    torn = 0
    while (pixels := made.recv(5.0)) is not None:
        flat = pixels.reshape(-1)
        number, sent_ns = flat[:16].view(np.int64).tolist()
        last = int(flat[-8:].copy().view(np.int64)[0])
        now = time.monotonic_ns()
        made.release()
        if number == END:
            break
        if number >= 0:
            torn += last != number
            latencies.append((now - sent_ns) / 1e3)
    pipe.send((latencies, torn))
    pipe.recv()
    made.close_consumer()
