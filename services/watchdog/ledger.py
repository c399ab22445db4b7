"""What became of each process: how often it was restarted, why it ended, when it is revived."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.service import EXIT_CONFIG, EXIT_STOPPED
from common.stats import read_json, write_json
from common.supervisor import watchdog_path

FIRST_S, LONGEST_S = 5.0, 60.0  # back-off of a revival
POSTPONED_S = 0.5
HEALTHY_S = 60.0  # a process that ran for so long starts with the shortest back-off again
KILLED = "killed by a signal"
AGAIN = "; fails again and again, next try after "
SHORT_S = 10.0  # a process that lived for less did not get anywhere
CRASH, KILL = 3, 1  # weights of a short life that ended by itself or from outside, by a wish too
LOOP = 10  # from here on it is held back

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """One process.

    Attributes:
        restarts: How often it was started again.
        reason: Why it ended last, empty when it never did.
        time: When that was, seconds of wall time.
        revivals: Revivals since it was healthy.
        held: It is kept down until its revival.
    """

    restarts: int = 0
    reason: str = ""
    time: float = 0.0
    revivals: int = 0
    held: bool = False


class Ledger:
    """Entries by process name, kept in `watchdog.json` for status, page and MQTT."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._entries: dict[str, Entry] = {}
        self._started: dict[str, int] = {}  # monotonic: the wall clock may jump
        self._noted: dict[str, int] = {}  # when the note was written that was taken last
        self._blamed: dict[str, str] = {}
        self._codes: dict[str, int] = {}  # of the last end, where the process wrote one
        self._short: Counter[str] = Counter()
        self.due: dict[str, float] = {}
        self._supervisor = os.getppid()
        self._since_ns = _started_ns(self._supervisor)
        stored = read_json(watchdog_path(runtime_dir))
        if stored.get("supervisor_pid") == self._supervisor:
            self._entries = _entries(stored.get("processes"))
            self._of("watchdog").restarts += 1
            self._of("watchdog").reason = self._take_note("watchdog")[1] or "ended, and was started again"
            self._of("watchdog").time = time.time()
        self._write()

    def started(self, name: str, before: str) -> None:
        """A process is being started."""
        again = name in self._started or before in {"EXITED", "BACKOFF", "FATAL"}
        self._started[name] = time.monotonic_ns()
        if again:
            self._of(name).restarts += 1
            self._write()

    def running(self, name: str) -> None:
        """A process stayed up; nothing is due for it."""
        self.due.pop(name, None)
        self._release(name)

    def blame(self, name: str, reason: str) -> None:
        """The next end of this process has this reason: we cause it."""
        self._blamed[name] = reason

    def ended(self, name: str, otherwise: str, pid: int = 0) -> str:
        """A process ended, `otherwise` is said when neither it nor we know better; returns and notes why.

        Args:
            name: Of the process.
            otherwise: What else is known.
            pid: Its id, 0 when that is not told.
        """
        code, note = self._take_note(name, pid)
        reason = self._blamed.pop(name, "") or note or otherwise
        entry = self._of(name)
        lived_s = (time.monotonic_ns() - self._started.get(name, 0)) / 1e9
        if lived_s > HEALTHY_S:
            entry.revivals = 0
        by_itself = code != EXIT_STOPPED if note else reason != KILLED
        self._short[name] = self._short[name] + (CRASH if by_itself else KILL) if lived_s < SHORT_S else 0
        later = AGAIN + entry.reason.partition(AGAIN)[2] if entry.held else ""  # an end that is heard of after the hold
        entry.reason = f"wrong settings: {reason}" if code == EXIT_CONFIG else reason + later
        entry.time = time.time()
        self._write()
        return entry.reason

    def loops(self, name: str) -> bool:
        """True when a process dies again and again soon after its start; then the next such death is enough."""
        if self._short[name] < LOOP:
            return False
        self._short[name] = LOOP - CRASH
        return True

    def held(self, name: str) -> bool:
        """True when we, or the watchdog before us, keep this process down until its revival."""
        return self._of(name).held

    def gave_up(self, name: str) -> float | None:
        """A process was given up; seconds until its revival, None when only new settings can help."""
        if self._codes.get(name) == EXIT_CONFIG:
            return None
        entry = self._of(name)
        delay: float = min(FIRST_S * 2 ** min(entry.revivals, 8), LONGEST_S)
        entry.revivals += 1
        entry.held = True
        entry.reason = f"{entry.reason.partition(AGAIN)[0]}{AGAIN}{delay:.0f} s"
        self.due[name] = time.monotonic() + delay
        self._write()
        return delay

    def postpone(self, name: str) -> None:
        """It cannot be revived just now."""
        self._of(name).held = True
        self.due[name] = time.monotonic() + POSTPONED_S
        self._write()

    def take_due(self) -> list[str]:
        """Processes to revive now."""
        now = time.monotonic()
        names = [name for name, at in self.due.items() if at <= now]
        for name in names:
            del self.due[name]
            self._release(name)
        return names

    def _release(self, name: str) -> None:
        if self._of(name).held:
            self._of(name).held = False
            self._write()

    def stopped(self, name: str) -> None:
        """A process was ended by request: what it wrote is no reason for a later end."""
        self._take_note(name)

    def _take_note(self, name: str, pid: int = 0) -> tuple[int | None, str]:
        """Exit code and reason that the process wrote itself at the end that we hear of now; each note counts once.

        Ends may be heard of together, long after they were, so times of hearing do not tell whose note it is.
        """
        record = read_json(self._runtime_dir / "exits" / f"{name}.json")
        at_ns = int(record.get("at_ns", 0))
        self._codes.pop(name, None)
        if at_ns <= self._noted.get(name, self._since_ns) or (pid and record.get("pid", pid) != pid):
            return None, ""
        self._noted[name] = at_ns
        code = record.get("code")
        if isinstance(code, int):
            self._codes[name] = code
        return self._codes.get(name), str(record.get("reason", ""))

    def _of(self, name: str) -> Entry:
        return self._entries.setdefault(name, Entry())

    def _write(self) -> None:
        rows = {name: asdict(entry) for name, entry in self._entries.items()}
        try:
            write_json(watchdog_path(self._runtime_dir), {"supervisor_pid": self._supervisor, "processes": rows})
        except OSError as error:  # what is written is for people; the work goes on without it
            log.warning("notes not written error=%s", error.strerror)


def _started_ns(pid: int) -> int:
    """When a process was started, monotonic nanoseconds; notes of before are of another run."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() - int(age_s * 1e9)


def _entries(rows: Any) -> dict[str, Entry]:
    """What a watchdog before us wrote; nothing when that is damaged."""
    try:
        return {
            str(name): Entry(
                int(row["restarts"]), str(row["reason"]), float(row["time"]), int(row["revivals"]), bool(row["held"])
            )
            for name, row in rows.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
