"""Signs of life: each process overwrites 24 bytes in place, which works also on a full disk; anybody may look at them.

The reports in `common.stats` are new files each time and stay old when there is no room; nobody may be killed for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path

FORM = struct.Struct("<qqq")  # process id, monotonic nanoseconds, allowed silence in nanoseconds
SUFFIX = ".beat"
DUMP_SIGNAL = signal.SIGUSR2  # a process writes its stacks to its log, and goes on


@dataclass(frozen=True, slots=True)
class Beat:
    """A process's last sign of life.

    Attributes:
        pid: Process id.
        at_ns: When it was given, monotonic.
        hang_s: How long the process may be silent now.
    """

    pid: int
    at_ns: int
    hang_s: float

    @property
    def silent_s(self) -> float:
        """Seconds since then."""
        return (time.monotonic_ns() - self.at_ns) / 1e9


class Heartbeat:
    """The file of this process."""

    def __init__(self, runtime_dir: Path, name: str) -> None:
        self._path = beat_path(runtime_dir, name)
        self._fd = -1

    def beat(self, hang_s: float) -> None:
        """Give a sign of life; without room for the file there is none."""
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fd, FORM.pack(os.getpid(), time.monotonic_ns(), int(hang_s * 1e9)), 0)

    def close(self) -> None:
        """A process that ends in order leaves no file."""
        self._path.unlink(missing_ok=True)


def beat_path(runtime_dir: str | Path, name: str) -> Path:
    """File of a process's signs of life."""
    return Path(runtime_dir) / "stats" / f"{name}{SUFFIX}"


def read_beat(path: Path) -> Beat | None:
    """What stands in a file; None when there is nothing whole.

    Two readings must agree: on a tmpfs one can meet half of a writing (seen 45 times in a million readings beside a
    writer that did nothing else), and a new process id with an old time would be a long silence.
    """
    before = b""
    try:
        while (data := path.read_bytes()) != before:
            before = data
        pid, at_ns, hang_ns = FORM.unpack(data)
    except (OSError, struct.error):
        return None
    return Beat(pid, at_ns, hang_ns / 1e9)


def read_beats(runtime_dir: str | Path) -> dict[str, Beat]:
    """The last sign of life of every process that did not end in order, by name."""
    paths = sorted((Path(runtime_dir) / "stats").glob(f"*{SUFFIX}"))
    return {path.name.removesuffix(SUFFIX): beat for path in paths if (beat := read_beat(path)) is not None}


def is_stopped(pid: int) -> bool:
    """True while a process is held by SIGSTOP (a debugger's hold is another thing)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
