"""The event log: what happened to each face, kept on disk before anyone is told. Track writes it, others read.

The log gives the numbers: `seq` rises by one per id, and a row that would break the life of an event (a second start,
an update or an end without a start, a second end) is not taken. So every start has at most one end, whatever is written
again after a crash.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common import eventdb
from common.errors import DeviceError
from common.eventdb import Event, insert, row_event, sequence
from common.settings import EventSettings

KEEP_ROWS = 1000  # the newest rows are kept whatever `keep_mb` says: about 300 kB
TRIM_ROWS = 5000  # at most deleted at once: a pause of some 10 ms
TIDY_ROWS, TIDY_S = 500, 60.0  # how often limits are looked at
DAY_NS = 86_400_000_000_000

__all__ = ["Event", "EventLogReader", "EventLogWriter", "boot_id"]
log = logging.getLogger(__name__)


class EventLogWriter:
    """The writing end; there is one in a node.

    Attributes:
        open: The newest row of each event that has no end, by id.
        last_rowid: Newest row that was ever written.
        dropped: Rows that went since this writer was opened, by reason (`age`, `size`), and rows not taken (`refused`).
    """

    def __init__(self, state_dir: str | Path, settings: EventSettings) -> None:
        """Open the log, make it, or begin a new one when it is damaged.

        Raises:
            DeviceError: It cannot be opened now.
            ConfigError: A newer version of the program wrote it.
        """
        self._path = Path(state_dir) / eventdb.FILE
        self._settings = settings
        self.open: dict[str, Event] = {}
        self.last_rowid = 0
        self.dropped: Counter[str] = Counter()
        self._untidy = 0
        self._tidy_at = 0.0
        self._boot_id = boot_id()
        try:
            self._db = self._open()
        except sqlite3.Error as error:
            raise DeviceError(f"event log: {eventdb.in_words(error)}") from error

    def append(self, events: Sequence[Event]) -> int:
        """Write events, in order and all or none; they are on disk when this returns.

        Returns:
            Number of the newest row.

        Raises:
            DeviceError: They cannot be written now (disk full, ...); nothing of them was.
        """
        try:
            self._append(events)
        except sqlite3.Error as error:
            if not eventdb.is_damage(error):
                raise DeviceError(f"event log: {eventdb.in_words(error)}") from error
            self._begin_again(error)
        self.tidy()
        return self.last_rowid

    def knows(self, event_id: str) -> bool:
        """True when the log has or had an open or ended event of this id.

        Raises:
            DeviceError: The log cannot be read now.
        """
        try:
            return event_id in self.open or self._has(event_id)
        except sqlite3.Error as error:
            raise DeviceError(f"event log: {eventdb.in_words(error)}") from error

    def tidy(self) -> None:
        """Keep the log within its age and size; looks only now and then, so call it freely."""
        now = time.monotonic()
        if now < self._tidy_at and self._untidy < TIDY_ROWS:
            return
        self._tidy_at, self._untidy = now + TIDY_S, 0
        try:
            self._drop_old()
            self._drop_excess()
            self._db.execute("PRAGMA incremental_vacuum(256)").fetchall()
        except sqlite3.Error as error:  # a damaged file shows itself again at the next append
            log.warning("event log not tidied error=%s", eventdb.in_words(error))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        db = None
        try:
            db = eventdb.open_to_write(self._path)
            self._load(db)
        except sqlite3.Error as error:
            if db is not None:
                db.close()
            if not eventdb.is_damage(error):
                raise
            return self._new_file(error)
        return db

    def _load(self, db: sqlite3.Connection) -> None:
        rows = db.execute(eventdb.OPEN_ROWS).fetchall()
        self.open = {event.id: event for event in map(row_event, rows)}
        self.last_rowid = sequence(db)

    def _begin_again(self, error: sqlite3.Error) -> None:
        """Go on in a new file. What was to be written is written again by the caller, who still has it."""
        self._db.close()
        try:
            self._db = self._new_file(error)
        except sqlite3.Error as second:
            raise DeviceError(f"event log: {eventdb.in_words(second)}") from second
        raise DeviceError("event log: was damaged, a new one was begun")

    def _new_file(self, error: sqlite3.Error) -> sqlite3.Connection:
        """A new log in place of a damaged one, with the events that are open and row numbers that go on."""
        try:
            aside = eventdb.set_aside(self._path)
        except OSError as problem:
            raise sqlite3.OperationalError(f"damaged, and cannot be moved away: {problem.strerror}") from problem
        if not self.last_rowid:
            self._salvage(aside)
        first = self.last_rowid or time.time_ns() // 1_000_000  # readers must not take new rows for ones they know
        log.error("event log is damaged (%s); moved to %s, a new one is begun at row %d", error, aside.name, first + 1)
        db = eventdb.open_to_write(self._path)
        with eventdb.transaction(db):
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (first,))
            for event in self.open.values():
                insert(db, "open_events", event)
        self.last_rowid = first
        return db

    def _salvage(self, aside: Path) -> None:
        """Take from a damaged log what its end needs, where that part can still be read."""
        try:
            db = eventdb.open_to_read(aside)
            if db is not None:
                self._load(db)
                db.close()
        except sqlite3.Error as error:
            log.warning("nothing could be read from the damaged event log error=%s", error)

    def _append(self, events: Sequence[Event]) -> None:
        still_open, refused, last = dict(self.open), 0, self.last_rowid
        with eventdb.transaction(self._db):
            for event in events:
                before = still_open.get(event.id)
                if (event.type == "start") == (before is not None) or (before is None and self._has(event.id)):
                    refused += 1
                    continue
                numbered = dataclasses.replace(event, seq=before.seq + 1 if before else 1)
                last = insert(self._db, "events", numbered)
                if event.type == "end":
                    del still_open[event.id]
                    self._db.execute("DELETE FROM open_events WHERE id = ?", (event.id,))
                else:
                    still_open[event.id] = numbered
                    insert(self._db, "open_events", numbered)
        self.open, self.last_rowid = still_open, last
        self._untidy += len(events)
        self.dropped["refused"] += refused

    def _has(self, event_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM events WHERE id = ? LIMIT 1", (event_id,)).fetchone() is not None

    def _drop_old(self) -> None:
        """Ages within this boot are told by the monotonic clock: the wall clock may still jump after power-on."""
        keep_ns = int(self._settings.keep_days * DAY_NS)
        young = self._db.execute(
            "SELECT rowid FROM events WHERE CASE boot_id WHEN ? THEN mono_ns > ? ELSE time_ns > ? END"
            " ORDER BY rowid LIMIT 1",
            (self._boot_id, time.monotonic_ns() - keep_ns, time.time_ns() - keep_ns),
        ).fetchone()
        self._delete("age", young[0] if young else self.last_rowid + 1)

    def _drop_excess(self) -> None:
        if eventdb.used_bytes(self._db) <= self._settings.keep_mb * 1e6:
            return
        rows = int(self._db.execute("SELECT count(*) FROM events").fetchone()[0])
        excess = min(rows // 10, rows - KEEP_ROWS)
        if excess > 0:
            row = self._db.execute("SELECT rowid FROM events ORDER BY rowid LIMIT 1 OFFSET ?", (excess,)).fetchone()
            self._delete("size", int(row[0]))

    def _delete(self, reason: str, before: int) -> None:
        """Delete the oldest rows below a row number, and count them in the file too."""
        with eventdb.transaction(self._db):
            gone = self._db.execute(
                "DELETE FROM events WHERE rowid IN (SELECT rowid FROM events WHERE rowid < ? ORDER BY rowid LIMIT ?)",
                (before, TRIM_ROWS),
            ).rowcount
            if gone:
                self._db.execute(eventdb.COUNT_DROPPED, (reason, gone))
        if gone:
            self.dropped[reason] += gone
            self._tidy_at = 0.0  # there may be more
            log.info("event log trimmed reason=%s rows=%d", reason, gone)


class EventLogReader:
    """A reading end: any number, in any process. A log that does not exist yet is an empty one.

    Every method raises sqlite3.Error when the file is damaged or cannot be read, ConfigError when it is too new.
    """

    def __init__(self, state_dir: str | Path) -> None:
        self._path = Path(state_dir) / eventdb.FILE
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    def after(self, rowid: int, limit: int = 500) -> list[Event]:
        """The rows that follow a row, oldest first."""
        return self._events(eventdb.ROWS_AFTER, rowid, limit)

    def latest(self, count: int, camera: str = "", event_id: str = "") -> list[Event]:
        """The newest rows, newest first; only of one camera or event, where one is named."""
        return self._events(eventdb.NEWEST_ROWS, camera, event_id, count)

    def last_rowid(self) -> int:
        """Newest row that was ever written, 0 for none."""
        db = self._connected()
        return sequence(db) if db else 0

    def dropped(self) -> dict[str, int]:
        """Rows that the log has dropped in its life, by reason: `age`, `size`, `forgotten`."""
        db = self._connected()
        return dict(db.execute("SELECT reason, events FROM dropped").fetchall()) if db else {}

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _events(self, query: str, *values: int | str) -> list[Event]:
        db = self._connected()
        return [row_event(row) for row in db.execute(query, values).fetchall()] if db else []

    def _connected(self) -> sqlite3.Connection | None:
        """The connection, a new one when the file was replaced."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._db is None or inode != self._inode:
            self.close()
            self._db, self._inode = eventdb.open_to_read(self._path), inode
        return self._db


def boot_id() -> str:
    """Id of the system's boot: monotonic times of another boot do not compare."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
