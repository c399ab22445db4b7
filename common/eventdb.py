"""The file of the event log: its rows and schema, how it is opened, and what is done with a damaged one."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import ConfigError

FILE = "events.db"
BUSY_S = 2.0
VISIT_S = 0.5  # a visitor waits no longer for the writer
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
WORDS = {
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_READONLY: "not writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_BUSY: "locked by another process",
}
_FIELDS = "id, seq, type, camera, track_id, time_ns, mono_ns, boot_id, x, y, w, h, score, best_score, duration_s, zones"
_VALUES = f"({_FIELDS}) VALUES ({', '.join('?' * 16)})"
INSERT = {
    "events": f"INSERT INTO events {_VALUES}",
    "open_events": f"INSERT OR REPLACE INTO open_events {_VALUES}",
}
OPEN_ROWS = f"SELECT 0, {_FIELDS} FROM open_events ORDER BY time_ns"  # noqa: S608 - our own words
ROWS_AFTER = f"SELECT rowid, {_FIELDS} FROM events WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
NEWEST_ROWS = (
    f"SELECT rowid, {_FIELDS} FROM events WHERE ?1 IN ('', camera) AND ?2 IN ('', id) ORDER BY rowid DESC LIMIT ?3"  # noqa: S608
)
FORGET = """DELETE FROM events WHERE id = ?1 AND (rowid <= ?2 OR (
    ?3 < (SELECT min(e.rowid) FROM events e WHERE e.id = ?1 AND e.seq = 1)
    AND EXISTS (SELECT 1 FROM events e WHERE e.id = ?1 AND e.type = 'end')))"""
COUNT_DROPPED = "INSERT INTO dropped VALUES (?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
EventType = Literal["start", "update", "end"]
_COLUMNS = """id TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL,
    camera TEXT NOT NULL, track_id INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, mono_ns INTEGER NOT NULL, boot_id TEXT NOT NULL,
    x REAL NOT NULL, y REAL NOT NULL, w REAL NOT NULL, h REAL NOT NULL,
    score REAL NOT NULL, best_score REAL NOT NULL, duration_s REAL NOT NULL, zones TEXT NOT NULL"""

# Statements that lead from each schema version to the next; a new version is a new row, never a change of an old one.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"CREATE TABLE events (rowid INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS}, UNIQUE (id, seq))",
        # The newest row of each event that has no end yet.
        f"CREATE TABLE open_events ({_COLUMNS}, PRIMARY KEY (id)) WITHOUT ROWID",
        "CREATE TABLE dropped (reason TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID",
    ),
)


@dataclass(frozen=True, slots=True)
class Event:
    """One row: something happened to a face.

    Attributes:
        rowid: Place in the log, rising; 0 before it was written.
        id: ULID of the event, the same for its start, updates and end.
        seq: From 1, rising by one per id; 0 before it was written.
        type: `start`, `update` or `end`.
        camera: Name of the camera.
        track_id: Id of the track at that time.
        time_ns: Wall time, nanoseconds since 1970.
        mono_ns: The same moment as CLOCK_MONOTONIC, comparable within one `boot_id` only.
        boot_id: Id of the system's boot.
        box: Last seen place, xywh in 0..1 of the frame.
        score: Of the last detection.
        best_score: Best of all detections so far.
        duration_s: From the first to the last detection.
        zones: Names of the zones that the face is in.
    """

    rowid: int
    id: str
    seq: int
    type: EventType
    camera: str
    track_id: int
    time_ns: int
    mono_ns: int
    boot_id: str
    box: tuple[float, float, float, float]
    score: float
    best_score: float
    duration_s: float
    zones: tuple[str, ...]


def open_to_write(path: Path) -> sqlite3.Connection:
    """Connection of the one writer; makes the file or brings its schema up to date.

    Raises:
        sqlite3.Error: It cannot be opened, is damaged, or the disk is full.
        ConfigError: A newer version of the program wrote it.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise _as_sqlite(error) from error
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        version = schema_version(db, path)
        if version < len(MIGRATIONS):
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect in a new file only
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        with transaction(db):
            for step in MIGRATIONS[version:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        db.close()
        raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Connection that only reads; None while there is no log of this version's schema yet.

    Raises:
        sqlite3.Error: It cannot be opened or is damaged.
        ConfigError: A newer version of the program wrote it.
    """
    if not path.exists():
        return None
    # mode=ro cannot open a WAL file whose writer took the -shm file away; query_only forbids writing all the same
    db = _connect(path, BUSY_S)
    try:
        db.execute("PRAGMA query_only = ON")
        ready = schema_version(db, path) == len(MIGRATIONS)
    except BaseException:
        db.close()
        raise
    if ready:
        return db
    db.close()
    return None


def open_to_delete(path: Path) -> sqlite3.Connection:
    """Connection for a short visit beside the writer; what it deletes is overwritten.

    Raises:
        sqlite3.Error: It cannot be opened or is damaged.
        ConfigError: A newer version of the program wrote it.
    """
    db = _connect(path, VISIT_S)
    try:
        schema_version(db, path)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
    except BaseException:
        db.close()
        raise
    return db


def _connect(path: Path, patience_s: float) -> sqlite3.Connection:
    """Connection to a file that must be there, each statement a transaction of its own."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def schema_version(db: sqlite3.Connection, path: Path) -> int:
    """Schema version of the file, 0 when it is empty.

    Raises:
        ConfigError: It is newer than this program.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{path}: schema version {version}, this program knows up to {len(MIGRATIONS)}; "
            f"update the program, or move the file away to begin a new log"
        )
    return version


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; on disk when it ends without an error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """True when the file is no database any more, so that waiting does not help."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def in_words(error: sqlite3.Error) -> str:
    """What keeps the log from being written."""
    words = WORDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return f"{words} ({error})" if words else str(error)


def set_aside(path: Path) -> Path:
    """Move a damaged log and its companions away; returns the new name.

    Raises:
        OSError: It cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for suffix in ("-wal", "-shm", ""):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def used_bytes(db: sqlite3.Connection) -> int:
    """Size of the file without its free pages."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def insert(db: sqlite3.Connection, table: Literal["events", "open_events"], event: Event) -> int:
    """Put an event into a table; returns its row number."""
    values = (
        event.id, event.seq, event.type, event.camera, event.track_id, event.time_ns, event.mono_ns, event.boot_id,
        *event.box, event.score, event.best_score, event.duration_s, json.dumps(event.zones),
    )  # fmt: skip
    return db.execute(INSERT[table], values).lastrowid or 0


def row_event(row: tuple[Any, ...]) -> Event:
    """Event of a selected row."""
    fields: tuple[Any, ...] = (*row[:9], row[9:13], *row[13:16], tuple(json.loads(row[16])))
    return Event(*fields)


def sequence(db: sqlite3.Connection) -> int:
    """Newest row that was ever written, 0 for none."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0


def _as_sqlite(error: OSError) -> sqlite3.OperationalError:
    return sqlite3.OperationalError(f"{error.filename}: {error.strerror}")
