"""The reading end of a ring: leases of frames; it attaches to a new epoch by itself."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from common.errors import FrameGone, RingError
from common.pixels import Geometry, PixelFormat
from common.ring.layout import HEADER, LAYOUT, LINE_BYTES, LINES_START, MAGIC
from common.settings import Settings
from common.shm import SHM, lock_bytes, segment_name, try_lock, unlock
from common.wire import FrameHandle


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
        return ring.lease(handle)

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
        self._leases = [0] * len(self.pixels)
        self._requests = [lock_bytes(fcntl.F_RDLCK, slot) for slot in range(len(self.pixels))]
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

    def lease(self, handle: FrameHandle) -> Lease:
        """See `RingReader.lease`."""
        slot = handle.slot
        if not 0 <= slot < len(self.pixels):
            raise FrameGone(f"slot {slot} of {len(self.pixels)}")
        if not self._leases[slot] and not try_lock(self.fd, self._requests[slot]):
            raise FrameGone(f"slot {slot} is about to be written")
        self._leases[slot] += 1
        if self._generations[slot * (LINE_BYTES // 8)] != handle.generation:
            self.unlease(slot)
            raise FrameGone(f"slot {slot} was overwritten")
        return Lease(self, handle)

    def unlease(self, slot: int) -> None:
        self._leases[slot] -= 1
        if not self._leases[slot]:
            unlock(self.fd, slot)
            self._close_if_done()

    def retire(self) -> None:
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not any(self._leases) and self.fd >= 0:
            os.close(self.fd)  # the mapping goes when the last view of it goes
            self.fd = -1
