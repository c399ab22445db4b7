"""The watchdog's loop: hear of state changes, kill what hangs, revive what was given up."""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

from common.config import supervised
from common.errors import ConfigError, DeviceError
from common.fleet import FLEET
from common.heartbeat import DUMP_SIGNAL, Beat, is_stopped, read_beats
from common.service import HANG_S, Service
from common.shm import remove_segments
from common.silence import Silence
from common.stats import write_json
from common.supervisor import ProgramInfo, Supervisor
from services.watchdog.ledger import KILLED, Ledger
from services.watchdog.listener import Listener, StateChange

LOOK_S = 0.5
STOPPED_LOOKS = 3  # in a row that a process is found stopped: somebody may hold it for a moment
START_S = 30.0  # from its start to its first sign of life: Python on a slow card takes its time
LATE_S = 2.0  # a watchdog that was itself held up for so long judges nobody in this round
DUMP_S = 0.1  # for the stacks of a hung process to reach its log
STDIN = 0
WAIT_S = 0.2  # the heartbeat wants a round that often
LAST_BYTES = 8000  # of a log: a stack dump with some threads
ORDINARY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} [A-Z]+ ")  # how a line of ours begins

log = logging.getLogger(__name__)


class Watchdog:
    """Watches the other processes of the node."""

    def __init__(self, service: Service, supervisor: Supervisor) -> None:
        self._service, self._supervisor = service, supervisor
        self._ledger = Ledger(service.runtime_dir)
        self._looked = time.monotonic()
        self._caught_up = False
        self._running: dict[str, tuple[int, float]] = {}  # process id, and since when it runs
        self._stopped: Counter[str] = Counter()
        self._silences: defaultdict[str, Silence] = defaultdict(Silence)
        self._escaped: set[str] = set()  # to be held back, but not running when that was tried

    def catch_up(self) -> None:
        """Hear what runs, and what was given up, before we listened."""
        programs = self._programs_now()
        self._caught_up = bool(programs)
        for program in programs:
            name = process_name(program.program)
            if name is not None and (
                program.state == "FATAL" or (program.state == "STOPPED" and self._ledger.held(name))
            ):
                self._give_up(name)
            elif name is not None and program.state == "RUNNING":
                self._running.setdefault(name, (program.pid, time.monotonic()))

    def follow(self, change: StateChange) -> None:
        """Note a state change, and plan a revival where it calls for one."""
        name = process_name(change.program)
        if name is None or name == self._service.name:  # our predecessor's end: the ledger found its reason already
            return
        match change.state:
            case "STARTING":
                self._ledger.started(name, change.before)
                if name in self._escaped:
                    self._hold(name)
            case "RUNNING":
                self._running[name] = (change.pid, time.monotonic())
                if name not in self._ledger.due or not self._is_down(change.program):  # else it ran before we held it
                    self._ledger.running(name)
            case "EXITED" | "BACKOFF":
                self._running.pop(name, None)
                reason = self._ledger.ended(name, self._last_words(change), change.pid)
                log.warning("ended process=%s reason=%s", name, reason)
                self._service.stats.count("ends")
                if change.state == "EXITED" and not self._ledger.held(name) and self._ledger.loops(name):
                    self._hold(name)
            case "FATAL":
                self._give_up(name)
            case "STOPPED":
                self._running.pop(name, None)
                self._ledger.stopped(name)
            case _:
                pass

    def look(self) -> None:
        """Kill what has stopped sending heartbeats; start what is due."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        late, self._looked = now - self._looked > LATE_S, now
        if not self._caught_up:
            self.catch_up()
        if not late:
            self._kill_hung()
        for name in self._ledger.take_due():
            self._revive(name)

    def _kill_hung(self) -> None:
        beats = read_beats(self._service.runtime_dir)
        for name, (pid, since) in list(self._running.items()):
            if name == self._service.name:
                continue
            self._stopped[name] = self._stopped[name] + 1 if is_stopped(pid) else 0
            reason = self._complaint(name, pid, since, beats.get(name))
            if reason:
                self._kill(name, pid, reason, dump=name in beats and not self._stopped[name])

    def _complaint(self, name: str, pid: int, since: float, beat: Beat | None) -> str:
        """Why a process must be killed, empty when it need not."""
        if self._stopped[name] >= STOPPED_LOOKS:
            return "was stopped"
        if beat is not None and beat.pid == pid:
            silent_s = self._silences[name].look(beat)
            return f"its loop hung for {silent_s:.1f} s" if silent_s > max(beat.hang_s, HANG_S) else ""
        silent_s = self._silences[name].look(Beat(pid, int(since * 1e9), START_S), starting=True)
        return f"no heartbeat since its start {silent_s:.0f} s ago" if silent_s > START_S and self._room() else ""

    def _room(self) -> bool:
        """False where nobody can leave a sign of life, because there is no room."""
        try:
            write_json(self._service.runtime_dir / "stats" / ".room", ["x" * 4096])
        except OSError:
            return False
        return True

    def _kill(self, name: str, pid: int, reason: str, *, dump: bool) -> None:
        """Kill a process, after making sure that this id is still the one that supervisord runs under this name.

        Args:
            name: Of the process.
            pid: Its id.
            reason: Why, for people.
            dump: It has begun its loop, and can leave its stacks in its log first.
        """
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return  # it is gone already
        try:
            rows = [row for row in self._programs_now() if row.pid == pid and process_name(row.program) == name]
            if rows:
                reason = f"{reason}, killed" + (f"; the stack is in {Path(rows[0].log).name}" if dump else "")
                self._ledger.blame(name, reason)
                if dump:
                    signal.pidfd_send_signal(handle, DUMP_SIGNAL)
                    select.select([handle], [], [], DUMP_S)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                log.warning("killed process=%s pid=%d reason=%s", name, pid, reason)
                self._service.stats.count("kills")
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def _is_down(self, program: str) -> bool:
        """True when supervisord has stopped a program, or is about to."""
        try:
            return self._supervisor.program(program).state in {"STOPPING", "STOPPED", "FATAL"}
        except DeviceError:
            return False

    def _hold(self, name: str) -> None:
        """Keep a process down for a while: supervisord would start it again and again.

        Between an end and the next start there is nothing to stop; then that start is caught.
        """
        self._escaped.discard(name)
        try:
            if self._supervisor.stop(name.replace(":", "-", 1), wait=False):
                self._give_up(name)
            else:
                self._escaped.add(name)
        except DeviceError as error:
            log.warning("not held back process=%s error=%s", name, error)

    def _give_up(self, name: str) -> None:
        delay = self._ledger.gave_up(name)
        if delay is None:
            log.error("stays down until its settings change process=%s", name)
        else:
            log.warning("failed again and again, revived later process=%s delay_s=%.0f", name, delay)

    def _revive(self, name: str) -> None:
        program = name.replace(":", "-", 1)
        try:
            if self._supervisor.program(program).state == "STOPPING":  # a start would be passed over without a word
                self._ledger.postpone(name)
                return
            log.info("revive process=%s", name)
            self._supervisor.start(program, wait=False)
            self._service.stats.count("revivals")
        except DeviceError as error:
            log.warning("revival failed process=%s error=%s", name, error)
            self._ledger.gave_up(name)

    def _last_words(self, change: StateChange) -> str:
        """What supervisord and the log know of a process that left no note of its own."""
        try:
            program = self._supervisor.program(change.program)
        except DeviceError:
            return "ended without a word"
        return last_words(Path(program.log)) or KILLED

    def _programs_now(self) -> list[ProgramInfo]:
        try:
            return self._supervisor.programs()
        except DeviceError as error:
            log.warning("supervisord does not answer error=%s", error)
            return []


def process_name(program: str) -> str | None:
    """Name of a process by its program in supervisord, whatever the settings say by now; None for a foreign one."""
    family, _, argument = program.partition("-")
    row = FLEET.get(family)
    if row is None or bool(argument) != (row.scaling != "one"):
        return None
    return f"{family}:{argument}" if argument else family


def last_words(log_file: Path) -> str:
    """What a process wrote when it broke; empty when its log ends with an ordinary line: then it was killed."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(log_file.stat().st_size - LAST_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    broken: list[str] = []
    for line in reversed(lines):
        if ORDINARY.match(line):
            break
        broken.insert(0, line)
    if any(line.startswith("Timeout (") for line in broken):
        return f"its loop hung, it ended itself; the stack is in {log_file.name}"
    return broken[-1].strip() if broken else ""


def main(service: Service) -> None:
    """Watch until asked to end; at the end of the whole node clean the shared memory."""
    if not supervised():
        raise ConfigError("services.watchdog is an event listener: supervisord starts it (vedette up)")
    supervisor = Supervisor(service.runtime_dir, timeout_s=2.0)
    watchdog = Watchdog(service, supervisor)
    listener = Listener()
    watchdog.catch_up()
    while not service.stopping:
        if select.select([STDIN], [], [], WAIT_S)[0]:
            changes = listener.read()
            if changes is None:
                break
            for change in changes:
                watchdog.follow(change)
        watchdog.look()
        service.beat()
    if supervisor.stopping():
        removed = remove_segments(service.settings.runtime_dir)  # we are ended last, and nobody else runs
        log.info("node ends segments_removed=%d", removed)
