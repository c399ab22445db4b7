"""What any process does for those that watch over it: it wakes a stopped supervisor, and ends a hung watchdog."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from common.heartbeat import beat_path, is_stopped, read_beat
from common.silence import Silence


class Guard:
    """What any process does for those that watch over it: it wakes a stopped supervisor, and ends a hung watchdog."""

    def __init__(self, runtime_dir: Path, supervisor: int, note: Callable[[str], None]) -> None:
        """Look at nobody yet.

        Args:
            runtime_dir: Where the signs of life are.
            supervisor: Process id.
            note: Hears why the watchdog ends, before it does: its successor looks that up at once.
        """
        self._watchdog, self._supervisor = beat_path(runtime_dir, "watchdog"), supervisor
        self._note = note
        self._stopped = 0
        self._silence = Silence()

    def look(self, margin_s: float) -> str:
        """Look, about once a second; says what it did, empty for nothing.

        Args:
            margin_s: How much longer than it may the watchdog can be silent.
        """
        self._stopped = self._stopped + 1 if is_stopped(self._supervisor) else 0
        if self._stopped >= 2:  # twice in a row: somebody may hold it for a moment
            with contextlib.suppress(OSError):
                os.kill(self._supervisor, signal.SIGCONT)
            return "woke the supervisor, which was stopped"
        beat = read_beat(self._watchdog)
        silent_s = self._silence.look(beat) if beat is not None else 0.0
        if beat is None or silent_s < beat.hang_s + margin_s:
            return ""
        done = f"killed the watchdog, no heartbeat for {silent_s:.1f} s"
        return done if self._end(beat.pid, done) else ""

    def _end(self, pid: int, reason: str) -> bool:
        """Kill the watchdog, after making sure that it is our supervisor's child."""
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ours = int(fields[1]) == self._supervisor and b"services.watchdog" in Path(
                f"/proc/{pid}/cmdline"
            ).read_bytes().split(b"\0")
            if ours and fields[0] != "Z":
                self._note(reason)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        except OSError:
            pass
        finally:
            os.close(handle)
        return False
