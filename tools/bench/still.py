"""What a still scene costs with and without the motion gate: CPU of capture and infer, decoding left out."""

from __future__ import annotations

import time

from common.stats import read_stats
from tools.bench import report
from tools.bench.cpu import node_cpu_s
from tools.bench.private import Ear, private_node

SOURCE = "tools.bench.prepared:Prepared?still:1280x720@30"
SETTLE_S = 1.5


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("still", "CPU of capture and infer on a still 1280x720 scene at 30 fps")
    options = parser.parse_args(arguments)
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(options.repetitions):
        for gated in (False, True):
            runs[gated].append(measure(options.seconds, gated=gated))
    plain, gated_runs = (report.medians(runs[gated]) for gated in (False, True))
    ratio = report.median(b["both"] / a["both"] for a, b in zip(runs[False], runs[True], strict=True))
    rows = [
        {"scene": "without the gate", **plain},
        {"scene": "with the gate", **gated_runs, "with / without": ratio, "goal": 0.15},
    ]
    report.show("CPU of a still scene, milliseconds a frame", rows, options.json)
    return 0


def measure(seconds: float, *, gated: bool) -> dict[str, float]:
    """CPU milliseconds a frame by process, of a new node: of a captured one, and of one that was answered."""
    with private_node(cameras={"still": {"source": SOURCE, "motion_gate": gated}}) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        ear.close()
        time.sleep(SETTLE_S)
        frames, before = _frames(settings.runtime_dir), node_cpu_s(settings.runtime_dir)
        time.sleep(seconds)
        later, after = _frames(settings.runtime_dir), node_cpu_s(settings.runtime_dir)
    used = {name: 1000 * (after[name] - before[name]) / (later[name] - frames[name]) for name in frames}
    return {"capture": used["capture:still"], "infer": used["infer:0"], "both": sum(used.values())}


def _frames(runtime_dir: str) -> dict[str, float]:
    """Frames so far by process, carried on from its last report to now."""
    found, now_ns = {}, time.monotonic_ns()
    for name in ("capture:still", "infer:0"):
        row = read_stats(runtime_dir)[name]
        found[name] = row["totals"]["frames"] + row["rates"]["frames"] * (now_ns - row["beat_ns"]) / 1e9
    return found
