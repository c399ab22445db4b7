"""Files that a power cut or a person left behind: settings, manifests, checkpoints, switches, the event log."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgpack

from common import config
from common.controls import controls_path, load_controls
from common.errors import ConfigError, DeviceError
from common.eventdb import FILE, Event
from common.eventlog import EventLogReader, EventLogWriter
from common.settings import EventSettings, Settings
from common.shm import SHM
from common.stats import read_stats, stats_path
from services.infer.manifest import read_manifest
from services.publish.events import Position
from services.track.checkpoint import Checkpoint
from tools.fuzz.targets import Target

CAMERA = {"door": {"source": "pattern:64x64@5"}}


def _place() -> tuple[Path, Settings, Callable[[], None]]:
    logging.disable(logging.CRITICAL)  # a warning for each of a million files
    folder = Path(tempfile.mkdtemp(prefix="vedette-fuzz-", dir=SHM))
    node = config.check({"cameras": CAMERA, "runtime_dir": str(folder / "run"), "state_dir": str(folder / "state")})
    for made in (folder / "run" / "stats", folder / "state"):
        made.mkdir(parents=True)
    return folder, node, lambda: shutil.rmtree(folder, ignore_errors=True)


def settings() -> Target:
    """`vedette.yml`: settings, or ConfigError that names what is wrong."""
    folder, _, close = _place()
    path = folder / "vedette.yml"

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        try:
            config.load(path)
        except ConfigError:
            return

    small = b'node: hall\ncameras:\n  door: {source: "still:a.jpg", zones: {porch: [[0, 0], [1, 0], [1, 1]]}}\n'
    return Target(feed, [small, b"infer: {workers: 2}\nprocesses: {track: {cores: [0]}}\n" + small], close)


def manifest() -> Target:
    """`models.toml` or the sidecar of a user's model."""
    folder, _, close = _place()
    path = folder / "models.toml"

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read_manifest(path)
        except ConfigError:
            return

    seed = b'[face]\nfile = "face.onnx"\ndecoder = "yunet"\nlicence = "MIT"\n[face.input]\nmean = [0, 0, 0]\n'
    return Target(feed, [seed], close)


def checkpoint() -> Target:
    """Track's checkpoint: cameras, or nothing."""
    folder, _, close = _place()
    kept = Checkpoint(folder, "boot", "face")
    path = folder / "track.checkpoint"

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        assert isinstance(kept.load(), dict)

    seed = msgpack.packb({"version": 1, "boot_id": "boot", "mode": "face", "cameras": {"door": {"faces": []}}})
    return Target(feed, [seed], close)


def switches() -> Target:
    """The switches that outlive a restart, and a process's report."""
    _, node, close = _place()

    def feed(data: bytes) -> None:
        controls_path(node).write_bytes(data)
        row = load_controls(node)["door"]
        assert isinstance(row.enabled, bool)
        assert math.isfinite(row.detect_fps)
        stats_path(node.runtime_dir, "track").write_bytes(data)
        assert all(isinstance(report, dict) for report in read_stats(node.runtime_dir).values())

    seed = json.dumps({"door": {"enabled": True, "detect_fps": 2.0, "privacy": False}, "name": "track"}).encode()
    odd = [b'{"door": {"detect_fps": %s}}' % value for value in (b"1e999", b"NaN", b"-1", b"9" * 400, b'"x"')]
    return Target(feed, [seed, *odd, b'{"door":' * 2000], close)


def publish_mark() -> Target:
    """How far publish got: a row of the log, or the beginning."""
    folder, _, close = _place()
    path = folder / "position.json"

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        assert Position(path).rowid >= 0

    return Target(feed, [b'{"rowid": 12, "event_id": "01J0000000000000000000TEST"}'], close)


def event_log() -> Target:
    """An event log of any bytes: it is read, or set aside and begun anew; a new event can be written either way."""
    _, node, close = _place()
    state = Path(node.state_dir)
    path = state / FILE
    limits = EventSettings()
    writer = EventLogWriter(state, limits)
    writer.append([_event()])
    writer.close()
    good = path.read_bytes()

    def feed(data: bytes) -> None:
        for left in state.iterdir():
            left.unlink()
        path.write_bytes(good[: 2 * len(good) // 3] + data if data[:1] == b"\xff" else data)
        try:
            log = EventLogWriter(state, limits)
        except (ConfigError, DeviceError):
            return
        try:
            log.append([_event()])
        except DeviceError:  # damage found on the way: a new log is begun, and the caller writes again
            log.append([_event()])
        finally:
            log.close()
        reader = EventLogReader(state)
        assert reader.latest(1)[0].camera == "door"
        reader.close()

    return Target(feed, [good, good[:4096], b""], close)


def _event() -> Event:
    box = (0.1, 0.2, 0.3, 0.4)
    return Event(
        0, "01J0000000000000000000TEST", 0, "start", "door", 1, time.time_ns(), 1, "boot", box, 0.9, 0.9, 0.0, ()
    )
