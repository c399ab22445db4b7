"""Delivery of the event log: each row is sent with QoS 1 and marked when the broker has acknowledged it, in order.

The position is a file of its own. What was sent but not acknowledged is sent again on the next connection, or by the
next process; readers drop the repetition by `id` and `seq`.
"""

from __future__ import annotations

import functools
import json
import logging
import sqlite3
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common import forget
from common.eventlog import Event, EventLogReader
from common.stats import Stats, read_json, write_json
from services.publish.client import Ack
from services.publish.link import Link
from services.publish.payloads import EventPayload
from services.publish.topics import Topics

BATCH = 200  # rows read at a time: about 1 ms
LOOK_S = 1.0  # the doorbell may have been missed
MARK_S = 0.25  # how often the position is written; what lies between is sent twice after a kill
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0  # after the broker refused an event
DAY_S = 86_400

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Sent:
    rowid: int
    event_id: str
    acknowledged: bool = False


class Delivery:
    """Brings the event log to the broker.

    Attributes:
        problem: Why events are not delivered although the broker is there, in words.
        unheard: The broker said of the last one that nobody has subscribed.
    """

    def __init__(
        self, reader: EventLogReader, link: Link, topics: Topics, stats: Stats, state_dir: Path, keep_days: float
    ):
        self._reader, self._link, self._topics, self._stats = reader, link, topics, stats
        self._keep_s = keep_days * DAY_S
        self._state_dir = state_dir
        self._position = Position(state_dir / forget.POSITION)
        self._unread = True
        self._buffer: deque[Event] = deque()
        self._sent: deque[_Sent] = deque()
        self._last_sent = 0
        self._connection = self._run = 0
        self._look_at = self._resume_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._checked = False
        self.problem = ""
        self.unheard = False
        self.snapshots = True

    def ring(self) -> None:
        """The log has grown."""
        self._unread = True

    def step(self) -> None:
        """Send what can be sent now."""
        now = time.monotonic()
        self._position.write(now)
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._unread = True
            self._count_backlog()
        if not self._link.online or now < self._resume_at:
            return
        if self._connection != self._link.connections:
            self._connection = self._link.connections
            self._start_over()
        while (room := self._link.room) > 0 and (self._buffer or (self._unread and self._read())):
            for _ in range(min(room, len(self._buffer))):
                self._send(self._buffer.popleft())

    @property
    def done(self) -> bool:
        """Everything in the log is acknowledged, or cannot be told now."""
        return time.monotonic() < self._resume_at or not (self._buffer or self._sent or self._unread)

    @property
    def acknowledged(self) -> int:
        """Newest row that the broker has."""
        return self._position.rowid

    def forget(self, ids: list[str]) -> list[str]:
        """Remove rows of events that need not be told any more; returns the ids that must wait.

        Raises:
            sqlite3.Error: The log is busy, or cannot be written.
        """
        sent = max(self._last_sent, self._position.rowid)
        self._buffer.clear()  # it may hold what goes now
        self._unread = True
        return forget.remove_rows(self._state_dir, ids, self._position.rowid, sent)

    def close(self) -> None:
        """Write the position a last time."""
        self._position.write(float("inf"))

    def _start_over(self) -> None:
        """Go back to the first row that is not acknowledged."""
        self._run += 1
        self._sent.clear()
        self._buffer.clear()
        self._unread = True
        self._checked = self._checked or self._check_position()
        self._last_sent = self._position.rowid

    def _check_position(self) -> bool:
        """A position of another log (it was removed, or restored) would skip events: begin at its start instead."""
        rowid = self._position.rowid
        try:
            there = self._reader.after(rowid - 1, 1) if rowid else []
            foreign = self._reader.last_rowid() < rowid or (
                bool(there) and there[0].rowid == rowid and there[0].id != self._position.event_id
            )
        except (OSError, sqlite3.Error):
            return False
        if foreign:
            log.warning("the event log is another one than before, sending it from its start position=%d", rowid)
            self._position.move(0, "")
        return True

    def _read(self) -> bool:
        try:
            rows = self._reader.after(self._last_sent, BATCH)
            self.problem = ""
        except (OSError, sqlite3.Error) as error:
            self.problem = f"event log not readable: {error}"
            rows = []
        self._buffer.extend(rows)
        self._unread = len(rows) == BATCH
        return bool(rows)

    def _send(self, event: Event) -> None:
        age_s = max(time.time() - event.time_ns / 1e9, 0.0)
        sent = _Sent(event.rowid, event.id)
        run = self._run
        self._sent.append(sent)
        self._last_sent = event.rowid
        picture = self._topics.camera(event.camera, "snapshot") if self.snapshots else None
        self._link.send(
            self._topics.events,
            json.dumps(payload(event, picture), separators=(",", ":")),
            expiry_s=max(int(self._keep_s - age_s), 60),
            json=True,
            on_ack=lambda ack: self._on_ack(run, sent, ack),
        )
        self._stats.count("events")

    def _on_ack(self, run: int, sent: _Sent, ack: Ack) -> None:
        if run != self._run:
            return
        if ack.refusal:
            self.problem = f"the broker refuses events: {ack.refusal}"
            self._resume_at = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
            self._start_over()
            return
        sent.acknowledged = True
        self.unheard = not ack.heard
        self._pause_s = FIRST_PAUSE_S
        self.problem = ""
        while self._sent and self._sent[0].acknowledged:
            first = self._sent.popleft()
            self._position.move(first.rowid, first.event_id)

    def _count_backlog(self) -> None:
        try:
            backlog = self._reader.last_rowid() - self._position.rowid
        except (OSError, sqlite3.Error) as error:
            self.problem = f"event log not readable: {error}"
            return
        self._stats.gauge("backlog", max(backlog, 0))
        if backlog < 0:  # the log was begun anew
            self._checked, self._connection = False, 0


class Position:
    """How far the log was acknowledged, in a file of its own.

    Attributes:
        rowid: Last row that the broker has.
        event_id: Id of its event, which tells one log from another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = read_json(path)
        rowid, event_id = stored.get("rowid"), stored.get("event_id")
        self.rowid = rowid if isinstance(rowid, int) and rowid > 0 else 0
        self.event_id = event_id if isinstance(event_id, str) else ""
        self._written = self.rowid
        self._write_at = 0.0

    def move(self, rowid: int, event_id: str) -> None:
        """The broker has everything up to this row."""
        self.rowid, self.event_id = rowid, event_id

    def write(self, now: float) -> None:
        """Keep it, when it has moved and was not written just before."""
        if self.rowid == self._written or now < self._write_at:
            return
        self._write_at = now + MARK_S
        try:
            write_json(self._path, {"rowid": self.rowid, "event_id": self.event_id})
            self._written = self.rowid
        except OSError as error:
            log.warning("position not written error=%s", error.strerror)


def payload(event: Event, snapshot: str | None) -> EventPayload:
    """An event as it stands on MQTT.

    Args:
        event: Row of the log.
        snapshot: Topic of the picture, None when none is taken.
    """
    return {
        "v": 1,
        "type": event.type,
        "id": event.id,
        "seq": event.seq,
        "camera": event.camera,
        "track_id": event.track_id,
        "time": rfc3339(event.time_ns),
        "box": [round(float(value), 4) for value in event.box],
        "score": round(float(event.score), 3),
        "best_score": round(float(event.best_score), 3),
        "duration_s": round(float(event.duration_s), 3),
        "zones": list(event.zones),
        "snapshot": snapshot,
    }


def rfc3339(time_ns: int) -> str:
    """Wall time in UTC with milliseconds, as RFC 3339 has it."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1_000_000:03d}Z"


@functools.lru_cache(maxsize=8)  # the frames of a second are many
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
