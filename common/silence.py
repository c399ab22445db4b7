"""How long a process gave no sign of life by its own doing: what others kept from it does not count.

A machine with too much work, or a real-time program on the same core, can hold a healthy loop up for seconds. The
kernel counts that time apart (`/proc/PID/schedstat`); to kill for it would only add a start to the work. But who has
computed for long since, and still has not come round, hangs: it does not lack a core.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from common.heartbeat import Beat

ACCOUNTED_S = 0.3  # shorter silences are not looked into
COMPUTED_S = 0.7  # of computing without a sign of life; a loop gives one a second, and its round takes far less
ASKS_HZ = 50  # whoever waits for the interpreter's lock wakes every 5 ms to ask for it


@dataclass(frozen=True, slots=True)
class Sample:
    """What the kernel says of a thread.

    Attributes:
        at_ns: When it was asked.
        ran_ns: Time on a core so far.
        waited_ns: Time so far that it could have run and had no core; the wait that goes on now is not in it.
        runnable: It runs or waits for a core.
        slices: How often it was on a core.
        blocked: It waits for something inside the kernel (`D`).
    """

    at_ns: int
    ran_ns: int
    waited_ns: int
    runnable: bool
    slices: int = 0
    blocked: bool = False


class Silence:
    """The silence of one process, from look to look."""

    def __init__(self) -> None:
        self._beat: tuple[int, int] | None = None
        self._threads: dict[int, Sample] = {}
        self._starved_ns = self._ran_ns = 0

    def look(self, beat: Beat, *, starting: bool = False) -> float:
        """Seconds since the last sign of life in which the process could have given another; look twice a second.

        Args:
            beat: The last sign of life; of a process that has given none, its start.
            starting: It has given none: to compute for long is no fault yet, Python and libraries are being loaded.
        """
        if (beat.pid, beat.at_ns) != self._beat:
            self._beat, self._threads = (beat.pid, beat.at_ns), {}
            self._starved_ns = self._ran_ns = 0
        silent_s = beat.silent_s
        if silent_s > ACCOUNTED_S:
            self._account(beat.pid, samples_of(beat.pid))
        computed = self._ran_ns > COMPUTED_S * 1e9 and not starting
        return silent_s if computed else silent_s - self._starved_ns / 1e9

    def _account(self, main: int, threads: dict[int, Sample]) -> None:
        before, self._threads = self._threads, threads
        if main not in before or main not in threads:
            return
        self._ran_ns += threads[main].ran_ns - before[main].ran_ns
        waits = waits_for_a_thread(before[main], threads[main])
        of = (before.keys() & threads.keys()) if waits else {main}
        self._starved_ns += max(starved_ns(before[thread], threads[thread]) for thread in of)


def waits_for_a_thread(before: Sample, after: Sample) -> bool:
    """True when a main thread waits for another thread: it asks for the interpreter's lock again and again.

    A thread that holds that lock, or one inside the kernel, may itself be the one that gets no core.
    """
    passed_s = (after.at_ns - before.at_ns) / 1e9
    return after.blocked or after.slices - before.slices > ASKS_HZ * passed_s


def starved_ns(before: Sample, after: Sample) -> int:
    """How long a thread had no core between two samples though it could have run."""
    passed_ns = after.at_ns - before.at_ns
    waited_ns = passed_ns - (after.ran_ns - before.ran_ns) if after.runnable else after.waited_ns - before.waited_ns
    return min(max(waited_ns, 0), passed_ns)


def samples_of(pid: int) -> dict[int, Sample]:
    """What the kernel says now of each thread; empty when the process is gone, or the kernel does not count."""
    found = {}
    with contextlib.suppress(OSError):
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found[int(task.name)] = _sample(task)
    return found


def _sample(task: Path) -> Sample:
    ran_ns, waited_ns, slices = map(int, (task / "schedstat").read_text().split())
    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return Sample(time.monotonic_ns(), ran_ns, waited_ns, state == "R", slices, state == "D")
