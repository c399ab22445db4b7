"""How a node is: its processes and cameras, whether it is up or not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common.bus import Bus
from common.errors import DeviceError
from common.settings import Settings
from common.stats import pss_mb, read_stats
from common.supervisor import ProgramInfo, Supervisor, read_watchdog
from common.version import VERSION
from common.wire import CameraState
from tools.supervisor.node import running_members

SILENT_S = 5.0  # a report older than this is of a process that hangs or is gone
HEAR_S = 1.3  # capture tells its state once a second


def node_status(settings: Settings, *, cameras: bool = True) -> dict[str, Any]:
    """The answer of `vedette status --json`; without `cameras` it need not wait for what they tell."""
    supervisor = Supervisor(settings.runtime_dir, timeout_s=5)
    try:
        programs = {row.program: row for row in supervisor.programs()}
        pid = supervisor.pid()
    except DeviceError:
        programs, pid = {}, 0
    reports = read_stats(settings.runtime_dir)
    notes = read_watchdog(settings.runtime_dir)
    names = running_members(settings)
    processes = [
        _process(name, programs.get(name.replace(":", "-", 1)), reports.get(name, {}), notes.get(name, {}))
        for name in names
    ]
    own = pss_mb(pid) if pid else None
    return {
        "node": settings.node,
        "version": VERSION,
        "state": "up" if pid else "down",
        "supervisor": {"pid": pid or None, "pss_mb": own},
        "total_pss_mb": round(sum(row["pss_mb"] or 0 for row in processes) + (own or 0), 1),
        "processes": processes,
        "cameras": _cameras(settings, up=bool(pid)) if cameras else [],
    }


def _process(name: str, row: ProgramInfo | None, report: dict[str, Any], note: dict[str, Any]) -> dict[str, Any]:
    """One process: what supervisord says of it, and what it says of itself when that is still true."""
    up = row is not None and row.pid > 0
    fresh = up and row is not None and report.get("pid") == row.pid
    reason = report.get("reason", "") if fresh else note.get("reason", "")
    return {
        "name": name,
        "pid": row.pid if row and up else None,
        "state": row.state if row else "STOPPED",
        "restarts": int(note.get("restarts", 0)),
        "cpu_percent": report.get("cpu_percent") if fresh else None,
        "pss_mb": pss_mb(row.pid) if row and up else None,
        "doing": (report.get("state", "") if _alive(report) else "silent") if fresh else "",
        "reason": reason,
        "last_end": note.get("reason", ""),
        "threads": report.get("threads") if fresh else None,
        "rates": report.get("rates", {}) if fresh else {},
        "latency_ms": report.get("latency_ms", {}) if fresh else {},
        "drops": report.get("drops", {}) if fresh else {},
    }


def _cameras(settings: Settings, *, up: bool) -> list[dict[str, Any]]:
    """Every camera, as its process and track tell on the bus: each says so at least once a second."""
    states: dict[str, CameraState] = {}
    faces: dict[str, int] = {}
    if up:
        with Bus(settings.runtime_dir) as bus:
            cameras, tracks = bus.subscriber("camera", settings.cameras), bus.subscriber("tracks")
            deadline = time.monotonic() + HEAR_S
            while len(states) < len(settings.cameras) and (left := deadline - time.monotonic()) > 0:
                bus.wait(int(left * 1000) + 1, cameras)
                states |= {state.camera: state for state in cameras.drain()}
            faces = {frame.frame.camera: int(frame.shown.sum()) for frame in tracks.drain()}
    return [_camera(name, states.get(name), faces.get(name, 0)) for name in settings.cameras]


def _camera(name: str, state: CameraState | None, faces: int) -> dict[str, Any]:
    if state is None:
        return {"name": name, "status": "offline", "fps": 0.0, "faces": 0, "reason": "its process does not answer"}
    online = state.status == "online"
    return {
        "name": name,
        "status": state.status,
        "fps": round(state.fps, 2),
        "faces": faces if online else 0,
        "reason": state.reason,
        "width": state.width,
        "height": state.height,
    }


def _alive(report: dict[str, Any]) -> bool:
    """True when a report is fresh and its process lives."""
    age_s = (time.monotonic_ns() - int(report.get("beat_ns", 0))) / 1e9
    return 0 <= age_s < SILENT_S and Path(f"/proc/{report.get('pid', 0)}").exists()
