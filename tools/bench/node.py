"""The whole node beside a plain loop in one process, and two workers beside two bare processes: frames a second."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from common.pixels import Geometry, Plane
from common.stats import read_stats
from services.infer.detector import build_detector
from tools.bench import report
from tools.bench.prepared import CLIP_PICTURES, decoded
from tools.bench.private import Ear, demo_clip, private_node

OFFERED = 1.25  # frames a worker, as a part of what the plain loop takes: it always finds a newer one


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("node", "frames a second of the whole node, one and two workers")
    parser.add_argument("--clip", type=Path, help="video to play (default: the demo's)")
    parser.add_argument("--width", type=int, default=640, help="width of the model's input (default %(default)s)")
    options = parser.parse_args(arguments)
    clip = options.clip or demo_clip()
    frames, geometry = decoded(clip, CLIP_PICTURES)
    runs: list[dict[str, float]] = []
    for _ in range(options.repetitions):
        before = plain_loop(frames, geometry, options.width, options.seconds / 2)
        one = through_node(clip, options.width, 1, OFFERED * before, options.seconds)
        after = plain_loop(frames, geometry, options.width, options.seconds / 2)
        two = through_node(clip, options.width, 2, 2 * OFFERED * before, options.seconds)
        bare = [bare_processes(clip, options.width, count, options.seconds / 2) for count in (1, 2)]
        plain, pair, bare_pair = (before + after) / 2, two / one, bare[1] / bare[0]
        runs.append({
            "frames/s, plain loop in one process": plain,
            "frames/s through the node, one worker": one,
            "node / plain loop": one / plain,
            "frames/s through the node, two workers": two,
            "two workers / one": pair,
            "two bare processes / one": bare_pair,
            "the node's speed-up / the bare one": pair / bare_pair,
        })  # fmt: skip
    goals = {"node / plain loop": 0.97, "the node's speed-up / the bare one": 0.90}
    figures = report.medians(runs)
    rows = [{"figure": name, "median": value, "goal": goals.get(name, "")} for name, value in figures.items()]
    report.show(f"{clip.name}, input width {options.width}", rows, options.json)
    return 0


def bare_processes(clip: Path, width: int, count: int, seconds: float) -> float:
    """Frames a second of so many processes that do nothing but the plain loop, side by side."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(count) as pool:
        start = time.monotonic() + 3.0  # all have started by then
        jobs = [pool.apply_async(_bare, (clip, width, start, seconds)) for _ in range(count)]
        return sum(job.get(120) for job in jobs)


def _bare(clip: Path, width: int, start: float, seconds: float) -> float:
    frames, geometry = decoded(clip, CLIP_PICTURES)
    plain_loop(frames, geometry, width, 0.2)
    time.sleep(max(0.0, start - time.monotonic()))
    return plain_loop(frames, geometry, width, seconds)


def settings_tree(clip: Path, width: int, fps: float | None, workers: int = 1) -> dict[str, Any]:
    """A node with one camera that gives the pictures that the plain loop has, from memory as there."""
    source = f"tools.bench.prepared:Decoded?{clip}"
    camera = {"source": source, "fps": fps, "motion_gate": False}  # every frame is to cost a run
    return {"cameras": {"clip": camera}, "infer": {"width": width, "workers": workers}}


def plain_loop(frames: list[list[Plane]], geometry: Geometry, width: int, seconds: float) -> float:
    """Frames a second of the same preprocessing, session and decoding in this process."""
    from common.settings import InferSettings

    detector = build_detector(InferSettings(width=width, min_score=0.3), geometry)  # as a worker for mode face
    count, start = 0, time.monotonic()
    while (now := time.monotonic()) - start < seconds:
        detector.detect(frames[count % len(frames)], geometry)
        count += 1
    return count / (now - start)


def through_node(clip: Path, width: int, workers: int, fps: float, seconds: float) -> float:
    """Frames a second that come out of track, by its own count: nobody listens, so nobody takes a core away."""
    with private_node(**settings_tree(clip, width, fps, workers)) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 100)
        ear.close()
        first, start_ns = _tracked(settings.runtime_dir)
        time.sleep(seconds)
        last, end_ns = _tracked(settings.runtime_dir)
    return (last - first) / ((end_ns - start_ns) / 1e9)


def _tracked(runtime_dir: str) -> tuple[int, int]:
    """Frames that track has put out by its last report, and when that was, monotonic nanoseconds."""
    report_now = read_stats(runtime_dir)["track"]
    return int(report_now["totals"].get("frames", 0)), int(report_now["beat_ns"])
