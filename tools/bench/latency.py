"""What the node adds between the capture stamp and an MQTT subscriber, with `publish.tracks` at full rate."""

from __future__ import annotations

import time
from typing import Any

from common.stats import read_stats
from tools.bench import report
from tools.bench.broker import Broker
from tools.bench.burners import Burners
from tools.bench.mqtt_ear import MqttEar, paho_alone
from tools.bench.private import Ear, demo_clip, private_node

GOAL = {"added p50 ms": 2.0, "added p99 ms": 10.0}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("latency", "capture stamp to MQTT subscriber, less the worker's work")
    parser.add_argument("--source", help="camera source (default: the demo's clip)")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--quiet", action="store_true", help="without other load on the cores")
    options = parser.parse_args(arguments)
    source = options.source or f"file:{demo_clip()}"
    runs: list[dict[str, float]] = []
    floors: list[dict[str, float]] = []
    for _ in range(options.repetitions):
        with Broker() as broker, Burners(not options.quiet):
            alone = paho_alone(broker.port, options.fps, options.seconds / 2)
            floors.append({"added p50 ms": report.quantile(alone, 0.5), "added p99 ms": report.quantile(alone, 0.99)})
            runs.append(measure(broker.port, source, options.fps, options.seconds))
    rows = [
        {"way": "paho, mosquitto, paho alone", **report.medians(floors)},
        {"way": "the node", **report.medians(runs)},
        {"way": "goal", **GOAL},
    ]
    load = "quiet" if options.quiet else "other load on every core"
    report.show(f"added latency at {options.fps:g} fps, {load}", rows, options.json)
    return 0


def measure(port: int, source: str, fps: float, seconds: float, **extra: Any) -> dict[str, float]:
    """One run of a new node against a running broker; milliseconds."""
    camera = {"source": source, "fps": fps, "motion_gate": False}  # every frame is to cost a run
    tree: dict[str, Any] = {"cameras": {"clip": camera}, "mqtt": {"port": port}}
    tree |= {"publish": {"tracks": True, "tracks_hz": 0}, **extra}
    with private_node(**tree) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        with MqttEar(port, f"{settings.mqtt.base}/{settings.node}/+/tracks") as subscriber:
            frames = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:  # look seldom: an ear that wakes up with every frame is load of its own
                time.sleep(0.25)
                frames += ear.collect(0.001)
            heard = subscriber.stop()
        wait = read_stats(settings.runtime_dir)["infer:0"]["latency_ms"]["wait"]["p50"]
    known = {frame.frame.captured_ns: frame for frame in frames}
    pairs = [(arrived, known[captured]) for captured, arrived in heard if captured in known]
    if not pairs:
        raise RuntimeError("the subscriber heard nothing")
    return stages(pairs) | {"wait p50 ms (worker's own)": wait}


def stages(pairs: list[tuple[int, Any]]) -> dict[str, float]:
    """Quantiles of the whole way less the work, and of its parts."""
    parts: dict[str, list[int]] = {
        "added": [at - f.frame.captured_ns - (f.finished_ns - f.claimed_ns) for at, f in pairs],
        "to claim": [f.claimed_ns - f.frame.captured_ns for _, f in pairs],
        "to tracks": [f.tracked_ns - f.finished_ns for _, f in pairs],
        "to subscriber": [at - f.tracked_ns for at, f in pairs],
        "work": [f.finished_ns - f.claimed_ns for _, f in pairs],
        "age": [at - f.frame.captured_ns for at, f in pairs],
    }
    found: dict[str, float] = {}
    for name, values in parts.items():
        found[f"{name} p50 ms"] = report.quantile((value / 1e6 for value in values), 0.5)
        found[f"{name} p99 ms"] = report.quantile((value / 1e6 for value in values), 0.99)
    return found
