"""Watches helper threads: one that waits for ever inside its work takes its process down, with a stack dump."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class Pulse:
    """One thread's work. Only waiting counts: to compute, to be starved or to wait for a slow disk is no fault."""

    def __init__(self, name: str, limit_s: float) -> None:
        """Nothing is watched before the first `work`.

        Args:
            name: What the thread does.
            limit_s: How long it may wait inside its work.
        """
        self.name, self._limit_s = name, limit_s
        self._since = 0.0
        self._thread = 0

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Around every piece of work; between them the thread may wait as long as it likes."""
        self._thread, self._since = threading.get_native_id(), time.monotonic()
        try:
            yield
        finally:
            self._since = 0.0

    def hung_s(self) -> float:
        """Seconds that it has waited inside its work when that is too long, else 0; call about once a second."""
        since = self._since
        if since and self._state() != "S":
            self._since = time.monotonic() if self._since == since else self._since
            return 0.0
        waited_s = time.monotonic() - since if since else 0.0
        return waited_s if waited_s > self._limit_s and self._since == since else 0.0

    def _state(self) -> str:
        """State letter of the thread: `S` when it waits, `D` when it waits for a device, `R` when it computes."""
        try:
            stat = Path(f"/proc/self/task/{self._thread}/stat").read_text()
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[0]
