"""One connection that takes a stream: from a key picture on, and never more than it can carry."""

from __future__ import annotations

import asyncio
import time

from common.errors import DeviceError
from services.view.rtsp.rtp import Packed, interleaved
from services.view.rtsp.stream import Stream

FULL_BYTES = 256 * 1024  # waiting in this process; then pictures are skipped up to the next key picture
REPORT_S = 5.0
STUCK_S = 10.0  # a connection that takes nothing for so long is dead


class Outlet:
    """Sends a stream over a connection, and skips pictures for a slow one. Belongs to the network's loop.

    Attributes:
        playing: False: nothing is sent, but the stream is kept running.
        skipped: Pictures that this connection could not carry.
    """

    def __init__(self, stream: Stream, writer: asyncio.StreamWriter, channel: int = 0) -> None:
        """Join the stream."""
        self._stream, self._writer, self.channel = stream, writer, channel
        self.playing = False
        self._parameters: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
        self.skipped = 0
        self._waits_for_key = True
        self._report_at = 0.0
        self._full_since = 0.0
        stream.join(self)

    def play(self) -> None:
        """Send from the next key picture on."""
        if not self.playing:
            self.playing = self._waits_for_key = True
            self._report_at = 0.0
            self._stream.want_key()

    async def parameters(self, seconds: float) -> tuple[bytes, bytes]:
        """Parameter sets of the stream, once there is a key picture.

        Raises:
            DeviceError: There is none within the time.
        """
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._parameters)
        except TimeoutError:
            raise DeviceError(self._stream.problem or f"no picture within {seconds:.0f} s") from None

    def close(self) -> None:
        """Leave the stream."""
        self._stream.leave(self)

    def take(self, packed: Packed) -> None:
        """Send a picture, or skip it."""
        if packed.parameters is not None and not self._parameters.done():
            self._parameters.set_result(packed.parameters)
        if not self.playing or self._writer.is_closing() or not self._has_room(packed):
            return
        now = time.monotonic()
        if now >= self._report_at:
            self._report_at = now + REPORT_S
            self._writer.write(interleaved(self.channel + 1, self._stream.packetizer.report()))
        self._writer.write(packed.on(self.channel))

    def check(self) -> None:
        """See to it that the connection still takes something.

        Raises:
            DeviceError: It has not for long.
        """
        if self._full_since and time.monotonic() - self._full_since > STUCK_S:
            raise DeviceError(f"nothing was taken for {STUCK_S:.0f} s")

    def _has_room(self, packed: Packed) -> bool:
        waiting = self._writer.transport.get_write_buffer_size()
        if waiting < FULL_BYTES:
            self._full_since = 0.0
        else:
            self._full_since = self._full_since or time.monotonic()
            self._waits_for_key = True
        if self._waits_for_key and not (packed.is_key and waiting < FULL_BYTES // 4):
            self.skipped += 1
            return False
        self._waits_for_key = False
        return True
