"""The event listener's side of supervisord's protocol: READY, an event, RESULT, on stdin and stdout."""

from __future__ import annotations

import os
from dataclasses import dataclass

READY = b"READY\n"
DONE = b"RESULT 2\nOK"
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class StateChange:
    """A program went from one state to another.

    Attributes:
        program: Its name in supervisord.
        state: What it is now: STARTING, RUNNING, BACKOFF, STOPPING, EXITED, STOPPED, FATAL or UNKNOWN.
        before: What it was.
        pid: Process id, 0 where the event carries none.
    """

    program: str
    state: str
    before: str
    pid: int


class Listener:
    """Reads events without waiting, and answers each at once."""

    def __init__(self, fd_in: int = 0, fd_out: int = 1) -> None:
        self._in, self._out = fd_in, fd_out
        self._buffer = b""
        os.set_blocking(fd_in, False)
        os.write(fd_out, READY)

    def read(self) -> list[StateChange] | None:
        """Every change that is there now; None when supervisord closed the pipe."""
        try:
            data = os.read(self._in, READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            return None
        self._buffer += data
        changes = []
        while (event := self._take()) is not None:
            os.write(self._out, DONE + READY)
            if (change := parse_event(*event)) is not None:
                changes.append(change)
        return changes

    def _take(self) -> tuple[str, str] | None:
        """Header and body of the next whole event."""
        header, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        length = int(fields(header.decode()).get("len", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return header.decode(), rest[:length].decode()


def fields(text: str) -> dict[str, str]:
    """Values of `key:value key:value`."""
    return dict(word.split(":", 1) for word in text.split() if ":" in word)


def parse_event(header: str, body: str) -> StateChange | None:
    """The change that an event tells of; None for other events."""
    name = fields(header).get("eventname", "")
    if not name.startswith("PROCESS_STATE_"):
        return None
    values = fields(body.split("\n", 1)[0])
    return StateChange(
        values.get("processname", ""),
        name.removeprefix("PROCESS_STATE_"),
        values.get("from_state", ""),
        int(values.get("pid", "0")),
    )
