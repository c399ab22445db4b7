"""Where the loop that draws meets the server that sends: the newest picture of a camera, and who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture, the same bytes for every viewer.

    Attributes:
        number: Rises by one for each picture of a camera, from 1.
        jpeg: The file.
        captured_ns: When its frame was captured (monotonic); 0 for a placeholder.
        encoded_ns: When the file was ready (monotonic).
    """

    number: int
    jpeg: bytes
    captured_ns: int
    encoded_ns: int


class Channel:
    """The pictures of one camera. `show`, `clear` and `close` belong to the loop that draws, the rest to the server.

    Attributes:
        latest: What viewers are to see; None while nobody looks, or when the last one must not be seen any more.
        sent: Number of the newest picture that left for any viewer.
    """

    def __init__(self, wake_fd: int) -> None:
        """Nobody looks yet.

        Args:
            wake_fd: An eventfd that is raised when somebody comes.
        """
        self._wake_fd = wake_fd
        self._viewers: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._number = 0
        self.latest: Picture | None = None
        self.closed = False
        self.sent = 0

    @property
    def viewers(self) -> int:
        """How many look now."""
        return len(self._viewers)

    def show(self, jpeg: bytes, captured_ns: int, encoded_ns: int) -> None:
        """Give every viewer this picture; those that still send an older one skip what came between."""
        self._number += 1
        self.latest = Picture(self._number, jpeg, captured_ns, encoded_ns)
        self._wake()

    def clear(self) -> None:
        """Nobody may see the last picture any more."""
        self.latest = None

    def close(self) -> None:
        """Send everybody away."""
        self.closed = True
        self._wake()

    @contextlib.contextmanager
    def watch(self) -> Iterator[Viewer]:
        """Be a viewer inside; pictures are made only while there is one."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._viewers.add(event)
        os.eventfd_write(self._wake_fd, 1)
        try:
            yield Viewer(self, event)
        finally:
            self._viewers.discard(event)

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and self._viewers:
            with contextlib.suppress(RuntimeError):  # the server has just ended
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        for event in self._viewers:
            event.set()


class Viewer:
    """One who looks at a channel, at a pace of his own."""

    def __init__(self, channel: Channel, event: asyncio.Event) -> None:
        self._channel, self._event = channel, event

    async def next(self, after: int = 0) -> Picture | None:
        """The newest picture with a higher number than `after`, as soon as there is one; None when all is over."""
        while not self._channel.closed:
            picture = self._channel.latest
            if picture is not None and picture.number > after:
                return picture
            self._event.clear()
            await self._event.wait()
        return None
