"""The node beside the designs that people write first: age of the results, frames a second, CPU, jitter."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from common.errors import DeviceError
from tools.bench import report
from tools.bench.clip720 import clip720
from tools.bench.cpu import cpu_s, node_cpu_s
from tools.bench.private import Ear, private_node

WARM_S = 3.0
FPS = 30.0
THREADS, QUEUE = "tools.bench.plain_threads", "tools.bench.plain_queue"
GOALS = {
    (1, "threads that spin"): ("0.3", "0.45"),
    (1, "threads that wait"): ("0.95", ""),
    (3, "threads that wait"): ("0.6", ""),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("baselines", "the node beside plain designs, 1280x720 at 30 fps, YuNet at 640x384")
    options = parser.parse_args(arguments)
    clip, rows = clip720(), []
    for cameras, workers in ((1, 1), (3, 2)):
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.repetitions):
            for way in ("the node", "threads that spin", "threads that wait", "processes and a queue of pixels"):
                runs.setdefault(way, []).append(measure(way, clip, cameras, workers, options.seconds))
        rows += table(cameras, workers, runs)
    report.show("the node beside plain designs, 1280x720 at 30 fps, YuNet at 640x384", rows, options.json)
    return 0


def table(cameras: int, workers: int, runs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Rows of one number of cameras; ratios are the node's figure over this one's, medians of interleaved pairs."""
    rows = []
    for way, figures in runs.items():
        row: dict[str, Any] = {"cameras": cameras, "workers": workers, "way": way, **report.medians(figures)}
        if way != "the node":
            pairs = list(zip(runs["the node"], figures, strict=True))
            row["age: node / this"] = report.median(a["age p50 ms"] / b["age p50 ms"] for a, b in pairs)
            row["CPU: node / this"] = report.median(a["CPU ms a result"] / b["CPU ms a result"] for a, b in pairs)
            row["goals"] = GOALS.get((cameras, way), "")
        rows.append(row)
    return rows


def measure(way: str, clip: Path, cameras: int, workers: int, seconds: float) -> dict[str, float]:
    """One run of one design."""
    if way == "the node":
        return through_node(clip, cameras, workers, seconds)
    module = QUEUE if "queue" in way else THREADS
    form = [] if module == QUEUE else ["spin" if "spin" in way else "wait"]
    command = [sys.executable, "-m", module, str(clip), str(FPS), str(cameras), str(workers), *form]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        if child.stdin is None or child.stdout is None or child.stdout.readline().strip() != "ready":
            raise DeviceError(f"{module} did not start")
        time.sleep(WARM_S)
        tree = [child.pid, *(part.pid for part in psutil.Process(child.pid).children(recursive=True))]
        start_ns, before = time.monotonic_ns(), sum(map(cpu_s, tree))
        time.sleep(seconds)
        end_ns, after = time.monotonic_ns(), sum(map(cpu_s, tree))
        child.stdin.close()
        told = [(captured, done) for captured, done in json.loads(child.stdout.readline()) if start_ns <= done < end_ns]
    return figures(told, after - before, seconds)


def through_node(clip: Path, cameras: int, workers: int, seconds: float) -> dict[str, float]:
    """The same by the node."""
    camera = {"source": f"file:{clip}", "fps": FPS, "motion_gate": False}
    tree: dict[str, Any] = {"cameras": {f"camera{number}": camera for number in range(cameras)}}
    with private_node(**tree, infer={"workers": workers}) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30 * cameras)
        time.sleep(WARM_S / 2)
        ear.collect(0.001)
        start_ns, before = time.monotonic_ns(), sum(node_cpu_s(settings.runtime_dir).values())
        time.sleep(seconds)
        end_ns, after = time.monotonic_ns(), sum(node_cpu_s(settings.runtime_dir).values())
        frames = ear.collect(0.1)
    told = [(f.frame.captured_ns, f.tracked_ns) for f in frames if start_ns <= f.tracked_ns < end_ns]
    return figures(told, after - before, seconds)


def figures(told: list[tuple[int, int]], cpu: float, seconds: float) -> dict[str, float]:
    """Age, rate, CPU and jitter of results."""
    if len(told) < 3:
        raise DeviceError(f"{len(told)} results in {seconds:g} s")
    ages = [(done - captured) / 1e6 for captured, done in told]
    gaps = [(b - a) / 1e6 for (_, a), (_, b) in pairwise(sorted(told, key=lambda row: row[1]))]
    return {
        "age p50 ms": report.quantile(ages, 0.5),
        "age p99 ms": report.quantile(ages, 0.99),
        "results/s": len(told) / seconds,
        "CPU ms a result": 1000 * cpu / len(told),
        "gap p99 ms": report.quantile(gaps, 0.99),
    }
