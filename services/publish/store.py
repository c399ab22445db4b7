"""The pictures on disk: one file an event, bounded by count, bytes and age."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from common import forget
from common.settings import EventSettings

DAY_S = 86_400
EVENT_ID = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")  # what may become a file name
COVERED = ".covered"  # stands in a camera's folder while all its pictures are covered ones


class SnapshotStore:
    """Folder `snapshots/<camera>/<event id>.jpg` in the state directory."""

    def __init__(self, state_dir: Path, limits: EventSettings) -> None:
        self._root, self._limits = state_dir / forget.PICTURES, limits
        self._files: dict[Path, tuple[float, int]] = {}  # when written (wall time), bytes
        for path in self._root.glob("*/*.jpg"):
            with contextlib.suppress(OSError):
                row = path.stat()
                self._files[path] = (row.st_mtime, row.st_size)

    def write(self, camera: str, event_id: str, data: bytes) -> None:
        """Keep the picture of an event, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        if self._limits.keep_snapshots == 0 or not EVENT_ID.match(event_id):
            return
        path = self._folder(camera) / f"{event_id}.jpg"
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
        self._files.pop(path, None)
        self._files[path] = (time.time(), len(data))
        self.sweep()

    def forget(self, event_ids: Iterable[str]) -> None:
        """Remove the pictures of events.

        Raises:
            OSError: A file cannot be removed.
        """
        forget.remove_pictures(self._root.parent, event_ids)
        wanted = set(event_ids)
        self._files = {path: row for path, row in self._files.items() if path.stem not in wanted}

    def latest(self, camera: str) -> tuple[str, bytes]:
        """The newest picture of a camera with the id of its event, empty when there is none."""
        mine = [path for path in self._files if path.parent.name == camera]
        for path in sorted(mine, key=lambda path: self._files[path][0], reverse=True):
            with contextlib.suppress(OSError):
                return path.stem, path.read_bytes()
        return "", b""

    def covered(self, camera: str) -> bool:
        """All pictures of this camera were taken with privacy on."""
        return (self._root / camera / COVERED).exists()

    def uncover(self, camera: str) -> None:
        """From now on pictures of this camera show faces."""
        (self._root / camera / COVERED).unlink(missing_ok=True)

    def cover(self, camera: str) -> None:
        """Remove every picture of a camera; from now on they are covered ones.

        Raises:
            OSError: A file cannot be removed.
        """
        folder = self._folder(camera)
        for path in [*folder.glob("*.jpg"), *folder.glob("*.new")]:
            path.unlink(missing_ok=True)
            self._files.pop(path, None)
        (folder / COVERED).touch(mode=0o600)

    def sweep(self) -> None:
        """Remove the oldest pictures beyond the limits."""
        limits = self._limits
        oldest = time.time() - limits.keep_days * DAY_S
        room = limits.keep_snapshots_mb * 1e6
        size = sum(size for _, size in self._files.values())
        for path in sorted(self._files, key=lambda path: self._files[path][0]):
            written, one = self._files[path]
            if len(self._files) <= limits.keep_snapshots and size <= room and written >= oldest:
                break
            path.unlink(missing_ok=True)
            del self._files[path]
            size -= one

    def _folder(self, camera: str) -> Path:
        folder = self._root / camera
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
