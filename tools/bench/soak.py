"""Hours of a whole node in accelerated life: what drifts? Memory, descriptors, threads, disk, latency."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.settings import Settings
from common.shm import segments
from common.stats import read_stats
from tools.bench import report
from tools.bench.broker import Broker, Subscriber
from tools.bench.comings import write_comings
from tools.bench.control import TOPIC
from tools.bench.drift import plot, slope_per_hour
from tools.bench.private import Ear, demo_clip, private_node
from tools.bench.procfs import bytes_in, parent_of, process_figures

WARM_PART, LEAST_WARM_S = 0.15, 30.0  # of the time counts as warming up
CONTROL_HZ = 2.0
VIEW_EVERY_S, VIEW_S = 60.0, 10.0  # somebody looks at the page now and then
PATHS = ("/", "/api/state", "/api/events", "/metrics", "/snapshot/hall.jpg")
MOST_MB, MOST_LATENCY = 1.0, 5.0  # goals: megabytes an hour, per cent an hour

Sample = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run, tell, and return 0 when nothing drifts beyond the goals."""
    parser = argparse.ArgumentParser(prog="vedette bench soak", description="drift of a whole node over hours")
    parser.add_argument("--hours", type=float, default=1.0, help="how long (default %(default)s)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples (default %(default)s)")
    parser.add_argument("--width", type=int, default=640, help="width of the model's input (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write every sample and the figures here too")
    parser.add_argument("--plot", type=Path, help="draw a PNG here")
    options = parser.parse_args(arguments)
    samples: list[Sample] = []
    for sample in soak(options.hours * 3600, options.every, options.width):
        samples.append(sample)
        if options.json and len(samples) % 30 == 0:  # what there is survives an interruption
            _write(options.json, [], samples)
    rows = judge(samples)
    report.show(f"soak, {samples[-1]['at_s'] / 3600:.2f} h, {len(samples)} samples", rows, None)
    if options.json:
        _write(options.json, rows, samples)
    if options.plot:
        draw(samples, options.plot)
    return 0 if all(row["kept"] == "yes" for row in rows) else 1


def soak(seconds: float, every_s: float, width: int) -> Iterator[Sample]:
    """A sample each few seconds from a new node."""
    with tempfile.TemporaryDirectory(prefix="vd-soak-") as work, contextlib.ExitStack() as stack:
        clip = write_comings(demo_clip(), Path(work) / "comings.mp4")
        broker = stack.enter_context(Broker())
        settings, bus = stack.enter_context(private_node(**settings_tree(clip, width, broker.port)))
        ear = Ear(bus)
        ear.wait(lambda heard: len(heard) > 30)
        ear.close()
        control = stack.enter_context(_control(broker.port, clip, width))
        node_topic = f"{settings.mqtt.base}/{settings.node}/+/tracks"
        heard = {name: Subscriber(broker.port, topic) for name, topic in {"node": node_topic, "control": TOPIC}.items()}
        done = threading.Event()
        stack.callback(done.set)
        for subscriber in heard.values():
            threading.Thread(target=subscriber.run, args=(done,), daemon=True).start()
        threading.Thread(target=_look_now_and_then, args=(settings.view.port, done), daemon=True).start()
        start, due = time.monotonic(), time.monotonic() + every_s
        while time.monotonic() - start < seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            due += every_s
            sample = take_sample(settings, {"control": control.pid})
            sample["latency_ms"] = {name: _median_ms(subscriber) for name, subscriber in heard.items()}
            yield {"at_s": round(time.monotonic() - start, 1), **sample}


def settings_tree(clip: Path, width: int, port: int) -> dict[str, Any]:
    """Many short events, and limits so near that the hour reaches them."""
    return {
        "cameras": {"hall": {"source": f"file:{clip}", "detect_fps": 10}},
        "infer": {"width": width, "workers": 1},
        "mqtt": {"port": port},
        "publish": {"tracks": True, "tracks_hz": 0},
        "track": {"max_age": 8},
        "events": {"reattach_s": 0.3, "update_s": 0.5, "keep_mb": 0.3, "keep_snapshots": 50},
    }


def take_sample(settings: Settings, others: dict[str, int]) -> Sample:
    """Every process and directory of a node as they are now."""
    reports = read_stats(settings.runtime_dir)
    pids = {name: int(row["pid"]) for name, row in reports.items()} | others
    if "track" in pids:
        pids["supervisord"] = parent_of(pids["track"])
    track = reports.get("track", {})
    return {
        "processes": {name: {"pid": pid, **process_figures(pid)} for name, pid in pids.items()},
        "shm_mb": bytes_in(segments(settings.runtime_dir)) / 1e6,
        "state_mb": bytes_in([Path(settings.state_dir)]) / 1e6,
        "runtime_mb": bytes_in([Path(settings.runtime_dir)]) / 1e6,
        "frames": track.get("totals", {}).get("frames", 0),
        "drops": {name: row.get("drops", {}) for name, row in reports.items()},
        "events": reports.get("publish", {}).get("totals", {}).get("events", 0),
    }


def judge(samples: list[Sample]) -> list[dict[str, Any]]:
    """A row for each process, directory and latency: level, drift an hour, and whether the goal is kept."""
    warm_s = warm(samples)
    late = [sample for sample in samples if sample["at_s"] >= warm_s]
    names = dict.fromkeys(name for sample in late for name in sample["processes"])
    rows = [_process_row(name, late) for name in names]
    for name in ("shm_mb", "state_mb", "runtime_mb"):
        drift = _slope(late, [sample[name] for sample in late])
        level = report.median(sample[name] for sample in late)
        rows.append({"what": name, "level": level, "drift/h": drift, "kept": _yes(drift <= MOST_MB)})
    for name in ("node", "control"):
        silent = sum(not sample["latency_ms"][name] for sample in late)
        rows.append({"what": f"samples without a message, {name}", "level": silent, "kept": _yes(not silent)})
    heard = [sample for sample in late if all(sample["latency_ms"].values())]
    ratios = [sample["latency_ms"]["node"] / sample["latency_ms"]["control"] for sample in heard]
    level = report.median(ratios)
    drift = 100 * _slope(heard, ratios) / level
    row = {"what": "latency p50 / control, % an hour", "level": level, "drift/h": drift}
    return [*rows, {**row, "kept": _yes(drift <= MOST_LATENCY)}]


def draw(samples: list[Sample], target: Path) -> None:
    """The plot of a soak."""
    at = [sample["at_s"] for sample in samples]
    names = list(dict.fromkeys(name for sample in samples for name in sample["processes"]))

    def lines(key: str) -> dict[str, tuple[list[float], list[float]]]:
        found = {}
        for name in names:
            rows = [(sample["at_s"], sample["processes"].get(name, {}).get(key)) for sample in samples]
            known = [(second, value) for second, value in rows if value is not None]
            found[name] = ([second for second, _ in known], [value for _, value in known])
        return found

    latency = {name: (at, [sample["latency_ms"][name] for sample in samples]) for name in ("node", "control")}
    places = ("shm_mb", "state_mb", "runtime_mb")
    panels = {
        "USS, MB": lines("uss_mb"),
        "PSS, MB": lines("pss_mb"),
        "descriptors": lines("descriptors"),
        "threads": lines("threads"),
        "files, MB": {name: (at, [sample[name] for sample in samples]) for name in places},
        "p50 to MQTT, ms": latency,
    }
    plot(panels, f"Soak of a whole node, {at[-1] / 3600:.2f} h", warm(samples), target)


def warm(samples: list[Sample]) -> float:
    """Seconds that count as warming up."""
    return max(LEAST_WARM_S, float(samples[-1]["at_s"]) * WARM_PART)


def _process_row(name: str, late: list[Sample]) -> dict[str, Any]:
    rows = [(sample["at_s"], sample["processes"][name]) for sample in late if "uss_mb" in sample["processes"][name]]
    at = [second for second, _ in rows]
    drift = {key: slope_per_hour(at, [row[key] for _, row in rows]) for key in ("uss_mb", "pss_mb", "rss_mb")}
    quarter = max(1, len(rows) // 4)
    leaked = {
        key: report.median(row[key] for _, row in rows[-quarter:])
        - report.median(row[key] for _, row in rows[:quarter])
        for key in ("descriptors", "threads")
    }
    restarts = len({row["pid"] for _, row in rows}) - 1
    kept = max(drift["uss_mb"], drift["pss_mb"]) <= MOST_MB and not leaked["descriptors"] and not restarts
    return {
        "what": name,
        "level": report.median(row["pss_mb"] for _, row in rows),
        "drift/h": drift["pss_mb"],
        "USS drift/h": drift["uss_mb"],
        "RSS drift/h": drift["rss_mb"],
        "descriptors": f"{report.median(row['descriptors'] for _, row in rows):.0f} {leaked['descriptors']:+.0f}",
        "threads": f"{report.median(row['threads'] for _, row in rows):.0f} {leaked['threads']:+.0f}",
        "restarts": restarts,
        "kept": _yes(kept),
    }


def _slope(late: list[Sample], values: list[float]) -> float:
    return slope_per_hour([sample["at_s"] for sample in late], values)


def _yes(kept: bool) -> str:
    return "yes" if kept else "no"


def _median_ms(subscriber: Subscriber) -> float:
    """Median age of what was heard since the last call; 0 when that was nothing, which is told as a fault."""
    heard, subscriber.heard = subscriber.heard, []
    if not heard:
        return 0.0
    return round(report.median((arrived - captured) / 1e6 for captured, arrived in heard), 3)


@contextlib.contextmanager
def _control(port: int, clip: Path, width: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tools.bench.control", str(port), str(clip), str(width), str(CONTROL_HZ)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _look_now_and_then(port: int, done: threading.Event) -> None:
    """Somebody opens the page for some seconds, then closes it."""
    while not done.wait(VIEW_EVERY_S):
        with contextlib.suppress(OSError, http.client.HTTPException):
            for path in PATHS:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as page:
                    page.request("GET", path)
                    page.getresponse().read()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as stream:
                stream.request("GET", "/stream/hall.mjpg")
                answer, end = stream.getresponse(), time.monotonic() + VIEW_S
                while time.monotonic() < end and answer.read(16_384):
                    pass


def _write(target: Path, rows: list[dict[str, Any]], samples: list[Sample]) -> None:
    tree = {"title": "soak", "machine": report.machine(), "rows": rows, "samples": samples}
    target.write_text(json.dumps(tree) + "\n")
