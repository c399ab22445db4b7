"""A replay sends every frame of a clip and waits until track has answered: back-pressure instead of drops."""

from __future__ import annotations

import time
from collections.abc import Callable

from common.bus import Sender
from common.service import Service
from common.wire import FrameHandle

OFFER_AGAIN_NS = 1_000_000_000  # a worker that died took its frame with it
POLL_MS = 50


class Replay:
    """Hands frames over one by one."""

    def __init__(self, service: Service, camera: str) -> None:
        self._service, self._camera = service, camera
        self._tracks = service.bus.subscriber("tracks")

    def deliver(self, handle: FrameHandle, frames: Sender, tell: Callable[[], None]) -> None:
        """Offer a frame until its tracks are heard; offered again with a new time, which a claim then accepts."""
        offered_ns = 0
        while not self._service.stopping:
            now = time.monotonic_ns()
            if now - offered_ns >= OFFER_AGAIN_NS:
                if offered_ns:
                    handle = handle._replace(captured_ns=now, offer=handle.offer + 1)
                frames.send(handle)
                offered_ns = now
            self._service.beat()
            tell()
            self._service.bus.wait(POLL_MS, self._tracks)
            if any(t.frame.camera == self._camera and t.frame.seq == handle.seq for t in self._tracks.drain()):
                return
