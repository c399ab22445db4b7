"""What MQTT costs: from a detection to `start` at a subscriber, beside the bare floor of the same steps; a backlog."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from common.bus import Bus
from common.errors import DeviceError
from common.eventlog import Event, EventLogWriter
from common.stats import read_json, read_stats
from common.wire import Claim, DetectionResult, FrameHandle
from tools.bench import report
from tools.bench.alone import alone, alone_settings
from tools.bench.broker import Broker
from tools.bench.waiting import until

FACES = 40  # that appear one after the other, in a repetition
FPS = 30
BACKLOG = 10_000
START_S = 20.0  # for the start of a face, and for its end


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("publish", "from a detection to `start` at a subscriber; delivery of a backlog")
    parser.add_argument("--faces", type=int, default=FACES, help="in a repetition (default %(default)s)")
    parser.add_argument("--backlog", type=int, default=BACKLOG, help="events that wait (default %(default)s)")
    options = parser.parse_args(arguments)
    starts, backlogs = [], []
    for _ in range(options.repetitions):
        starts.append(start_latency(options.faces))
        backlogs.append(backlog(options.backlog))
    report.show(
        "From the result that confirms a face to `start` at a subscriber, ms", [report.medians(starts)], options.json
    )
    report.show(f"Backlog of {options.backlog} events, QoS 1", [report.medians(backlogs)], None)
    return 0


class Ear:
    """A subscriber of its own: when each message of a topic arrived, monotonic nanoseconds."""

    def __init__(self, port: int, topic: str) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self._ready = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _c, _u, row: self.heard.append((time.monotonic_ns(), bytes(row.payload)))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(lambda: self._ready, what="the subscription")

    def _on_subscribe(self, *_: Any) -> None:
        self._ready = True

    def close(self) -> None:
        """Hear no more."""
        self._client.disconnect()
        self._client.loop_stop()


def start_latency(faces: int) -> dict[str, float]:
    """Medians and p99 of `start`, and of the bare floor: one commit to disk, one message through the same broker."""
    with Broker() as broker, alone_settings(broker.port) as settings:
        ear = Ear(broker.port, "vedette/bench/events")
        with alone(settings, "track"), alone(settings, "publish"), Bus(settings.runtime_dir) as bus:
            results, tracks, numbers = bus.pusher("results"), bus.subscriber("tracks"), itertools.count(1)
            sent = [_appear(bus, results, tracks, ear, numbers) for _ in range(faces)]
            commit = read_stats(settings.runtime_dir)["track"]["latency_ms"].get("commit", {})
        ear.close()
        floor = _floor(Path(settings.state_dir), broker.port, faces)
    return {
        "start p50": report.median(sent),
        "start p99": report.quantile(sent, 0.99),
        "floor p50": report.median(floor),
        "floor p99": report.quantile(floor, 0.99),
        "over the floor p50": report.median(sent) - report.median(floor),
        "commit p50": float(commit.get("p50", float("nan"))),
    }


def backlog(events: int) -> dict[str, float]:
    """How fast a log full of events leaves, and the memory of the process before and after."""
    with Broker() as broker, alone_settings(broker.port) as settings:
        writer = EventLogWriter(settings.state_dir, settings.events)
        for begin in range(0, events, 500):
            writer.append([_event(number) for number in range(begin, min(begin + 500, events))])
        writer.close()
        ear = Ear(broker.port, "vedette/bench/events")
        position = Path(settings.state_dir) / "publish.json"
        with alone(settings, "publish"):
            until(lambda: ear.heard, what="the first event")
            before = read_stats(settings.runtime_dir).get("publish", {}).get("rss_mb") or float("nan")
            until(lambda: read_json(position).get("rowid") == events, what="the last event")
            time.sleep(1.1)  # a report that is of after
            after = read_stats(settings.runtime_dir)["publish"]["rss_mb"]
        ear.close()
    span_s = (ear.heard[-1][0] - ear.heard[0][0]) / 1e9
    return {
        "events/s": (len(ear.heard) - 1) / span_s,
        "heard": len(ear.heard),
        "RSS before MB": before,
        "RSS after MB": after,
    }


def _appear(bus: Bus, results: Any, tracks: Any, ear: Ear, numbers: Iterator[int]) -> float:
    """Show a face until it has started; milliseconds from the result that brought the start to the subscriber."""
    known, begun_ns = len(ear.heard), 0
    left = 40.0 + 300 * (next(numbers) % 4)  # far from the one before, so that it is another face
    end = time.monotonic() + START_S
    while not begun_ns:
        if time.monotonic() > end:
            raise DeviceError("a face did not start")
        results.send(_result(next(numbers), time.monotonic_ns(), left))
        bus.wait(1000 // FPS, tracks)
        begun_ns = next((frame.frame.captured_ns for frame in tracks.drain() if any(frame.event_ids)), 0)
        time.sleep(0.5 / FPS)
    until(lambda: any(b'"start"' in data for _, data in ear.heard[known:]), START_S, "start")
    arrived_ns = next(at for at, data in ear.heard[known:] if b'"start"' in data)
    until(lambda: any(b'"end"' in data for _, data in ear.heard[known:]), START_S, "end")
    tracks.drain()
    return (arrived_ns - begun_ns) / 1e6


def _result(number: int, now_ns: int, left: float) -> DetectionResult:
    frame = FrameHandle("door", 1, 0, number, number, now_ns, 0, now_ns)
    box = np.array([[left, 100, left + 100, 220]], np.float32)
    claim = Claim(1, number, 0, 0, 0, now_ns)
    return DetectionResult(
        frame, claim, 1280, 720, now_ns, box, np.array([0.9], np.float32), np.empty((0, 10), np.float32)
    )


def _floor(directory: Path, port: int, count: int) -> list[float]:
    """One row committed with synchronous=FULL, then one message to the subscriber, by the plain libraries."""
    db = sqlite3.connect(directory / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE rows (data TEXT)")
    ear = Ear(port, "floor")
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    times = []
    for number in range(count):
        begun_ns = time.monotonic_ns()
        db.execute("INSERT INTO rows VALUES (?)", ("x" * 300,))
        client.publish("floor", "x" * 300, 1)
        until(lambda number=number: len(ear.heard) > number, 10, "the floor's message")  # type: ignore[misc]
        times.append((ear.heard[number][0] - begun_ns) / 1e6)
    client.disconnect()
    client.loop_stop()
    ear.close()
    db.close()
    return times


def _event(number: int) -> Event:
    kind: Any = ("start", "end")[number % 2]
    return Event(0, f"01JF{number // 2:022d}", 0, kind, "door", 1, time.time_ns(), time.monotonic_ns(), "boot",
                 (0.1, 0.1, 0.2, 0.4), 0.9, 0.95, 1.5, ("gate",))  # fmt: skip
