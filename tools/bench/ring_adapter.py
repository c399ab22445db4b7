"""The node's own hand-off (ring + bus) behind the small interface that hand-off benchmarks drive."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from common.bus import Bus
from common.errors import FrameGone
from common.pixels import Geometry, PixelFormat
from common.ring.reader import Lease, RingReader
from common.ring.writer import RingWriter, WriteSlot
from common.settings import CameraSettings, Settings
from common.shm import remove_segments
from common.wire import FrameHandle

CAMERA = "bench"


class Adapter:
    """One producer and one consumer process, frames of BGR pixels.

    `cfg` has `shape` (h, w, 3), `slots`, and `dir`, a private directory.
    """

    pixel_copies = 0
    note = "the frame ring with leases, handles over the bus"

    def __init__(self, cfg: SimpleNamespace) -> None:
        self.cfg = cfg
        self.settings = Settings(cameras={CAMERA: CameraSettings(source="bench:")}, runtime_dir=str(cfg.dir))

    def setup(self) -> None:
        """Nothing: the producer makes the ring."""

    def teardown(self) -> None:
        """Remove what a killed producer left."""
        remove_segments(self.settings.runtime_dir)

    def open_producer(self) -> None:
        """Make ring and endpoint."""
        height, width, _ = self.cfg.shape
        self._writer = RingWriter(self.settings, CAMERA, Geometry(width, height, PixelFormat.BGR), self.cfg.slots)
        self._bus = Bus(self.settings.runtime_dir, realtime_priority=_bus_priority())
        self._sender = self._bus.publisher("frames", CAMERA)
        self._slot: WriteSlot | None = None

    def acquire(self) -> NDArray[np.uint8]:
        """Pixels to fill; tries again at once while every slot is leased."""
        while (slot := self._writer.acquire()) is None:
            pass
        self._slot = slot
        return slot.planes[0]

    def publish(self, seq: int, t0: int) -> None:
        """Hand over what `acquire` gave."""
        if self._slot is None:
            raise RuntimeError("publish without acquire")
        self._sender.send(self._writer.publish(self._slot, seq, t0, 0))

    def close_producer(self) -> None:
        """Remove ring and endpoint."""
        self._bus.close()
        self._writer.close()

    def open_consumer(self) -> None:
        """Attach at the first frame."""
        self._bus = Bus(self.settings.runtime_dir, realtime_priority=_bus_priority())
        self._frames = self._bus.subscriber("frames", [CAMERA])
        self._reader = RingReader(self.settings, CAMERA)
        self._handles: list[FrameHandle] = []
        self._lease: Lease | None = None

    def recv(self, timeout: float) -> NDArray[np.uint8] | None:
        """Pixels of the next frame, held until `release`; None after `timeout` seconds without one."""
        while self._handles or self._bus.wait(int(timeout * 1000), self._frames):
            self._handles = self._handles or self._frames.drain(until=FrameHandle.is_just_sent)
            while self._handles:
                try:
                    self._lease = self._reader.lease(self._handles.pop(0))
                except FrameGone:
                    continue
                return self._lease.planes[0]
        return None

    def release(self) -> None:
        """Done with the pixels."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def close_consumer(self) -> None:
        """Let go."""
        self._reader.close()
        self._bus.close()


def _bus_priority() -> int:
    """As the node has it: ZeroMQ's thread above a loop that is real-time."""
    realtime = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    return os.sched_getparam(0).sched_priority + 1 if realtime else 0
