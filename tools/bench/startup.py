"""From `vedette up` to the first tracks, and where the time goes: what Python, the imports and the model take."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.bus import Bus
from common.config import child_environment
from common.errors import DeviceError
from tools.bench import report
from tools.bench.private import demo_clip, free_port

DEADLINE_S = 60.0
SERVICES = ("capture", "infer", "track", "publish", "view", "watchdog")
IMPORTS = {"infer": "services.infer.detector", "capture": "services.capture.file"}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("startup", "`vedette up` to the first tracks, and import times")
    parser.add_argument("--source", help="camera source (default: the demo's clip)")
    options = parser.parse_args(arguments)
    source = options.source or f"file:{demo_clip()}"
    runs: list[float] = []
    imports: dict[str, list[float]] = {}
    for _ in range(options.repetitions):
        runs.append(first_track_s(source))
        for name, module in (("python alone", ""), *((f"import {name}", _module(name)) for name in SERVICES)):
            imports.setdefault(name, []).append(import_s(module))
    rows = [{"what": "vedette up to first tracks", "seconds": report.median(runs), "goal": 2.5}]
    rows += [{"what": name, "seconds": report.median(values)} for name, values in imports.items()]
    report.show("start-up", rows, options.json)
    return 0


def _module(name: str) -> str:
    return f"services.{name}.service, {IMPORTS.get(name, 'sys')}"


def import_s(modules: str) -> float:
    """Seconds of a Python that imports this and ends."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {modules or 'sys'}"], check=True)
    return time.monotonic() - start


def first_track_s(source: str) -> float:
    """Seconds from the start of the command to the first message of track."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))
    run = directory / "run"
    tree = {"runtime_dir": str(run), "state_dir": str(directory / "state"), "mqtt": {"port": 1}}
    tree |= {"view": {"port": free_port()}, "cameras": {"clip": {"source": source}}}
    (directory / "vedette.yml").write_text(json.dumps(tree))  # JSON is YAML
    with Bus(run) as bus:
        tracks = bus.subscriber("tracks")
        command = [sys.executable, "-m", "tools.cli.main", "-c", str(directory / "vedette.yml"), "up"]
        start_ns = time.monotonic_ns()
        child = subprocess.Popen(command, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not bus.wait(int(DEADLINE_S * 1000), tracks):
                raise DeviceError(f"no tracks within {DEADLINE_S:g} s")
            first_ns = int(tracks.drain(1)[0].tracked_ns)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)
            shutil.rmtree(directory, ignore_errors=True)
    return (first_ns - start_ns) / 1e9
