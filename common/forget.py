"""Forgetting faces: their pictures and the rows of their events go, also while the node runs.

A request is a file in the state directory. A running publish takes it up (`services.publish.forgetting`); the command
line does the work itself while the node is down. What subscribers wait for stays until they have it: the end of an
event whose start was told. Then the rest goes, too.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common import eventdb
from common.stats import read_json, write_json

FOLDER = "forget"
PICTURES = "snapshots"
POSITION = "publish.json"  # how far publish was acknowledged
MOST_IN_FLIGHT = 100  # rows after that position which the broker may have had without an answer


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events.

    Attributes:
        ids: These, when there are any.
        camera: Only of this camera, when it is not empty.
        before_ns: Only those whose newest row or picture is older than this wall time, when it is not 0.
    """

    ids: tuple[str, ...] = ()
    camera: str = ""
    before_ns: int = 0


def select(state_dir: Path, wanted: Selection) -> list[str]:
    """Ids of the events in the log, and of the pictures without one, that a selection means.

    Raises:
        sqlite3.Error: The log cannot be read.
        ConfigError: A newer version of the program wrote it.
    """
    found: dict[str, tuple[str, int]] = {}
    for path in (state_dir / PICTURES).glob("*/*.jpg"):
        with contextlib.suppress(OSError):
            found[path.stem] = (path.parent.name, path.stat().st_mtime_ns)
    db = eventdb.open_to_read(state_dir / eventdb.FILE)
    if db is not None:
        with contextlib.closing(db):
            for event_id, camera, time_ns in db.execute("SELECT id, camera, max(time_ns) FROM events GROUP BY id"):
                found[event_id] = (camera, max(time_ns, found.get(event_id, ("", 0))[1]))
    return sorted(
        event_id
        for event_id, (camera, time_ns) in found.items()
        if (not wanted.ids or event_id in wanted.ids)
        and wanted.camera in {"", camera}
        and (not wanted.before_ns or time_ns < wanted.before_ns)
    )


def ask(state_dir: Path, ids: Iterable[str]) -> Path:
    """Leave a request; returns its file, which is gone once everything is.

    Raises:
        OSError: It cannot be written.
    """
    path = state_dir / FOLDER / f"{time.time_ns()}.json"
    write_json(path, {"ids": sorted(ids)})
    return path


def requests(state_dir: Path) -> dict[Path, list[str]]:
    """What is asked for: ids by the file of the request."""
    found = {}
    for path in sorted((state_dir / FOLDER).glob("[0-9]*.json")):
        ids = read_json(path).get("ids")
        found[path] = [event_id for event_id in ids if isinstance(event_id, str)] if isinstance(ids, list) else []
    return found


def seen(path: Path) -> bool:
    """True when publish has done what can be done now."""
    return read_json(path).get("seen") is True


def settle(path: Path, left: list[str]) -> None:
    """Note what is left of a request, or that nothing is.

    Raises:
        OSError: It cannot be written.
    """
    if left:
        write_json(path, {"ids": left, "seen": True})
    else:
        path.unlink(missing_ok=True)


def remove_pictures(state_dir: Path, ids: Iterable[str]) -> int:
    """Remove the pictures of events; returns how many there were.

    Raises:
        OSError: One cannot be removed.
    """
    wanted, gone = set(ids), 0
    for path in (state_dir / PICTURES).glob("*/*"):
        if path.stem in wanted:
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def remove_rows(state_dir: Path, ids: Iterable[str], acknowledged: int, sent: int) -> list[str]:
    """Remove rows of the log, and overwrite where they stood.

    Args:
        state_dir: Of the node.
        ids: Events.
        acknowledged: Rows up to this one were told.
        sent: Rows up to this one may have been told.

    Returns:
        Ids with rows that must wait: their start was told, or the face is still there.

    Raises:
        sqlite3.Error: Nothing was removed; try again.
    """
    path = state_dir / eventdb.FILE
    if not path.exists():
        return []
    left = []
    with contextlib.closing(eventdb.open_to_delete(path)) as db:
        with eventdb.transaction(db):
            gone = 0
            for event_id in ids:
                gone += db.execute(eventdb.FORGET, (event_id, acknowledged, sent)).rowcount
                if db.execute("SELECT 1 FROM events WHERE id = ? LIMIT 1", (event_id,)).fetchone() or _open(
                    db, event_id
                ):
                    left.append(event_id)
            if gone:
                db.execute(eventdb.COUNT_DROPPED, ("forgotten", gone))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log of changes still held them
    return left


def forget_now(state_dir: Path, ids: list[str]) -> list[str]:
    """Do it while the node is down; returns the ids that must wait until publish has told their end.

    Raises:
        OSError: A picture cannot be removed.
        sqlite3.Error: The log cannot be written.
    """
    remove_pictures(state_dir, ids)
    position = read_json(state_dir / POSITION).get("rowid")
    acknowledged = position if isinstance(position, int) else 0
    return remove_rows(state_dir, ids, acknowledged, acknowledged + MOST_IN_FLIGHT)


def _open(db: sqlite3.Connection, event_id: str) -> bool:
    return db.execute("SELECT 1 FROM open_events WHERE id = ?", (event_id,)).fetchone() is not None
