"""What each library costs a process that imports it: memory of its own and milliseconds, each in a new Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from tools.bench import report

# Library, what must be there before it, and who imports it.
LIBRARIES: tuple[tuple[str, str, str], ...] = (
    ("numpy", "sys", "all but the watchdog"),
    ("zmq", "sys", "all"),
    ("msgpack", "sys", "all"),
    ("sqlite3", "sys", "track, publish, view"),
    ("cv2", "numpy", "infer, publish; view while somebody looks"),
    ("onnxruntime", "numpy", "infer"),
    ("av", "numpy", "capture of files and streams; view for RTSP"),
    ("paho.mqtt.client", "sys", "publish"),
    ("starlette.applications, uvicorn", "sys", "view"),
    ("prometheus_client", "sys", "view, when asked for metrics"),
    ("pydantic", "sys", "nobody; it would cost each process this"),
)
PROBE = """
import json, sys, time

def figures():
    rows = (line.split() for line in open("/proc/self/smaps_rollup"))
    sizes = {row[0]: int(row[1]) / 1024 for row in rows if len(row) == 3}
    return sizes["Anonymous:"], sizes["Rss:"] - sizes["Anonymous:"], 1000 * time.perf_counter()

figures()
for name in sys.argv[1].split(", "):
    __import__(name)
before = figures()
for name in sys.argv[2].split(", "):
    __import__(name)
print(json.dumps([after - first for first, after in zip(before, figures())]))
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = report.parser("imports", "memory and time of each library's import")
    options = parser.parse_args(arguments)
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.repetitions):
        for modules, before, _ in LIBRARIES:
            runs.setdefault(modules, []).append(cost(modules, before))
    rows = [{"library": name, **report.medians(runs[name]), "imported by": who} for name, _, who in LIBRARIES]
    report.show("what imports cost", rows, options.json)
    return 0


def cost(modules: str, before: str) -> dict[str, float]:
    """What one import adds: memory of the process alone, of files (shared by all that import it), and time."""
    command = [sys.executable, "-c", PROBE, before, modules]
    told: Sequence[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return dict(zip(("own MB", "of files, shared MB", "ms"), told, strict=True))
