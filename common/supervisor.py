"""Talks to the node's supervisord: XML-RPC over the unix socket in the runtime directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DeviceError
from common.stats import read_json

NOT_RUNNING = 70  # fault: the process to stop does not run
ALREADY_STARTED = 60
ALREADY_ADDED = 90
BAD_NAME = 10
SHUTTING_DOWN = 6


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What supervisord knows of a program.

    Attributes:
        program: Its name there (`infer-0`).
        state: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN.
        pid: Process id, 0 when it does not run.
        exit_status: Of its last end; -1 for a signal.
        error: Why the last start failed, in words.
        log: File of what it wrote to stderr.
    """

    program: str
    state: str
    pid: int
    exit_status: int
    error: str
    log: str


def socket_path(runtime_dir: str | Path) -> Path:
    """Where a node's supervisord listens."""
    return Path(runtime_dir) / "supervisor.sock"


def watchdog_path(runtime_dir: str | Path) -> Path:
    """Where the watchdog notes restarts and their reasons."""
    return Path(runtime_dir) / "watchdog.json"


def read_watchdog(runtime_dir: str | Path) -> dict[str, dict[str, Any]]:
    """By process name: `restarts`, `reason` (why it ended last, empty when it never did), `time` (wall, seconds)."""
    processes = read_json(watchdog_path(runtime_dir)).get("processes")
    return processes if isinstance(processes, dict) else {}


class Supervisor:
    """The supervisord of one node. Every method raises DeviceError when none listens or it refuses."""

    def __init__(self, runtime_dir: str | Path, timeout_s: float = 30.0) -> None:
        self._path = socket_path(runtime_dir)
        self._timeout_s = timeout_s

    def pid(self) -> int:
        """Process id of supervisord."""
        return int(self._call("supervisor.getPID"))

    def programs(self) -> list[ProgramInfo]:
        """Every program, in start order."""
        return [_program(row) for row in self._call("supervisor.getAllProcessInfo")]

    def program(self, name: str) -> ProgramInfo:
        """One program."""
        return _program(self._call("supervisor.getProcessInfo", name))

    def start(self, program: str, *, wait: bool = True) -> None:
        """Start a program; with `wait`, until it ran for a second. One that runs already is left alone."""
        self._call("supervisor.startProcess", program, wait, accept=ALREADY_STARTED)

    def stop(self, program: str, *, wait: bool = True) -> bool:
        """Stop a program; with `wait`, until it is gone. False when it did not run: it may be about to start again."""
        return self._call("supervisor.stopProcess", program, wait, accept=NOT_RUNNING) is not None

    def restart(self, program: str) -> None:
        """Stop and start a program; other programs go on."""
        self.stop(program)
        self.start(program)

    def reread(self) -> tuple[list[str], list[str], list[str]]:
        """Read the configuration file anew; names of added, changed and removed programs, none of them touched yet."""
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        return list(added), list(changed), list(removed)

    def add(self, program: str) -> None:
        """Take a program that `reread` found, and start it."""
        self._call("supervisor.addProcessGroup", program, accept=ALREADY_ADDED)

    def remove(self, program: str) -> None:
        """Stop a program and forget it."""
        self._call("supervisor.stopProcessGroup", program, True, accept=BAD_NAME)
        self._call("supervisor.removeProcessGroup", program, accept=BAD_NAME)

    def shutdown(self) -> None:
        """Ask supervisord to stop everything and end; returns at once."""
        self._call("supervisor.shutdown")

    def stopping(self) -> bool:
        """True when supervisord is stopping everything; False also when it does not answer."""
        try:
            return self._call("supervisor.getState", accept=SHUTTING_DOWN) is None
        except DeviceError:
            return False

    def _call(self, method: str, *arguments: Any, accept: int | None = None) -> Any:
        from common.unixrpc import call  # 4 MB that a process which only reads notes need not have

        refusal, answer = call(self._path, self._timeout_s, method, arguments)
        if refusal is None or refusal.code == accept:
            return answer
        what = " ".join(map(str, [method.removeprefix("supervisor."), *arguments[:1]]))
        raise DeviceError(f"supervisord refused {what}: {refusal.text}")


def _program(row: dict[str, Any]) -> ProgramInfo:
    return ProgramInfo(
        row["name"], row["statename"], row["pid"], row["exitstatus"], row["spawnerr"], row["stderr_logfile"]
    )
