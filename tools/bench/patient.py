"""A whole node under ill-treatment: what is done to it, how soon it is well again, and what it must never do."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.bus import Bus
from common.config import check
from common.eventlog import Event, EventLogReader
from common.settings import Settings
from common.shm import segments
from common.stats import read_stats
from common.wire import TrackFrame
from tools.bench.badline import BadLine
from tools.bench.crowd import source, who_is_who, write_crowd
from tools.bench.outage import Outage
from tools.bench.private import demo_clip, free_port, well
from tools.bench.procfs import children_of, parent_of, process_figures, state_of
from tools.bench.waiting import until
from tools.bench.witness import broken_lives
from tools.supervisor.node import node

CAMERA = "hall"
LOOK_S = 0.05  # the pace of looking at the processes
ZOMBIE_S = 3.0  # supervisord collects its dead children within so long
MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Wound:
    """Something that was done to a process."""

    name: str
    kind: str
    pid: int
    at_s: float


@dataclass(slots=True)
class Findings:
    """What an observer saw: births of processes, zombies, and who was who in each frame."""

    births: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    zombies: Counter[int] = field(default_factory=Counter)
    frames: list[tuple[float, dict[int, int]]] = field(default_factory=list)


class Patient:
    """A running node with four faces that stay in view, and observers of it."""

    def __init__(self, settings: Settings, directory: Path, outage: Outage, path: str) -> None:
        self.settings, self.directory, self.outage, self._path = settings, directory, outage, path
        self.wounds: list[Wound] = []
        self.findings = Findings()
        self._done = threading.Event()
        self.supervisor = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._listen)]

    def begin(self, seconds: float = 60.0) -> None:
        """Begin to observe; returns when every process is well and every face is shown."""
        for thread in self._threads:
            thread.start()
        until(lambda: self.findings.frames and len(self.findings.frames[-1][1]) == 4, seconds, "four faces")
        until(lambda: len(self.pids()) == len(self.names()), seconds, "every process")
        self.supervisor = parent_of(self.pids()["track"])

    def names(self) -> list[str]:
        """Every process, as the settings say."""
        workers = [f"infer:{index}" for index in range(self.settings.infer.workers)]
        return ["watchdog", "track", "publish", "view", *workers, f"capture:{CAMERA}"]

    def pids(self) -> dict[str, int]:
        """Process id of everything that says it is well."""
        return well(self.settings)

    def hurt(self, name: str, number: signal.Signals, kind: str = "") -> Wound | None:
        """Send a signal to a process; None when it is not there now."""
        pid = int(read_stats(self.settings.runtime_dir).get(name, {}).get("pid", 0))
        if not pid or state_of(pid) in {"", "Z"}:
            return None
        wound = Wound(name, kind or number.name, pid, time.monotonic())
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        self.wounds.append(wound)
        return wound

    def recovery_s(self, wound: Wound) -> float | None:
        """Seconds until a successor said that it is well; None: never."""
        later = [at for at, pid in self.findings.births[wound.name] if at > wound.at_s and pid != wound.pid]
        return later[0] - wound.at_s if later else None

    def flow_s(self, wound: Wound) -> float | None:
        """Seconds until tracks of a frame that was captured after the wound were heard."""
        at = [captured for captured, _ in self.findings.frames]
        index = bisect_right(at, wound.at_s)
        return at[index] - wound.at_s if index < len(at) else None

    def kept_ids(self, wound: Wound) -> tuple[int, int]:
        """How many faces had their id still before the next wound, of how many that were shown before and after.

        Nobody stayed in view of a node that was blind already, because of what had been done to it before.
        """
        if self.blind(wound):
            return 0, 0
        later = [other.at_s for other in self.wounds if other.at_s > wound.at_s]
        frames = self.findings.frames
        at = [captured for captured, _ in frames]
        first, last = bisect_right(at, wound.at_s) - 1, bisect_right(at, min([*later, wound.at_s + 4.0])) - 1
        if first < 0 or last <= first:
            return 0, 0
        before, after = frames[first][1], frames[last][1]
        both = before.keys() & after.keys()
        return sum(before[face] == after[face] for face in both), len(both)

    def blind(self, wound: Wound) -> bool:
        """True when no picture could be looked at just before: the camera's process or every worker was away."""
        away = {
            other.name
            for other in self.wounds
            if other.at_s < wound.at_s and other.at_s + (self.recovery_s(other) or 0.0) > wound.at_s
        }
        workers = {name for name in self.names() if name.startswith("infer:")}
        return f"capture:{CAMERA}" in away or workers <= away

    def rows(self) -> list[Event]:
        """The event log as it is now."""
        reader = EventLogReader(self.settings.state_dir)
        try:
            return reader.after(0, MOST_ROWS)
        finally:
            reader.close()

    def calm(self, seconds: float = 60.0) -> None:
        """Switch the camera off; returns when every face has ended and everything was told."""
        switch = f"{self.settings.mqtt.base}/{self.settings.node}/{CAMERA}/enabled"
        until(lambda: len(self.pids()) == len(self.names()), seconds, "every process well again")

        def off() -> bool:
            self.outage.witness.say(f"{switch}/set", "OFF")
            return bool(self.outage.witness.newest.get(f"{switch}/state") == b"OFF")

        until(off, seconds, "the camera is switched off")
        until(lambda: not broken_lives(map(as_row, self.rows()), ended=True), seconds, "every face has ended")
        until(lambda: not self.untold(), seconds, "everything was told")

    def untold(self) -> set[tuple[str, int]]:
        """Rows of the log that the witness has not heard."""
        heard = {(row["id"], row["seq"]) for row in list(self.outage.witness.events)}
        return {(row.id, row.seq) for row in self.rows()} - heard

    def complaints(self) -> list[str]:
        """Everything that must never be: broken lives in the log or at the witness, untold rows, zombies."""
        wrong = [f"log: {text}" for text in broken_lives(map(as_row, self.rows()), ended=True)]
        wrong += [f"MQTT: {text}" for text in broken_lives(list(self.outage.witness.events), ended=True)]
        wrong += [f"not told: {key}" for key in self.untold()]
        wrong += [f"zombie {pid}" for pid, looks in self.findings.zombies.items() if looks * LOOK_S > ZOMBIE_S]
        return wrong

    def memory_mb(self) -> dict[str, float]:
        """Unique memory by process."""
        pids = self.pids() | {"supervisord": self.supervisor}
        return {name: process_figures(pid).get("uss_mb", 0.0) for name, pid in pids.items()}

    def stop_observing(self) -> None:
        """End the observers."""
        self._done.set()
        for thread in self._threads:
            thread.join(5)

    def _watch(self) -> None:
        while not self._done.wait(LOOK_S):
            now = time.monotonic()
            for name, pid in self.pids().items():
                births = self.findings.births[name]
                if not births or births[-1][1] != pid:
                    births.append((now, pid))
            if self.supervisor:
                dead = {pid for pid in children_of(self.supervisor) if state_of(pid) == "Z"}
                for pid in dead:
                    self.findings.zombies[pid] += 1

    def _listen(self) -> None:
        with Bus(self.settings.runtime_dir) as bus:
            tracks = bus.subscriber("tracks")
            while not self._done.is_set():
                bus.wait(100, tracks)
                for frame in tracks.drain():
                    self._note(frame)

    def _note(self, frame: TrackFrame) -> None:
        captured_s = frame.frame.captured_ns / 1e9
        if frame.frame.camera == CAMERA and (not self.findings.frames or captured_s > self.findings.frames[-1][0]):
            self.findings.frames.append((captured_s, who_is_who(frame, self._path)))


def as_row(event: Event) -> dict[str, Any]:
    """An event of the log as `broken_lives` takes it."""
    return {"id": event.id, "seq": event.seq, "type": event.type}


@contextlib.contextmanager
def patient(path: str = "pan", line: BadLine | None = None, **tree: Any) -> Iterator[Patient]:
    """A node with a broker (at the far end of a line), a witness and observers; everything is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="vd-") as name, Outage(line) as outage:
        directory = Path(name)
        directory.chmod(0o700)
        photo = write_crowd(demo_clip(), directory / "crowd.png")
        tree.setdefault("cameras", {CAMERA: {"source": source(photo, path)}})
        tree.setdefault("infer", {"width": 320, "workers": 2})
        tree.setdefault("view", {})["port"] = free_port()
        tree.setdefault("publish", {"stats_s": 1})
        tree["mqtt"] = {"host": outage.host, "port": outage.port}
        settings = check({"runtime_dir": str(directory / "run"), "state_dir": str(directory / "state"), **tree})
        made = Patient(settings, directory, outage, path)
        with node(settings, directory):
            try:
                made.begin()
                yield made
            finally:
                made.stop_observing()


def leftovers(settings: Settings) -> list[str]:
    """What a node that has ended must not leave: segments, processes, sockets somebody listens on."""
    from tools.supervisor.node import services_of

    left = [f"segment {path.name}" for path in segments(settings.runtime_dir)]
    left += [f"process {pid}" for pid in services_of(settings)]
    listening = Path("/proc/net/unix").read_text()
    left += [
        f"socket {path.name}"
        for path in Path(settings.runtime_dir).rglob("*")
        if path.is_socket() and str(path) in listening
    ]
    return left
