"""What the view costs and how late its pictures are: nobody, one and ten viewers, slow ones among them, RTSP."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from common.settings import Settings
from common.stats import pss_mb, read_stats
from tools.bench import report
from tools.bench.hd import hd_clip
from tools.bench.private import Ear, demo_clip, free_port, private_node
from tools.bench.viewers import Player, Viewer

SETTLE_S = 3.0  # a change of viewers has settled, and the first pictures are not counted
SLOW_BYTES_PER_S = 10_000
CAMERA = "clip"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("view", "cost and delay of the page's pictures and of RTSP")
    parser.add_argument("--clip", type=Path, help="video to play, in 1280 columns (default: the demo's)")
    parser.add_argument("--slow-seconds", type=float, default=60.0, help="with slow viewers (default %(default)s)")
    parser.add_argument("--only", choices=["cost", "slow", "delay"], help="one part of it")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        clip = hd_clip(options.clip or demo_clip(), Path(folder))
        if options.only in {None, "cost"}:
            rows += cost(clip, options.seconds, options.repetitions)
        if options.only in {None, "slow"}:
            rows += slow(clip, options.slow_seconds)
        if options.only in {None, "delay"}:
            rows += delay(clip, options.seconds, options.repetitions)
    report.show(f"view, {clip.name}", rows, options.json)
    return 0


@contextmanager
def watched_node(clip: Path, camera_fps: float, **view: Any) -> Iterator[Settings]:
    """A node with one camera that has begun to track."""
    tree = {
        "cameras": {CAMERA: {"source": f"file:{clip}", "fps": camera_fps}},
        "rtsp": {"enabled": True, "port": free_port()},
        "view": view,
    }
    with private_node(**tree) as (settings, bus):
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        ear.close()
        yield settings


def cost(clip: Path, seconds: float, repetitions: int) -> list[dict[str, Any]]:
    """CPU time of view at 15 frames a second, as a share of one core, by who looks."""
    names = ("no viewer", "one MJPEG viewer", "ten MJPEG viewers", "one RTSP client", "ten RTSP clients")
    shares: dict[str, list[float]] = {name: [] for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    with watched_node(clip, 15) as settings:
        for _ in range(repetitions):
            for name in names:
                count = 10 if name.startswith("ten") else 1
                with ExitStack() as stack:
                    for _ in range(0 if name.startswith("no") else count):
                        made = (
                            Player(settings.rtsp.port, CAMERA) if "RTSP" in name else Viewer(settings.view.port, CAMERA)
                        )
                        stack.callback(made.close)
                    time.sleep(SETTLE_S)
                    before, begun = made_pictures(settings), time.monotonic()
                    shares[name].append(cpu_share(settings, seconds))
                    rates[name].append((made_pictures(settings) - before) / (time.monotonic() - begun))
        memory = pss_mb(view_pid(settings))
    medians = {name: report.median(values) for name, values in shares.items()}
    return [
        *(
            {"figure": f"CPU of view, {name}, %", "median": value, "pictures/s": report.median(rates[name])}
            for name, value in medians.items()
        ),
        {"figure": "ten viewers / one", "median": medians["ten MJPEG viewers"] / medians["one MJPEG viewer"]},
        {"figure": "memory of view, MB", "median": memory},
    ]


def slow(clip: Path, seconds: float) -> list[dict[str, Any]]:
    """Ten viewers, three of which read 10 kB/s."""
    with watched_node(clip, 15) as settings:
        alone = Viewer(settings.view.port, CAMERA)
        time.sleep(SETTLE_S)
        before = rate([alone], seconds / 4)
        quick = [alone, *(Viewer(settings.view.port, CAMERA) for _ in range(6))]
        crawling = [Viewer(settings.view.port, CAMERA, SLOW_BYTES_PER_S) for _ in range(3)]
        time.sleep(SETTLE_S)
        memory = pss_mb(view_pid(settings)) or 0.0
        made, begun = made_pictures(settings), time.monotonic()
        during = rate(quick, seconds)
        made_rate = (made_pictures(settings) - made) / (time.monotonic() - begun)
        grown = (pss_mb(view_pid(settings)) or 0.0) - memory
        lease = read_stats(settings.runtime_dir)["view"]["latency_ms"]["lease"]["max"]
        for viewer in (*quick, *crawling):
            viewer.close()
    return [
        {"figure": "pictures/s of one alone", "median": before},
        {"figure": "pictures/s of the least of seven beside three slow ones", "median": during},
        {"figure": "pictures/s that were made meanwhile", "median": made_rate},
        {"figure": "the least of seven / made meanwhile", "median": during / made_rate},
        {"figure": f"memory of view, growth in {seconds:.0f} s, MB", "median": grown},
        {"figure": "longest lease of a slot, ms", "median": lease},
    ]


def delay(clip: Path, seconds: float, repetitions: int) -> list[dict[str, Any]]:
    """From the capture stamp to the first bytes of the JPEG at a reader, at 30 frames a second."""
    found: dict[str, list[float]] = {"matched": [], "newest": []}
    infer: dict[str, list[float]] = {"matched": [], "newest": []}
    for _ in range(repetitions):
        for mode, values in found.items():
            with watched_node(clip, 30, picture=mode, fps=30) as settings:
                viewer = Viewer(settings.view.port, CAMERA)
                time.sleep(SETTLE_S)
                start = len(viewer.delays_s)
                time.sleep(seconds)
                values.append(report.quantile(viewer.delays_s[start:], 0.5) * 1e3)
                infer[mode].append(stage_ms(settings, "infer"))
                viewer.close()
    rows = [
        {"figure": f"{mode}: {what}, p50 ms", "median": report.median(values)}
        for mode in found
        for what, values in (("capture to reader", found[mode]), ("inference", infer[mode]))
    ]
    beyond = [whole - work for whole, work in zip(found["matched"], infer["matched"], strict=True)]
    return [*rows, {"figure": "matched: beyond inference, p50 ms", "median": report.median(beyond)}]


def rate(viewers: Sequence[Viewer], seconds: float) -> float:
    """Pictures a second of the one that gets the fewest."""
    before = [len(viewer.delays_s) for viewer in viewers]
    begun = time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - begun
    return min((len(viewer.delays_s) - count) / span for viewer, count in zip(viewers, before, strict=True))


def made_pictures(settings: Settings) -> int:
    """Pictures that view has encoded so far, by its report, which is up to a second old."""
    totals = read_stats(settings.runtime_dir)["view"]["totals"]
    return int(totals.get("encoded", 0)) + int(totals.get("video", 0))


def stage_ms(settings: Settings, stage: str) -> float:
    """Median of a stage over the last ten seconds, as the page tells it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.view.port}/api/state", timeout=10) as answer:
        return float(json.load(answer)["cameras"][0]["latency_ms"][stage]["p50"])


def view_pid(settings: Settings) -> int:
    """The process."""
    return int(read_stats(settings.runtime_dir)["view"]["pid"])


def cpu_share(settings: Settings, seconds: float) -> float:
    """CPU time of view in the next seconds, % of one core."""
    pid = view_pid(settings)
    before, begun = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - begun)


def cpu_s(pid: int) -> float:
    """CPU time of a process in seconds; the kernel counts it in nanoseconds for each thread."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    except OSError:  # without schedstat: in ticks of 10 ms
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
