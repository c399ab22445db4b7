"""The goals, one row each: which figure of which benchmark, and its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A row.

    Attributes:
        what: In words.
        bench: Benchmark, and name of its JSON file.
        where: Values that pick the row of its table.
        figure: Column.
        sign: Which side of the limit is good.
        limit: The limit.
        ratio: Carries over to other machines: `vedette bench check` compares it.
    """

    what: str
    bench: str
    where: Mapping[str, Any]
    figure: str
    sign: Literal["<=", ">="]
    limit: float
    ratio: bool = True


NODE, CHAIN = {"way": "the node"}, {"way": "the node's ring and bus"}
SPIN, WAIT = {"cameras": 1, "way": "threads that spin"}, {"cameras": 1, "way": "threads that wait"}
WAIT_3 = {"cameras": 3, "way": "threads that wait"}
AGE, CPU = "age: node / this", "CPU: node / this"
SPEED_UP = {"figure": "the node's speed-up / the bare one"}
UP = {"what": "vedette up to first tracks"}
NV12 = {"what": "NV12 720p -> tensor 320x192, the node"}
PEER = {"what": "YuNet 320x256 of 720p, the node from BGR"}
LOOP = {"figure": "node / plain loop"}
IDLE, MJPEG, RTSP = (
    {"figure": f"CPU of view, {who}, %"} for who in ("no viewer", "one MJPEG viewer", "one RTSP client")
)
TEN, KEPT = {"figure": "ten viewers / one"}, {"figure": "the least of seven / made meanwhile"}
LEASE, BEYOND = {"figure": "longest lease of a slot, ms"}, {"figure": "matched: beyond inference, p50 ms"}
NEWEST = {"figure": "newest: capture to reader, p50 ms"}
STILL = {"scene": "with the gate"}
GOALS = (
    Goal("hand-off p50 / bare handle over ZeroMQ", "handoff", {"way": "raw"}, "ours / this", "<=", 1.1),
    Goal("hand-off p50 / iceoryx2", "handoff", {"way": "iceoryx2"}, "ours / this", "<=", 1.9),
    Goal("chain of three hops, added p50, ms", "chain", CHAIN, "added p50 ms", "<=", 1.0, ratio=False),
    Goal("chain of three hops, added p99, ms", "chain", CHAIN, "added p99 ms", "<=", 1.5, ratio=False),
    Goal("frames/s, node / plain loop, one worker", "node", LOOP, "median", ">=", 0.97),
    Goal("speed-up by two workers / by two bare processes", "node", SPEED_UP, "median", ">=", 0.90),
    Goal("added on the way to MQTT under load, p50, ms", "latency", NODE, "added p50 ms", "<=", 2.0, ratio=False),
    Goal("added on the way to MQTT under load, p99, ms", "latency", NODE, "added p99 ms", "<=", 10.0, ratio=False),
    Goal("age / two threads that spin", "baselines", SPIN, AGE, "<=", 0.3),
    Goal("CPU / two threads that spin", "baselines", SPIN, CPU, "<=", 0.45),
    Goal("age / two threads that wait", "baselines", WAIT, AGE, "<=", 0.95),
    Goal("age / threads that wait, 3 cameras", "baselines", WAIT_3, AGE, "<=", 0.6),
    Goal("preprocessing from NV12 / full-size colour first", "infer", NV12, "ratio", "<=", 0.30),
    Goal("detection / OpenCV's own with the same file", "infer", PEER, "ratio", "<=", 0.75),
    Goal("CPU of a still scene, gate / no gate", "still", STILL, "with / without", "<=", 0.15),
    Goal("memory of the node, MB", "memory", {"process": "all"}, "PSS MB", "<=", 240.0, ratio=False),
    Goal("CPU of view, no viewer, % of a core", "view", IDLE, "median", "<=", 1.0, ratio=False),
    Goal("CPU of view, one MJPEG viewer, % of a core", "view", MJPEG, "median", "<=", 6.0, ratio=False),
    Goal("CPU of view, one RTSP client, % of a core", "view", RTSP, "median", "<=", 4.0, ratio=False),
    Goal("CPU of view, ten MJPEG viewers / one", "view", TEN, "median", "<=", 1.5),
    Goal("pictures that viewers beside three slow ones get / made", "view", KEPT, "median", ">=", 0.95),
    Goal("longest lease by view, ms", "view", LEASE, "median", "<=", 100.0, ratio=False),
    Goal("JPEG on the wire beyond inference, p50, ms", "view", BEYOND, "median", "<=", 10.0, ratio=False),
    Goal("JPEG on the wire, newest frame, p50, ms", "view", NEWEST, "median", "<=", 15.0, ratio=False),
    Goal("vedette up to first tracks, s", "startup", UP, "seconds", "<=", 2.5, ratio=False),
)


def value_of(goal: Goal, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The figure in a benchmark's rows; None when it is not there."""
    for row in rows:
        if all(row.get(key) == value for key, value in goal.where.items()) and isinstance(
            row.get(goal.figure), float | int
        ):
            return float(row[goal.figure])
    return None


def reached(goal: Goal, seen: float | None) -> bool | None:
    """True when the figure is on the good side; None without one."""
    if seen is None:
        return None
    return seen <= goal.limit if goal.sign == "<=" else seen >= goal.limit
