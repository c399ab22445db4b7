"""Proportional memory of every process of the node on the demo's clip."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common.fleet import FLEET
from common.stats import pss_mb, read_stats
from tools.bench import report
from tools.bench.broker import Broker
from tools.bench.private import Ear, private_node

GOAL_MB = 240  # one 1280x720 camera, one worker


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("memory", "proportional set size of all processes, one 1280x720 camera, one worker")
    parser.add_argument("--source", default="pattern:1280x720@30", help="camera source (default: %(default)s)")
    options = parser.parse_args(arguments)
    runs = [measure(options.source, options.seconds) for _ in range(options.repetitions)]
    rows = [
        {
            "process": name,
            "PSS MB": report.median(run[name] for run in runs),
            "budget MB": FLEET[name.partition(":")[0]].memory_mb if name.partition(":")[0] in FLEET else "",
        }
        for name in runs[0]
    ]
    rows[-1]["budget MB"] = GOAL_MB
    report.show("memory of the node, page closed", rows, options.json)
    return 0


def measure(source: str, seconds: float) -> dict[str, float]:
    """One run of a new node; megabytes by process and in all."""
    tree: dict[str, Any] = {"cameras": {"clip": {"source": source}}}
    with Broker() as broker, private_node(mqtt={"port": broker.port}, **tree) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        ear.collect(seconds)
        found = {name: pss_mb(int(row["pid"])) or 0.0 for name, row in read_stats(settings.runtime_dir).items()}
        found["supervisord"] = pss_mb(_parent(settings.runtime_dir)) or 0.0
    found["all"] = sum(found.values())
    return found


def _parent(runtime_dir: str) -> int:
    """Process id of the supervisor: the parent of any service."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for row in read_stats(runtime_dir).values():
            return int(Path(f"/proc/{row['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    raise RuntimeError("no process reports")
