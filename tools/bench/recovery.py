"""From `kill -9` of each process to tracks flowing again."""

from __future__ import annotations

import os
import signal
import time

from common.errors import DeviceError
from common.fleet import members
from common.settings import Settings
from common.stats import read_stats
from tools.bench import report
from tools.bench.private import Ear, demo_clip, private_node

DEADLINE_S = 30.0
FLOW = 5  # frames in a row that count as flowing


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("recovery", "time from kill -9 of a process to tracks flowing again, and to a new process")
    options = parser.parse_args(arguments)
    tree = {"cameras": {"clip": {"source": f"file:{demo_clip()}"}}}
    rows = []
    with private_node(**tree) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        for member in members(settings.cameras, settings.infer.workers, settings.optional):
            runs = [kill(settings, ear, member.name) for _ in range(options.repetitions)]
            rows.append({
                "process": member.name,
                "tracks again s, median": report.median(flow for flow, _ in runs),
                "tracks again s, worst": max(flow for flow, _ in runs),
                "new process reports s, median": report.median(back for _, back in runs),
            })  # fmt: skip
    report.show("kill -9 of each process", rows, options.json)
    return 0


def kill(settings: Settings, ear: Ear, name: str) -> tuple[float, float]:
    """Kill one process; seconds until tracks flow again, and until its successor reports."""
    pid = int(read_stats(settings.runtime_dir)[name]["pid"])
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    ear.wait(lambda heard: sum(frame.frame.captured_ns > killed_ns for frame in heard) >= FLOW, DEADLINE_S)
    flow = time.monotonic() - start
    while True:
        row = read_stats(settings.runtime_dir).get(name, {})
        if row.get("pid", pid) != pid and row.get("state") in {"running", "waiting"}:
            break
        if time.monotonic() - start > DEADLINE_S:
            raise DeviceError(f"{name} did not come back")
        time.sleep(0.02)
    back = time.monotonic() - start
    ear.collect(2.0)  # the supervisor counts a start as good after a second
    return flow, back
