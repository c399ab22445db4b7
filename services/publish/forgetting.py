"""Takes up requests to forget faces: retained and kept pictures at once, rows of the log once they were told."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from common import forget
from services.publish.events import Delivery
from services.publish.snapshots import Snapshots
from services.publish.stills import Stills

LOOK_S = 1.0

log = logging.getLogger(__name__)


class Forgetting:
    """Looks for requests once a second."""

    def __init__(self, state_dir: Path, delivery: Delivery, snapshots: Snapshots, stills: Stills) -> None:
        self._state_dir, self._delivery = state_dir, delivery
        self._snapshots, self._stills = snapshots, stills
        self._look_at = 0.0
        self._tried: dict[Path, int] = {}  # requests, and how far the log was told when they were tried last

    def step(self) -> None:
        """Do what is asked for."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        found = forget.requests(self._state_dir)
        for path, ids in found.items():
            try:
                self._take(path, ids)
            except (OSError, sqlite3.Error) as error:
                log.warning("forgetting is tried again error=%s", error)
        self._tried = {path: row for path, row in self._tried.items() if path in found}

    def _take(self, path: Path, ids: list[str]) -> None:
        if path not in self._tried:
            log.info("forgetting events=%d", len(ids))
            self._snapshots.forget(ids)
            self._stills.forget(ids)
            self._tried[path] = -1
        if not self._snapshots.forgotten or self._tried[path] == self._delivery.acknowledged:
            return
        left = self._delivery.forget(ids)
        self._tried[path] = self._delivery.acknowledged
        if left != ids or not forget.seen(path):
            forget.settle(path, left)
