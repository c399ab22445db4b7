"""One camera's H.264: encoded once, in a thread of its own, while somebody takes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from typing import Protocol

from common.drawing.scene import Shown
from common.errors import DeviceError
from common.settings import RtspSettings
from common.stats import Stats
from services.view.rtsp.encoder import Encoder
from services.view.rtsp.rtp import Packed, Packetizer
from services.view.rtsp.units import Unit

RETRY_S = 5.0  # between two tries to open an encoder
STUCK_S = 10.0  # an encoder that has not come back for so long hangs

log = logging.getLogger(__name__)


class Taker(Protocol):
    """Somebody who takes the stream: a client, or a server that it is pushed to. Lives in the network's loop."""

    def take(self, packed: Packed) -> None:
        """Take a picture; must not wait."""


class Stream:
    """A sink of finished pictures (the loop that draws), and a source of packets (the network's loop).

    Attributes:
        packetizer: Numbers the packets; also gives sender reports.
        problem: Why there is nothing; empty when all is well.
        encoder_name: The encoder in use; empty before the first picture.
    """

    def __init__(self, settings: RtspSettings, stats: Stats, loop: asyncio.AbstractEventLoop, wake_fd: int) -> None:
        self._settings, self._stats, self._loop, self._wake_fd = settings, stats, loop, wake_fd
        self.packetizer = Packetizer()
        self.problem = self.encoder_name = ""
        self._takers: set[Taker] = set()
        self._ready = threading.Condition()
        self._next: Shown | None = None
        self._round = 0  # rises when pictures that were shown before must not be seen any more
        self._key_wanted = True
        self._busy_since = 0.0
        self._thread: threading.Thread | None = None

    @property
    def viewers(self) -> int:
        """How many take it now."""
        return len(self._takers)

    @property
    def is_stuck(self) -> bool:
        """True when the encoder has not come back for long."""
        since = self._busy_since
        return bool(since) and time.monotonic() - since > STUCK_S

    def join(self, taker: Taker) -> None:
        """Take the stream from now on, from a key picture."""
        self._takers.add(taker)
        self.want_key()
        os.eventfd_write(self._wake_fd, 1)

    def leave(self, taker: Taker) -> None:
        """Take it no more."""
        self._takers.discard(taker)

    def want_key(self) -> None:
        """The next picture is to be a key picture."""
        with self._ready:
            self._key_wanted = True

    def show(self, shown: Shown) -> None:
        """Encode this picture next; one that still waits is skipped."""
        with self._ready:
            if self._next is not None:
                self._stats.drop("video_skipped")
            self._next = shown
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
                self._thread.start()
            self._ready.notify()

    def withdraw(self) -> None:
        """Nothing that was shown before leaves any more, nor anything that is made out of it."""
        with self._ready:
            self._next = None
            self._round += 1
            self._key_wanted = True
            self._ready.notify()

    def _work(self) -> None:
        encoder: Encoder | None = None
        retry_at = 0.0
        while True:
            with self._ready:
                while self._next is None and (encoder is None or self._takers):
                    self._ready.wait()
                shown, number, key = self._next, self._round, self._key_wanted
                self._next, self._key_wanted = None, self._key_wanted and self._next is None
            if shown is None:
                encoder = None  # nobody takes it: its memory goes too
                continue
            self._busy_since = time.monotonic()
            if self._busy_since < retry_at:
                self._busy_since = 0.0
                continue
            try:
                encoder = self._fitting(encoder, shown)
                units = encoder.encode(shown.pixels, shown.captured_ns or shown.since_ns, key=key)
                self._note(encoder, shown)
            except DeviceError as error:
                self._fail(str(error))
                encoder, retry_at = None, time.monotonic() + RETRY_S
                continue
            finally:
                self._busy_since = 0.0
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._tell, units, number)

    def _fitting(self, encoder: Encoder | None, shown: Shown) -> Encoder:
        size = (shown.pixels.shape[1], shown.pixels.shape[0])
        return encoder if encoder is not None and encoder.size == size else Encoder(size, self._settings)

    def _note(self, encoder: Encoder, shown: Shown) -> None:
        self.problem, self.encoder_name = "", encoder.name
        self._stats.count("video")
        if shown.captured_ns:
            self._stats.latency("video", time.monotonic_ns() - shown.since_ns)

    def _fail(self, reason: str) -> None:
        if reason != self.problem:
            log.warning("no video reason=%s", reason)
        self.problem = reason
        self.want_key()

    def _tell(self, units: list[Unit], number: int) -> None:
        """Give units to everybody, unless they were withdrawn meanwhile."""
        if number != self._round:
            return
        for unit in units:
            packed = self.packetizer.pack(unit)
            for taker in list(self._takers):
                taker.take(packed)
