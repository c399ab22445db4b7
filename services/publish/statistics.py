"""The numbers of the node, gathered by a thread of its own: reading them may take a while."""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.pulse import Pulse
from common.stats import pss_mb, read_stats
from common.supervisor import read_watchdog
from common.version import VERSION
from services.publish.events import rfc3339
from services.publish.payloads import CameraStats, ProcessStats, StatsPayload

SILENT_S = 5.0  # a report older than this is of a process that is gone or hangs
POWER_S = 2.0  # for the firmware's answer

log = logging.getLogger(__name__)


class Collector:
    """Builds the payload of the `stats` topic every few seconds."""

    def __init__(
        self,
        runtime_dir: Path,
        node: str,
        period_s: float,
        cameras: Callable[[], dict[str, CameraStats]],
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse or Pulse("statistics", SILENT_S)
        self._runtime_dir, self._node, self._period_s, self._cameras = runtime_dir, node, period_s, cameras
        self._started = time.monotonic()
        self._ready: StatsPayload | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="statistics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False when the thread has ended, which it must not before `close`."""
        return self._thread.is_alive()

    def take(self) -> StatsPayload | None:
        """The newest payload, once."""
        ready, self._ready = self._ready, None
        return ready

    def close(self) -> None:
        """End the thread."""
        self._end.set()

    def gather(self) -> StatsPayload:
        """Everything as it is now."""
        ends = read_watchdog(self._runtime_dir)
        rows = {
            name: _process(report, ends.get(name, {})) for name, report in sorted(read_stats(self._runtime_dir).items())
        }
        return {
            "v": 1,
            "node": self._node,
            "version": VERSION,
            "time": rfc3339(time.time_ns()),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "latency_p99_ms": _latency_p99_ms(rows),
            "cpu_percent": round(sum(row["cpu_percent"] or 0 for row in rows.values()), 1),
            "memory_mb": round(sum(row["pss_mb"] or row["rss_mb"] or 0 for row in rows.values()), 1),
            "temperature_c": temperature_c(),
            "power_w": power_w(),
            "cameras": self._cameras(),
            "processes": rows,
        }

    def _work(self) -> None:
        while not self._end.wait(self._period_s):
            with self._pulse.work():
                try:
                    self._ready = self.gather()
                except OSError as error:  # no descriptor is free, or /proc is not there for a moment
                    log.warning("statistics not gathered error=%s", error)


def _process(report: dict[str, Any], end: dict[str, Any]) -> ProcessStats:
    """One process: its own report, and what the watchdog noted of its ends."""
    silent = time.monotonic_ns() - int(report.get("beat_ns", 0)) > SILENT_S * 1e9
    return {
        "state": "silent" if silent else str(report.get("state", "")),
        "reason": str(report.get("reason", "")),
        "fps": report.get("rates", {}).get("frames"),
        "latency_ms": report.get("latency_ms", {}),
        "totals": report.get("totals", {}),
        "drops": report.get("drops", {}),
        "gauges": report.get("gauges", {}),
        "cpu_percent": report.get("cpu_percent"),
        "rss_mb": report.get("rss_mb"),
        "pss_mb": pss_mb(int(report["pid"])),
        "restarts": int(end.get("restarts", 0)),
        "last_end": str(end.get("reason", "")),
    }


def _latency_p99_ms(rows: dict[str, ProcessStats]) -> float | None:
    """From capture to the broker's socket where tracks are told, else from capture to the faces of that frame."""
    for process, name in (("publish", "publish"), ("track", "age")):
        row = rows.get(process)
        if row is not None and name in row["latency_ms"]:
            return row["latency_ms"][name]["p99"]
    return None


def temperature_c(root: Path = Path("/sys/class/thermal")) -> float | None:
    """Warmest thermal zone in degrees Celsius; None where the machine has none."""
    values = []
    for path in root.glob("thermal_zone*/temp"):
        try:
            values.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return round(max(values), 1) if values else None


def power_w() -> float | None:
    """Power that the board draws as its firmware measures it, in watts; None where it does not."""
    tool = shutil.which("vcgencmd")
    if tool is None:
        return sensor_power_w()
    try:
        answer = subprocess.run([tool, "pmic_read_adc"], capture_output=True, text=True, timeout=POWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_power(answer.stdout)


def sensor_power_w(root: Path = Path("/sys/class/hwmon")) -> float | None:
    """Power that sensors of the board or of its supply measure (INA219 and its like), in watts; None without one."""
    values: list[int] = []
    for folder in sorted(root.glob("hwmon*")):
        paths = sorted(folder.glob("power*_input")) or sorted(folder.glob("power*_average"))
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                values.append(int(path.read_text()))
    return round(sum(values) / 1e6, 2) if values else None


def parse_power(text: str) -> float | None:
    """Sum of current times voltage over the rails in the answer of `vcgencmd pmic_read_adc`.

    Args:
        text: Lines like `3V7_WL_SW_A current(0)=0.10643870A` and `3V7_WL_SW_V volt(8)=3.65943800V`.
    """
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" ")
        try:
            values[name] = float(rest.rpartition("=")[2].rstrip("AV"))
        except ValueError:
            continue
    rails = [name.removesuffix("_A") for name in values if name.endswith("_A") and f"{name[:-1]}V" in values]
    return round(sum(values[f"{rail}_A"] * values[f"{rail}_V"] for rail in rails), 2) if rails else None
