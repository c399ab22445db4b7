"""The thread that writes events to the log, so that a slow or full disk never holds the tracks up."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from common.bus import Sender
from common.errors import ConfigError, DeviceError, VedetteError
from common.eventlog import Event, EventLogWriter, boot_id
from common.pulse import Pulse
from common.settings import EventSettings
from common.stats import Stats
from common.wire import EventNotice

BATCH = 500  # rows in one transaction
MOST_WAITING = 10_000  # rows kept in memory while the log cannot be written: about 8 MB
RETRY_S = 1.0
TIDY_S = 30.0
CLOSE_S = 3.0

log = logging.getLogger(__name__)


class Journal:
    """Takes events at once and writes them in order when the disk can.

    Attributes:
        problem: Why events are not written now, in words; empty when they are.
        open: Events without an end in the log when it was opened, by id.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: EventSettings,
        stats: Stats,
        notices: Sender,
        pulse: Pulse | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the log, if that is possible now.

        Args:
            state_dir: Where the log is.
            settings: Its limits.
            stats: Where numbers go.
            notices: Where it is told that the log has grown.
            pulse: Of the thread that writes.
            begin: The first that this thread does.

        Raises:
            ConfigError: A newer version of the program wrote the log.
        """
        self.problem = ""
        self.open: dict[str, Event] = {}
        self._state_dir, self._settings, self._stats, self._notices = state_dir, settings, stats, notices
        self._pulse, self._begin = pulse or Pulse("journal", CLOSE_S), begin
        self._log: EventLogWriter | None = None
        self._keep: frozenset[str] = frozenset()
        self._waiting: deque[Event] = deque()
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._counted: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        try:
            self._log = EventLogWriter(state_dir, settings)
            self.open = dict(self._log.open)
        except DeviceError as error:
            self._fail(error)

    def knows(self, event_id: str) -> bool:
        """True when the log has this event, ended or not; only before `start`."""
        return self._log is not None and self._log.knows(event_id)

    @property
    def alive(self) -> bool:
        """False when the thread has ended, which it must not before `close`."""
        return self._thread.is_alive()

    def start(self, keep: Iterable[str]) -> None:
        """Begin to write. Open events of the log that are not in `keep` are ended: nobody follows them any more."""
        self._keep = frozenset(keep)
        self._thread.start()

    def put(self, events: Collection[Event]) -> None:
        """Take events; never waits for the disk. Without any the thread is not woken, which would cost each frame."""
        if not events:
            return
        with self._change:
            self._waiting.extend(events)
            if len(self._waiting) > MOST_WAITING:
                self._shed()
            self._change.notify()

    def close(self) -> None:
        """Write what can be written, and stop."""
        self._stopping.set()
        with self._change:
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        if self._waiting:
            log.warning("events not written: %d problem=%s", len(self._waiting), self.problem or "slow disk")

    def _run(self) -> None:
        self._begin()
        self._end_orphans()
        while not self._stopping.is_set() or self._waiting:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._stopping.is_set(), TIDY_S)
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            with self._pulse.work():
                written = self._write(batch)
            if not written:
                with self._change:
                    self._waiting.extendleft(reversed(batch))
                if self._stopping.wait(RETRY_S):
                    break
        if self._log is not None:
            self._log.close()

    def _write(self, batch: list[Event]) -> bool:
        try:
            if self._log is None:
                self._log = EventLogWriter(self._state_dir, self._settings)
                self._end_orphans()
            begun, rowid = time.monotonic_ns(), 0
            if batch:
                rowid = self._log.append(batch)
            else:
                self._log.tidy()
        except (DeviceError, ConfigError) as error:
            self._fail(error)
            return False
        if self.problem:
            log.info("event log is written again rows=%d", len(batch))
            self.problem = ""
        self._count_dropped(self._log)
        if batch:
            self._stats.latency("commit", time.monotonic_ns() - begun)
            self._stats.count("events", len(batch))
            self._notices.send(EventNotice(rowid, time.monotonic_ns()))
        return True

    def _end_orphans(self) -> None:
        if self._log is None:
            return
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        orphans = [event for event in self._log.open.values() if event.id not in self._keep]
        ends = [
            replace(event, seq=0, type="end", time_ns=wall_ns, mono_ns=now_ns, boot_id=boot_id()) for event in orphans
        ]
        with self._change:
            self._waiting.extendleft(reversed(ends))
        if ends:
            log.info("events of before this start ended count=%d", len(ends))

    def _fail(self, error: VedetteError) -> None:
        if str(error) != self.problem:
            self.problem = str(error)
            log.warning("%s; events wait in memory", error)

    def _shed(self) -> None:
        """Make room in memory: updates first, then the oldest events that are whole, so that no start lacks its end."""
        before = len(self._waiting)
        rows = [event for event in self._waiting if event.type != "update"]
        excess = len(rows) - MOST_WAITING * 9 // 10
        if excess > 0:
            started = {event.id for event in rows if event.type == "start"}
            whole = [event.id for event in rows if event.type == "end" and event.id in started]
            gone = set(whole[: (excess + 1) // 2])
            rows = [event for event in rows if event.id not in gone]
        self._waiting = deque(rows)
        self._stats.drop("events_memory", before - len(rows))

    def _count_dropped(self, writer: EventLogWriter) -> None:
        for reason, total in writer.dropped.items():
            if total > self._counted[reason]:
                self._stats.drop(f"events_{reason}", total - self._counted[reason])
                self._counted[reason] = total
