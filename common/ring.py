"""The frame ring: one shared memory file a camera, written by capture, read by everyone else.

A reader leases a slot by an OFD read lock on byte [slot] of the file; the writer takes the write lock without waiting
and skips leased slots. The kernel frees the lock of a killed reader. The generation is compared once, under the lock:
taking the lock orders the reader's loads after the writer's stores on every architecture.

Never fork after attaching: a child would hold the locks of its parent.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import secrets
import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from common.config import make_private
from common.errors import FrameGone, RingError
from common.fleet import ring_slots
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import Settings
from common.shm import SHM, flock_file, lock_bytes, segment_name, segments, try_lock, unlock
from common.wire import FrameHandle

MAGIC = b"VEDRING\0"
LAYOUT = 1
HEADER = struct.Struct("<8sIIQIIIIQQ")  # magic, layout, header bytes, epoch, w, h, format, slots, stride, frame bytes
LINES_START = 256  # first per-slot line; slots below 256 keep lock bytes and lines apart
LINE_BYTES = 64  # one cache line a slot: generation (8 bytes), rest free


def _align(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


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
        self.stride = _align(geometry.frame_bytes)
        header_bytes = _align(LINES_START + self.slots * LINE_BYTES)
        self.size_bytes = header_bytes + self.slots * self.stride
        try:
            self.fd = _allocate(self.path, self.size_bytes)
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
        """A free slot to fill, the one written longest ago first; None when every slot is leased. Never waits."""
        for step in range(1, self.slots + 1):
            index = (self._newest + step) % self.slots
            if index in self._held or index == self._newest or not try_lock(self.fd, lock_bytes(fcntl.F_WRLCK, index)):
                continue
            self._held.add(index)
            self._generations[index * (LINE_BYTES // 8)] += 1
            return self._slots[index]
        return None

    def publish(self, slot: WriteSlot, seq: int, captured_ns: int, media_ns: int, offer: int = 0) -> FrameHandle:
        """Give the filled slot free for readers.

        Returns:
            The handle to send on the bus; sending it is what makes the pixels visible to others.
        """
        generation = self._generations[slot.index * (LINE_BYTES // 8)]
        self._release(slot)
        self._newest = slot.index
        return FrameHandle(
            self.camera, self.epoch, slot.index, generation, seq, captured_ns, media_ns, time.monotonic_ns(), offer
        )

    def abandon(self, slot: WriteSlot) -> None:
        """Give an acquired slot back unpublished."""
        self._release(slot)

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

    def _release(self, slot: WriteSlot) -> None:
        self._held.discard(slot.index)
        unlock(self.fd, slot.index)


class Lease:
    """Pixels that stay as they are until `release`; a context manager."""

    __slots__ = ("_ring", "geometry", "handle", "pixels", "planes")

    def __init__(self, ring: _Attached, handle: FrameHandle) -> None:
        self._ring: _Attached | None = ring
        self.handle = handle
        self.geometry = ring.geometry
        self.pixels = ring.pixels[handle.slot]
        self.planes = ring.planes[handle.slot]

    def release(self) -> None:
        """Let the writer have the slot again; a second call does nothing."""
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.unlease(self.handle.slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class RingReader:
    """The reading end for one camera; attaches to a new epoch by itself."""

    def __init__(self, settings: Settings, camera: str) -> None:
        self._runtime_dir, self._camera = settings.runtime_dir, camera
        self._ring: _Attached | None = None

    def lease(self, handle: FrameHandle) -> Lease:
        """Hold the frame of a handle.

        Raises:
            FrameGone: It was overwritten, is being written, or its ring was replaced.
            RingError: The ring's file is not one of ours, or may not be opened.
        """
        ring = self._ring
        if ring is None or ring.epoch != handle.epoch:
            ring = self._attach(handle.epoch)
        ring.lease(handle)
        return Lease(ring, handle)

    def close(self) -> None:
        """Let go of the file once the last lease is released."""
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.retire()

    def _attach(self, epoch: int) -> _Attached:
        path = SHM / segment_name(self._runtime_dir, self._camera, f"{epoch:016x}")
        ring = _Attached(path, epoch)
        self.close()
        self._ring = ring
        return ring


class _Attached:
    """One ring's file mapped for reading; closed when retired and without leases."""

    def __init__(self, path: Path, epoch: int) -> None:
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise FrameGone(f"{path.name} is gone") from None
        except OSError as error:
            raise RingError(f"{path}: {error.strerror}") from error
        try:
            self._read_header(path, epoch)
        except RingError:
            os.close(self.fd)
            raise
        self._leases: Counter[int] = Counter()
        self._retired = False

    def _read_header(self, path: Path, epoch: int) -> None:
        size = os.fstat(self.fd).st_size
        if size < HEADER.size:
            raise RingError(f"{path}: {size} bytes, too short for a ring")
        self._map = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
        magic, layout, start, self.epoch, width, height, code, slots, stride, frame_bytes = HEADER.unpack_from(
            self._map
        )
        if magic != MAGIC or layout != LAYOUT or self.epoch != epoch:
            raise RingError(f"{path}: not a ring of layout {LAYOUT}, or of another start")
        if code not in set(PixelFormat) or not (0 < width <= 1 << 15 and 0 < height <= 1 << 15 and 0 < slots < 256):
            raise RingError(f"{path}: header is damaged: {width}x{height} format {code}, {slots} slots")
        self.geometry = Geometry(width, height, PixelFormat(code))
        fits = self.geometry.frame_bytes == frame_bytes <= stride and start >= LINES_START + slots * LINE_BYTES
        if not fits or start + slots * stride > size:
            raise RingError(f"{path}: header is damaged: {slots} slots of {stride} bytes in {size}")
        self._generations = memoryview(self._map)[LINES_START : LINES_START + slots * LINE_BYTES].cast("Q")
        whole = np.frombuffer(self._map, np.uint8)
        self.pixels = [whole[start + i * stride : start + i * stride + frame_bytes] for i in range(slots)]
        self.planes = [self.geometry.planes(pixels) for pixels in self.pixels]

    def lease(self, handle: FrameHandle) -> None:
        slot = handle.slot
        if not 0 <= slot < len(self.pixels):
            raise FrameGone(f"slot {slot} of {len(self.pixels)}")
        if not self._leases[slot] and not try_lock(self.fd, lock_bytes(fcntl.F_RDLCK, slot)):
            raise FrameGone(f"slot {slot} is being written")
        self._leases[slot] += 1
        if self._generations[slot * (LINE_BYTES // 8)] != handle.generation:
            self.unlease(slot)
            raise FrameGone(f"slot {slot} was overwritten")

    def unlease(self, slot: int) -> None:
        self._leases[slot] -= 1
        if not self._leases[slot]:
            unlock(self.fd, slot)
            self._close_if_done()

    def retire(self) -> None:
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not any(self._leases.values()) and self.fd >= 0:
            os.close(self.fd)  # the mapping goes when the last view of it goes
            self.fd = -1


def _allocate(path: Path, size: int) -> int:
    """File of `size` bytes that are really there, opened for writing.

    Raises:
        RingError: No room (says how much is needed and available) or no right.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        os.close(fd)
        if error.errno != errno.ENOSPC:
            raise RingError(f"{path}: {error.strerror}") from error
        room = os.statvfs(path.parent)
        raise RingError(
            f"{path.parent} is too small: the ring needs {size} bytes, {room.f_bavail * room.f_frsize} are available; "
            f"enlarge it (mount -o remount,size=...), or use a smaller picture or fewer infer.max_workers"
        ) from error
    return fd
