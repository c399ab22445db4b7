"""The writing end of a ring, owned by capture."""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from common.errors import RingError
from common.fleet import ring_slots
from common.pixels import Geometry, Plane
from common.private import make_private
from common.ring.layout import HEADER, LAYOUT, LINE_BYTES, LINES_START, MAGIC, align, allocate
from common.settings import Settings
from common.shm import SHM, flock_file, lock_bytes, segment_name, segments, try_lock, unlock
from common.wire import FrameHandle


@dataclass(frozen=True, slots=True)
class WriteSlot:
    """A slot that the writer fills.

    Attributes:
        index: Number of the slot.
        pixels: Its bytes, shape (frame_bytes,), uint8, writable.
        planes: Views of its planes.
    """

    index: int
    pixels: Plane
    planes: list[Plane]


class RingWriter:
    """The writing end, owned by one capture process."""

    def __init__(self, settings: Settings, camera: str, geometry: Geometry, slots: int | None = None) -> None:
        """Make the ring's file and remove those of earlier starts.

        Args:
            settings: Gives the runtime directory and the largest number of workers.
            camera: Name of the camera.
            geometry: Of the frames.
            slots: Number of slots; None takes what the fleet needs.

        Raises:
            RingError: No room in /dev/shm, no right, or another live capture of this camera.
        """
        self.camera, self.geometry = camera, geometry
        self.slots = slots or ring_slots(settings.infer.max_workers, settings.optional)
        self.epoch = secrets.randbits(63) | 1
        runtime = make_private(Path(settings.runtime_dir))
        self._guard = flock_file(runtime / f"ring.{camera}.lock", f"camera {camera} is captured already")
        for stale in segments(settings.runtime_dir, camera):
            stale.unlink(missing_ok=True)
        self.path = SHM / segment_name(settings.runtime_dir, camera, f"{self.epoch:016x}")
        self.stride = align(geometry.frame_bytes)
        header_bytes = align(LINES_START + self.slots * LINE_BYTES)
        self.size_bytes = header_bytes + self.slots * self.stride
        try:
            self.fd = allocate(self.path, self.size_bytes)
        except RingError:
            os.close(self._guard)
            raise
        self._map = mmap.mmap(self.fd, self.size_bytes, mmap.MAP_SHARED)
        HEADER.pack_into(
            self._map, 0, MAGIC, LAYOUT, header_bytes, self.epoch, geometry.width, geometry.height,
            geometry.pixel_format, self.slots, self.stride, geometry.frame_bytes,
        )  # fmt: skip
        self._generations = memoryview(self._map)[LINES_START:header_bytes].cast("Q")
        whole = np.frombuffer(self._map, np.uint8)
        self._slots = []
        for index in range(self.slots):
            start = header_bytes + index * self.stride
            pixels = whole[start : start + geometry.frame_bytes]
            self._slots.append(WriteSlot(index, pixels, geometry.planes(pixels)))
        self._held: set[int] = set()
        self._newest = -1

    @classmethod
    def create(cls, settings: Settings, camera: str, geometry: Geometry, slots: int | None = None) -> Self:
        """As the constructor."""
        return cls(settings, camera, geometry, slots)

    def acquire(self) -> WriteSlot | None:
        """A free slot to fill, the one written longest ago first; None when every slot is leased. Never waits.

        The write lock is held only while the generation is raised: from then on every lease of the slot finds that its
        frame is gone, and nobody waits for an unlock when the new frame is complete.
        """
        for step in range(1, self.slots + 1):
            index = (self._newest + step) % self.slots
            if index in self._held or index == self._newest or not try_lock(self.fd, lock_bytes(fcntl.F_WRLCK, index)):
                continue
            self._generations[index * (LINE_BYTES // 8)] += 1
            unlock(self.fd, index)
            self._held.add(index)
            return self._slots[index]
        return None

    def publish(self, slot: WriteSlot, seq: int, captured_ns: int, media_ns: int, offer: int = 0) -> FrameHandle:
        """Let readers have the filled slot.

        Returns:
            The handle to send on the bus; sending it is what makes the pixels visible to others.
        """
        generation = self._generations[slot.index * (LINE_BYTES // 8)]
        self._held.discard(slot.index)
        self._newest = slot.index
        return FrameHandle(
            self.camera, self.epoch, slot.index, generation, seq, captured_ns, media_ns, time.monotonic_ns(), offer
        )

    def abandon(self, slot: WriteSlot) -> None:
        """Give an acquired slot back unpublished."""
        self._held.discard(slot.index)

    def addresses(self) -> list[int]:
        """Address of each slot's first byte in this process, aligned to a page: for drivers that fill it themselves."""
        return [int(slot.pixels.ctypes.data) for slot in self._slots]

    def leased(self) -> list[int]:
        """Slots that a reader holds now (for tests and statistics)."""
        busy = []
        for index in range(self.slots):
            if index not in self._held:
                answer = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, lock_bytes(fcntl.F_WRLCK, index))
                if struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK:
                    busy.append(index)
        return busy

    def close(self) -> None:
        """Remove the file; readers that hold leases keep their pixels until they let go."""
        self.path.unlink(missing_ok=True)
        os.close(self.fd)
        os.close(self._guard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
