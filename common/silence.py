"""How long a process gave no sign of life by its own doing: what others kept from it does not count.

A machine with too much work, or a real-time program on the same core, can hold a healthy loop up for seconds. The
kernel counts that time apart (`/proc/PID/schedstat`); to kill for it would only add a start to the work. But who has
computed for long since, and still has not come round, hangs: it does not lack a core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from common.heartbeat import Beat

ACCOUNTED_S = 0.3  # shorter silences are not looked into
COMPUTED_S = 0.7  # of computing without a sign of life; a loop gives one a second, and its round takes far less


@dataclass(frozen=True, slots=True)
class Sample:
    """What the kernel says of a process's main thread.

    Attributes:
        at_ns: When it was asked.
        ran_ns: Time on a core so far.
        waited_ns: Time so far that it could have run and had no core; the wait that goes on now is not in it.
        runnable: It runs or waits for a core.
    """

    at_ns: int
    ran_ns: int
    waited_ns: int
    runnable: bool


class Silence:
    """The silence of one process, from look to look."""

    def __init__(self) -> None:
        self._beat: tuple[int, int] | None = None
        self._sample: Sample | None = None
        self._starved_ns = self._ran_ns = 0

    def look(self, beat: Beat) -> float:
        """Seconds since the last sign of life in which the process could have given another; look twice a second."""
        if (beat.pid, beat.at_ns) != self._beat:
            self._beat, self._sample = (beat.pid, beat.at_ns), None
            self._starved_ns = self._ran_ns = 0
        silent_s = beat.silent_s
        if silent_s > ACCOUNTED_S:
            sample = sample_of(beat.pid)
            if sample is not None and self._sample is not None:
                self._starved_ns += starved_ns(self._sample, sample)
                self._ran_ns += sample.ran_ns - self._sample.ran_ns
            self._sample = sample
        return silent_s if self._ran_ns > COMPUTED_S * 1e9 else silent_s - self._starved_ns / 1e9


def starved_ns(before: Sample, after: Sample) -> int:
    """How long a thread had no core between two samples though it could have run."""
    passed_ns = after.at_ns - before.at_ns
    waited_ns = passed_ns - (after.ran_ns - before.ran_ns) if after.runnable else after.waited_ns - before.waited_ns
    return min(max(waited_ns, 0), passed_ns)


def sample_of(pid: int) -> Sample | None:
    """What the kernel says now; None when the process is gone, or the kernel does not count."""
    process = Path("/proc") / str(pid)
    try:
        ran_ns, waited_ns, _ = map(int, (process / "schedstat").read_text().split())
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return Sample(time.monotonic_ns(), ran_ns, waited_ns, state == "R")
