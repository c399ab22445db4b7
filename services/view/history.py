"""Recent events and the pictures of their faces, from the state directory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.eventlog import Event, EventLogReader

MOST = 1000
MOST_ROW = 2**63 - 1  # SQLite holds no larger number
EVENT_ID = re.compile(r"[0-9A-Za-z]{10,40}\Z")


class History:
    """Reads the event log; used by one thread."""

    def __init__(self, state_dir: Path, cameras: Iterable[str]) -> None:
        self._log = EventLogReader(state_dir)
        self._directories = {camera: state_dir / "snapshots" / camera for camera in cameras}

    def events(self, limit: int, after: int | None) -> dict[str, Any]:
        """Events as JSON values, newest first.

        Args:
            limit: How many at most.
            after: Only rows that follow this one; None for the newest of all.
        """
        limit = max(1, min(limit, MOST))
        after = None if after is None else max(-1, min(after, MOST_ROW))
        try:
            rows = self._log.latest(limit) if after is None else self._log.after(after, limit)[::-1]
            last = rows[0].rowid if rows else after if after is not None else 0
            return {"rowid": last, "events": [self._row(row) for row in rows], "problem": ""}
        except (sqlite3.Error, ConfigError) as error:
            return {"rowid": after or 0, "events": [], "problem": f"the event log cannot be read: {error}"}

    def last_rowid(self) -> int:
        """Newest row; 0 for none."""
        try:
            return self._log.last_rowid()
        except (sqlite3.Error, ConfigError):
            return 0

    def face(self, event_id: str) -> Path | None:
        """File with the best picture of an event's face."""
        if not EVENT_ID.match(event_id):
            return None
        paths = (directory / f"{event_id}.jpg" for directory in self._directories.values())
        return next((path for path in paths if path.is_file()), None)

    def _row(self, event: Event) -> dict[str, Any]:
        directory = self._directories.get(event.camera)
        has_face = directory is not None and (directory / f"{event.id}.jpg").is_file()
        return {
            "rowid": event.rowid,
            "id": event.id,
            "seq": event.seq,
            "type": event.type,
            "camera": event.camera,
            "track_id": event.track_id,
            "time": datetime.fromtimestamp(event.time_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            "box": [round(float(value), 4) for value in event.box],
            "score": round(float(event.score), 3),
            "best_score": round(float(event.best_score), 3),
            "duration_s": round(float(event.duration_s), 2),
            "zones": list(event.zones),
            "face": f"faces/{event.id}.jpg" if has_face else None,
        }
