"""Frames a second and ages for cameras x workers on this machine, and a model on paper of other machines.

The model: a captured frame costs D of CPU, a result M in its worker and S in all other processes. When cameras offer
F frames a second, W workers on C cores give min(F, W / M, (C - F D) / (M + S)) results a second. Of the cores of this
machine what other programs took during a run is taken off, so that the model can be checked on a shared one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from tools.bench import report
from tools.bench.clip720 import clip720
from tools.bench.cpu import node_cpu_s
from tools.bench.private import Ear, private_node

FPS = 30.0
CAMERAS = (1, 2, 4, 8)
# Cores, and how much slower one is than this machine's: by public single-core scores, not measured by us.
MACHINES = {"Raspberry Pi 5": (4, 2.5), "8-core box": (8, 1.0), "64-core server": (64, 1.2)}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("scaling", "cameras x workers, 1280x720 at 30 fps, YuNet at 640x384")
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    workers = sorted({1, 2, cores})
    rows = [measure(cameras, count, options.seconds) for cameras in CAMERAS for count in workers]
    costs = {key: report.median(row[key] for row in rows) / 1e3 for key in ("capture ms", "infer ms", "other ms")}
    for row in rows:
        room = cores - row["cores of others"]
        row["model results/s"] = predicted(room, row["cameras"] * FPS, row["workers"], costs)
        row["seen / model"] = row["results/s"] / row["model results/s"]
    machines = {"this machine": (cores, 1.0), **MACHINES}
    for name, (count, slower) in machines.items():
        rows.append({"machine": name, **saturation(count, {key: value * slower for key, value in costs.items()})})
    if options.json is not None:
        plot(rows, machines, costs, options.json.with_suffix(".svg"))
    report.show("scaling, 1280x720 at 30 fps, YuNet at 640x384", rows, options.json)
    return 0


def measure(cameras: int, workers: int, seconds: float) -> dict[str, Any]:
    """One run of a new node."""
    camera = {"source": f"file:{clip720()}", "fps": FPS, "motion_gate": False}
    tree: dict[str, Any] = {"cameras": {f"camera{number}": camera for number in range(cameras)}}
    with private_node(**tree, infer={"workers": workers}) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30 * cameras)
        ear.collect(0.5)
        before, busy = node_cpu_s(settings.runtime_dir), busy_s()
        time.sleep(seconds)
        after, busy = node_cpu_s(settings.runtime_dir), busy_s() - busy
        frames = ear.collect(0.01)
    used: dict[str, float] = {"capture": 0.0, "infer": 0.0, "other": 0.0}
    for name in after:
        family = name.partition(":")[0]
        used[family if family in used else "other"] += 1000 * (after[name] - before.get(name, 0.0))
    ages = [(frame.tracked_ns - frame.frame.captured_ns) / 1e6 for frame in frames]
    count = max(1, len(frames))
    return {
        "cameras": cameras,
        "workers": workers,
        "cores of others": max(busy - sum(used.values()) / 1000, 0.0) / seconds,
        "results/s": count / seconds,
        "age p50 ms": report.quantile(ages, 0.5),
        "age p99 ms": report.quantile(ages, 0.99),
        "capture ms": used["capture"] / (cameras * FPS * seconds),
        "infer ms": used["infer"] / count,
        "other ms": used["other"] / count,
    }


def busy_s() -> float:
    """Seconds of CPU that this machine has been busy for, also for other guests of its host."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def predicted(cores: float, offered: float, workers: int, costs: dict[str, float]) -> float:
    """Results a second by the model."""
    room = max(cores - offered * costs["capture ms"], 0.1) / (costs["infer ms"] + costs["other ms"])
    return min(offered, workers / costs["infer ms"], room)


def saturation(cores: int, costs: dict[str, float]) -> dict[str, Any]:
    """How many cameras of 30 fps a machine follows at full rate, by the model, with the workers that it needs."""
    each = costs["capture ms"] + costs["infer ms"] + costs["other ms"]
    cameras = int(cores / (FPS * each))
    return {
        "cores": cores,
        "cameras at 30 fps": cameras,
        "with workers": -(-int(1000 * cameras * FPS * costs["infer ms"]) // 1000),
    }


def plot(rows: list[dict[str, Any]], machines: dict[str, tuple[int, float]], costs: dict[str, float], to: Path) -> None:
    """Results a second over cameras: the model for each machine, and what was measured here."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5))
    for name, (cores, slower) in machines.items():
        scaled = {key: value * slower for key, value in costs.items()}
        cameras = [2 ** (step / 8) for step in range(65)]
        rates = [predicted(cores, FPS * count, cores, scaled) for count in cameras]
        axes.plot(cameras, rates, label=f"{name}, model")
    seen = [row for row in rows if "results/s" in row]
    axes.plot([row["cameras"] for row in seen], [row["results/s"] for row in seen], "k.", label="measured here")
    axes.set(xscale="log", yscale="log", xlabel="cameras, 1280x720 at 30 frames/s", ylabel="results a second")
    axes.legend()
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})
    plt.close(figure)
