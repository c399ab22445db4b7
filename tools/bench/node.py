"""The whole node beside a plain loop in one process: frames a second, and what the hops add between glass and MQTT."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import av

from common.pixels import Geometry, Plane
from common.stats import read_stats
from services.capture.video import copy_picture, picture_geometry
from services.infer.detector import build_detector
from tools.bench import report
from tools.bench.broker import Broker, Subscriber
from tools.bench.private import Ear, demo_clip, private_node

OFFERED_FPS = 200.0  # more than a worker takes (140 to 160 here): it always finds a newer frame


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("node", "frames a second and added latency of the whole node")
    parser.add_argument("--clip", type=Path, help="video to play (default: the demo's)")
    parser.add_argument("--width", type=int, default=640, help="width of the model's input (default %(default)s)")
    options = parser.parse_args(arguments)
    clip = options.clip or demo_clip()
    frames, geometry = load(clip, 60)
    rates: list[tuple[float, float]] = []
    latencies: list[dict[str, float]] = []
    for _ in range(options.repetitions):
        before = plain_loop(frames, geometry, options.width, options.seconds / 2)
        node = through_node(clip, options.width, options.seconds)
        after = plain_loop(frames, geometry, options.width, options.seconds / 2)
        rates.append(((before + after) / 2, node))
        latencies.append(added_latency(clip, options.width, options.seconds))
    rows = [
        {"figure": "frames/s, plain loop in one process", "median": report.median(plain for plain, _ in rates)},
        {"figure": "frames/s through the node, one worker", "median": report.median(node for _, node in rates)},
        {"figure": "node / plain loop", "median": report.median(node / plain for plain, node in rates)},
        *({"figure": f"{name}, ms", "median": report.median(run[name] for run in latencies)} for name in latencies[0]),
    ]
    report.show(f"{clip.name}, input width {options.width}", rows, options.json)
    return 0


def load(clip: Path, count: int) -> tuple[list[list[Plane]], Geometry]:
    """The first frames of a clip, decoded, as planes."""
    import numpy as np

    frames: list[list[Plane]] = []
    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            geometry = picture_geometry(picture.width, picture.height, picture.format.name)
            planes = geometry.planes(np.empty(geometry.frame_bytes, np.uint8))
            copy_picture(picture, geometry, planes)
            frames.append(planes)
            if len(frames) == count:
                break
    return frames, geometry


def settings_tree(clip: Path, width: int, fps: float | None) -> dict[str, Any]:
    """A node with one camera that plays the clip, and one worker."""
    camera = {"source": f"file:{clip}", "fps": fps, "motion_gate": False}  # every frame is to cost a run
    return {"cameras": {"clip": camera}, "infer": {"width": width, "workers": 1}}


def plain_loop(frames: list[list[Plane]], geometry: Geometry, width: int, seconds: float) -> float:
    """Frames a second of the same preprocessing, session and decoding in this process."""
    from common.settings import InferSettings

    detector = build_detector(InferSettings(width=width), geometry)
    count, start = 0, time.monotonic()
    while (now := time.monotonic()) - start < seconds:
        detector.detect(frames[count % len(frames)], geometry)
        count += 1
    return count / (now - start)


def through_node(clip: Path, width: int, seconds: float) -> float:
    """Frames a second that come out of track, by its own count: nobody listens, so nobody takes a core away."""
    with private_node(**settings_tree(clip, width, OFFERED_FPS)) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 100)
        ear.close()
        first, start_ns = _tracked(settings.runtime_dir)
        time.sleep(seconds)
        last, end_ns = _tracked(settings.runtime_dir)
    return (last - first) / ((end_ns - start_ns) / 1e9)


def _tracked(runtime_dir: str) -> tuple[int, int]:
    """Frames that track has put out, and when it said so, monotonic nanoseconds."""
    report_now = read_stats(runtime_dir)["track"]
    return int(report_now["totals"]["frames"]), int(report_now["beat_ns"])


def added_latency(clip: Path, width: int, seconds: float) -> dict[str, float]:
    """Milliseconds from the capture stamp to an independent MQTT subscriber, less the worker's own work."""
    with Broker() as broker:
        tree = settings_tree(clip, width, 30.0)
        tree |= {"mqtt": {"port": broker.port}, "publish": {"tracks": True, "tracks_hz": 0}}
        with private_node(**tree) as (settings, bus):
            ear = Ear(bus)
            ear.wait(lambda heard: len(heard) > 30)
            subscriber = Subscriber(broker.port, f"{settings.mqtt.base}/{settings.node}/+/tracks")
            done = threading.Event()
            thread = threading.Thread(target=subscriber.run, args=(done,), daemon=True)
            thread.start()
            frames = ear.collect(seconds)
            done.set()
            thread.join()
            work = {frame.frame.captured_ns: frame.finished_ns - frame.claimed_ns for frame in frames}
            pairs = [(arrived - captured, work[captured]) for captured, arrived in subscriber.heard if captured in work]
    added = [(age - spent) / 1e6 for age, spent in pairs]
    if not added:
        raise RuntimeError("the subscriber heard nothing")
    return {
        "added latency p50": report.quantile(added, 0.5),
        "added latency p99": report.quantile(added, 0.99),
        "work p50": report.quantile((spent / 1e6 for _, spent in pairs), 0.5),
        "whole way p50": report.quantile((age / 1e6 for age, _ in pairs), 0.5),
        "whole way p99": report.quantile((age / 1e6 for age, _ in pairs), 0.99),
    }
