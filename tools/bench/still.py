"""What a still scene costs with and without the motion gate: CPU of capture and infer, decoding left out."""

from __future__ import annotations

import time

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
    report.show("CPU of a still scene, percent of a core", rows, options.json)
    return 0


def measure(seconds: float, *, gated: bool) -> dict[str, float]:
    """Percent of a core by process, of a new node."""
    with private_node(cameras={"still": {"source": SOURCE, "motion_gate": gated}}) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        ear.close()
        time.sleep(SETTLE_S)
        start, before = time.monotonic(), node_cpu_s(settings.runtime_dir)
        time.sleep(seconds)
        span, after = time.monotonic() - start, node_cpu_s(settings.runtime_dir)
    used = {name: 100 * (after[name] - before[name]) / span for name in ("capture:still", "infer:0")}
    return {"capture": used["capture:still"], "infer": used["infer:0"], "both": sum(used.values())}
