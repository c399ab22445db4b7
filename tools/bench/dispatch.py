"""How old a frame is when a worker begins with it and when its tracks are out: a fast and a slow worker."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from common.wire import TrackFrame
from tools.bench import report
from tools.bench.private import Ear, private_node


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("dispatch", "age of frames at the workers and at track's output")
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--work-ms", default="25,250", help="what a frame costs each worker (default %(default)s)")
    options = parser.parse_args(arguments)
    runs = [measure(options.cameras, options.fps, options.work_ms, options.seconds) for _ in range(options.repetitions)]
    rows = [{"run": str(number), **run} for number, run in enumerate(runs, 1)]
    keys = [key for key, value in runs[0].items() if isinstance(value, float)]
    rows.append({"run": "median", **{key: report.median(run[key] for run in runs) for key in keys}})
    report.show(f"{options.cameras} cameras at {options.fps:g} fps, workers {options.work_ms} ms", rows, options.json)
    return 0


def measure(cameras: int, fps: float, work_ms: str, seconds: float) -> dict[str, Any]:
    """One run of a new node; ages in milliseconds."""
    names = [f"camera{index}" for index in range(cameras)]
    workers = work_ms.count(",") + 1
    tree: dict[str, Any] = {
        "cameras": {name: {"source": f"pattern:640x360@{fps:g}"} for name in names},
        "infer": {
            "workers": workers,
            "backend": "tools.bench.sleeper:Sleeper",
            "provider_options": {"sleep": {"ms": work_ms}},
        },
    }
    with private_node(**tree) as (_, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len({frame.frame.camera for frame in heard}) == cameras and len(heard) > 60)
        return summary(ear.collect(seconds), names)


def summary(frames: list[TrackFrame], names: list[str]) -> dict[str, Any]:
    """Quantiles of the ages, and what must not happen: doubles and frames out of order."""
    start = [(frame.claimed_ns - frame.frame.captured_ns) / 1e6 for frame in frames]
    out = [(frame.tracked_ns - frame.frame.captured_ns) / 1e6 for frame in frames]
    counts = Counter(frame.frame.camera for frame in frames)
    by_camera = {name: [frame.frame.seq for frame in frames if frame.frame.camera == name] for name in names}
    return {
        "start p50": report.quantile(start, 0.5),
        "start p99": report.quantile(start, 0.99),
        "out p50": report.quantile(out, 0.5),
        "out p99": report.quantile(out, 0.99),
        "doubles": sum(len(seqs) - len(set(seqs)) for seqs in by_camera.values()),
        "disordered": sum(a > b for seqs in by_camera.values() for a, b in pairwise(seqs)),
        "per camera": "/".join(str(counts[name]) for name in names),
        "spread %": 100.0 * (max(counts.values()) / max(1, min(counts[name] for name in names)) - 1),
    }
