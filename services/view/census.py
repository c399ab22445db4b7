"""How the node is, for `/api/state`: cameras, processes, switches."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.drawing.scene import Scene
from common.drawing.stages import STAGES
from common.fleet import Member, members
from common.settings import Settings
from common.stats import pss_mb, read_json, read_stats
from common.supervisor import read_watchdog
from common.version import VERSION
from services.view.desk import Desk
from services.view.history import History

FRESH_S = 0.5  # an answer is given to everybody who asks within this time
PSS_S = 5.0  # the kernel walks the pages of a process for this number
SILENT_S = 4.0

# What one number says most about a process: its rate and its latency, by their names in the reports.
RATES = {
    "capture": "frames",
    "infer": "frames",
    "track": "frames",
    "publish": "messages",
    "view": "encoded",
    "screen": "shown",
}
LATENCIES = {
    "capture": "capture",
    "infer": "infer",
    "track": "track",
    "publish": "publish",
    "view": "send",
    "screen": "show",
}


class Census:
    """Gathers the state; used by one thread."""

    def __init__(self, settings: Settings, desk: Desk, history: History) -> None:
        self._settings, self._desk, self._history = settings, desk, history
        self._runtime_dir = Path(settings.runtime_dir)
        self._started = time.time()
        self._pss: dict[int, tuple[float, float | None]] = {}
        self._ready: tuple[float, dict[str, Any]] = (0.0, {})

    def state(self) -> dict[str, Any]:
        """Everything as plain values; at most half a second old."""
        made_at, state = self._ready
        if not state or time.monotonic() - made_at > FRESH_S:
            state = self._gather()
            self._ready = (time.monotonic(), state)
        return state

    def _gather(self) -> dict[str, Any]:
        away = self._desk.switches_away()
        return {
            "v": 1,
            "node": self._settings.node,
            "version": VERSION,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "started": round(self._started, 3),
            "stages": list(STAGES),
            "cameras": [self._camera(name, scene) for name, scene in self._desk.scenes.items()],
            "processes": self.processes(),
            "controls": {"available": not away, "reason": "publish is away: switches do not work now" if away else ""},
            "rtsp": self._desk.rtsp.summary() if self._desk.rtsp is not None else None,
            "events": {"rowid": self._history.last_rowid()},
        }

    def processes(self) -> list[dict[str, Any]]:
        """Every process that should run, and every other one that reports."""
        reports, ends = read_stats(self._runtime_dir), read_watchdog(self._runtime_dir)
        settings = self._settings
        rows = members(settings.cameras, settings.infer.workers, settings.optional)
        known = {row.name for row in rows}
        more = members(settings.cameras, settings.infer.max_workers)
        rows += [row for row in more if row.name in reports and row.name not in known]
        return [self._process(row, reports.get(row.name), ends.get(row.name, {})) for row in rows]

    def _camera(self, name: str, scene: Scene) -> dict[str, Any]:
        condition, state, control = scene.condition(), scene.state, scene.control
        online = condition.status == "online"
        return {
            "name": name,
            "status": condition.status,
            "reason": condition.reason,
            "fps": round(state.fps, 1) if state and online else 0.0,
            "nominal_fps": round(state.nominal_fps, 1) if state else 0.0,
            "detected_fps": scene.stages.rate("infer"),
            "width": state.width if state else 0,
            "height": state.height if state else 0,
            "faces": scene.faces if online else 0,
            "viewers": self._desk.channels[name].viewers,
            "latency_ms": scene.stages.summary(),
            "controls": {
                "enabled": control.enabled,
                "detect_fps": control.detect_fps,
                "privacy": control.privacy,
            },
            "zones": {key: list(map(list, zone)) for key, zone in self._settings.cameras[name].zones.items()},
        }

    def _process(self, member: Member, report: dict[str, Any] | None, end: dict[str, Any]) -> dict[str, Any]:
        family = member.process.family
        row: dict[str, Any] = {
            "name": member.name,
            "family": family,
            "purpose": member.process.purpose,
            "pid": None,
            "state": "away",
            "reason": str(end.get("reason") or self._last_words(member.name)),
            "restarts": int(end.get("restarts") or 0),
            "last_end": str(end.get("reason") or ""),
        }
        if report is None:
            return row
        alive, silent_s = _alive(report), (time.monotonic_ns() - int(report.get("beat_ns", 0))) / 1e9
        if not alive:
            return row
        row["pid"] = report["pid"]
        row["state"], row["reason"] = str(report.get("state", "")), str(report.get("reason", ""))
        if silent_s > max(SILENT_S, float(report.get("hang_s", 0))):
            row["state"], row["reason"] = "silent", f"no sign of life for {silent_s:.0f} s"
        row |= {key: report.get(key) for key in ("cpu_percent", "rss_mb", "threads", "core")}
        row |= {key: report.get(key, {}) for key in ("rates", "totals", "latency_ms", "drops", "gauges")}
        row["pss_mb"] = self._memory(int(report["pid"]))
        row["rate"] = row["rates"].get(RATES.get(family, ""))
        row["latency"] = row["latency_ms"].get(LATENCIES.get(family, ""))
        return row

    def _last_words(self, name: str) -> str:
        """Why the process ended last, as it wrote itself."""
        return str(read_json(self._runtime_dir / "exits" / f"{name}.json").get("reason", ""))

    def _memory(self, pid: int) -> float | None:
        read_at, value = self._pss.get(pid, (float("-inf"), None))
        if time.monotonic() - read_at > PSS_S:
            value = pss_mb(pid)
            self._pss = {key: old for key, old in self._pss.items() if time.monotonic() - old[0] < 4 * PSS_S}
            self._pss[pid] = (time.monotonic(), value)
        return value


def _alive(report: dict[str, Any]) -> bool:
    """True when the process that wrote the report still runs."""
    try:
        stat = Path(f"/proc/{int(report['pid'])}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
