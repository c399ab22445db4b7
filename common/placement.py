"""Where and how a process runs: its cores, its scheduling policy, and who may be waited for under SCHED_FIFO.

The processes with deadlines (capture, track, publish) run under SCHED_FIFO, where it is allowed, on cores that they
share; workers are left the others. A worker computes under the ordinary policy, but waits under the lowest real-time
priority, so that a busy machine does not let a new frame lie for milliseconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection

from common.fleet import FLEET
from common.settings import ProcessSettings, Settings

CAMERAS_A_CORE = 2  # software decoding of 1080p30 takes up to a third of a small core, under SCHED_FIFO
WAITING_PRIORITY = 1  # of a worker that waits: below everything that is real-time itself
FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # decoder and encoder threads must not inherit it
ORDINARY = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK  # without a privilege this flag cannot be taken back

log = logging.getLogger(__name__)


class Placement:
    """Cores, policy and nice value of one process, as the settings or the defaults say."""

    def __init__(self, family: str, name: str, settings: Settings) -> None:
        rows = settings.processes
        self._row = rows.get(name) or rows.get(family) or ProcessSettings()
        self._name, self._fleet = name, FLEET[family]
        self._default = not rows
        self._settings = settings
        self._hurried = False
        self._allowed = self._row.policy != "other" and self._permitted()

    @property
    def bus_priority(self) -> int:
        """Priority of ZeroMQ's thread under SCHED_FIFO: above its loop's, which it hands messages to; 0 without."""
        wished = self._row.policy == "fifo" or self._fleet.realtime or self._fleet.family == "infer"
        return min(self._row.priority + 1, 99) if wished and self._allowed else 0

    @property
    def bus_cores(self) -> set[int]:
        """Cores of ZeroMQ's thread; empty: those of the process. A worker's own core is left to its model."""
        return self._shared() if self._fleet.family == "infer" else set()

    def apply(self) -> None:
        """Place the main thread of this process."""
        row = self._row
        if row.cores is not None:
            os.sched_setaffinity(0, set(row.cores) & os.sched_getaffinity(0))
        elif self._fleet.realtime and (shared := self._shared()):
            os.sched_setaffinity(0, shared)
        if row.nice is not None:
            try:
                os.setpriority(os.PRIO_PROCESS, 0, row.nice)
            except PermissionError:
                log.warning("nice=%d is not allowed here", row.nice)
        if self._realtime:
            os.sched_setscheduler(0, FIFO, os.sched_param(row.priority))

    def hurry(self) -> None:
        """Let the calling thread, of the ordinary policy, wait and do short work as a real-time one until `ease`."""
        if not self._hurried and self._allowed and not self._realtime:
            os.sched_setscheduler(0, FIFO, os.sched_param(WAITING_PRIORITY))
            self._hurried = True

    def help_out(self) -> None:
        """Let the calling helper thread go before ordinary work: for short work that somebody waits for."""
        if self._allowed:
            os.sched_setscheduler(0, FIFO, os.sched_param(WAITING_PRIORITY))

    def ease(self) -> None:
        """Be ordinary again, before work that takes long; the kernel has kept the nice value."""
        if self._hurried:
            self._hurried = False
            os.sched_setscheduler(0, ORDINARY, os.sched_param(0))

    @property
    def _realtime(self) -> bool:
        wished = self._row.policy == "fifo" if self._row.policy else self._fleet.realtime
        return wished and self._allowed

    def _shared(self) -> set[int]:
        if not self._default:
            return set()  # whoever places one process by hand places all
        settings = self._settings
        return shared_cores(os.sched_getaffinity(0), len(settings.cameras), settings.infer.workers)

    def _permitted(self) -> bool:
        """True when this process may use SCHED_FIFO; it is only tried here, and given back."""
        before = os.sched_getscheduler(0) | os.SCHED_RESET_ON_FORK
        parameter = os.sched_getparam(0)
        try:
            os.sched_setscheduler(0, FIFO, os.sched_param(self._row.priority))
        except PermissionError:
            if self._row.policy:
                log.warning("SCHED_FIFO is not allowed here; see `vedette doctor` process=%s", self._name)
            return False
        os.sched_setscheduler(0, before, parameter)
        return True


def shared_cores(allowed: Collection[int], cameras: int, workers: int) -> set[int]:
    """Cores for what has deadlines, so that it does not interrupt the workers on the others.

    Args:
        allowed: Cores that may be used.
        cameras: Number of cameras.
        workers: Number of workers.

    Returns:
        The first ones, as many as workers leave; empty when that is too few: the scheduler then does better.
    """
    spare = len(allowed) - workers
    if workers < 1 or spare < 1 or cameras > CAMERAS_A_CORE * spare:
        return set()
    return set(sorted(allowed)[:spare])
