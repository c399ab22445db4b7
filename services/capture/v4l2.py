"""`v4l2:/dev/video0`: a camera of this machine, by the kernel's own interface.

The driver writes into the ring itself where it can (uncompressed, rows without padding, pages that it may write to);
else its buffers are mapped and each frame is copied or decoded.
"""

from __future__ import annotations

import select
import time
from pathlib import Path

import numpy as np

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from common.ring.writer import RingWriter, WriteSlot
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.jpeg import JpegDecoder
from services.capture.source import Stamp
from services.capture.v4l2_device import Mode, V4l2Device
from services.capture.v4l2_direct import QUEUED, RingBuffers, lend
from services.capture.v4l2_ioctl import FLAG_ERROR, FLAG_TIMESTAMP_MASK, FLAG_TIMESTAMP_MONOTONIC, Buffer
from services.capture.video import copy_picture

FOURCC = {"nv12": "NV12", "yuyv": "YUYV", "mjpeg": "MJPG"}  # in the order of preference
RAW = {"NV12": PixelFormat.NV12, "YUYV": PixelFormat.YUYV}
WIDTH, HEIGHT, FPS = 1280, 720, 30.0
WAIT_MS, SILENCE_S = 100, 5.0
STARVED_MS = 5  # readers hold every slot: nothing tells when one is free
MOST_MISSED = 1 << 16  # above that a driver has started its count again
OLDEST_NS = 60_000_000_000  # a stamp further back is of another clock, or has wrapped


class V4l2Source:
    """Frames of a Video4Linux2 camera."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:  # noqa: ARG002
        if not address.startswith("/"):
            raise ConfigError(f"source 'v4l2:{address}': an absolute path, like v4l2:/dev/video0")
        self._path, self._settings, self._stats = Path(address), settings, stats
        self._device: V4l2Device | None = None
        self._direct: RingBuffers | None = None
        self._current: Buffer | None = None
        self._jpeg = JpegDecoder()
        self._poll = select.poll()
        self._first_ns, self._sequence = 0, -1
        self.nominal_fps = 0.0

    def open(self) -> Geometry:
        """Agree with the driver on a mode."""
        self._device = device = V4l2Device(self._path)
        device.check()
        self._mode = mode = self._choose(device)
        self.nominal_fps = mode.fps
        pixel_format = RAW.get(mode.fourcc, PixelFormat.I420)
        self._geometry = Geometry(mode.width & ~1, mode.height & ~1, pixel_format)
        return self._geometry

    @property
    def spare_slots(self) -> int:
        """Slots of the ring that the driver will hold."""
        return QUEUED if self._packed() else 0

    def begin(self, ring: RingWriter) -> bool:
        """Stream, into the ring if possible: then `take` gives the frames, else `read` copies them."""
        device = self._opened()
        if self._packed() and self._mode.size_bytes <= ring.stride:
            self._direct = lend(device, ring)
        if self._direct is not None:
            device.stream()
        else:
            device.start()
        self._stats.gauge("direct", int(self._direct is not None))
        self._poll.register(device.fd, select.POLLIN)
        self._first_ns, self._sequence, self._heard_ns = 0, -1, time.monotonic_ns()
        return self._direct is not None

    def wait(self) -> bool:
        """Wait for a frame; of several the newest is taken."""
        self.skip()
        if self._direct is not None and not self._direct.top_up():
            self._stats.count("starved")
            self._heard_ns = time.monotonic_ns()  # its silence is our fault
            select.poll().poll(STARVED_MS)  # a driver without a buffer answers every poll at once, with POLLERR
            return False
        self._poll.poll(WAIT_MS)  # POLLERR too: then the driver says why
        while (buffer := self._opened().dequeue()) is not None:
            self._heard_ns = time.monotonic_ns()
            self._count_missed(buffer.sequence)
            if self._damaged(buffer):
                self._stats.drop("damaged")
                self._opened().queue(buffer.index)
                continue
            if self._current is not None:
                self._stats.drop("late")
                self.skip()
            self._current = buffer
        if time.monotonic_ns() - self._heard_ns > SILENCE_S * 1e9:
            raise DeviceError(f"{self._path}: no frame for {SILENCE_S:g} s")
        return self._current is not None

    def read(self, planes: list[Plane]) -> Stamp | None:
        """Copy or decode the frame; None when its JPEG is damaged."""
        buffer = self._current
        if buffer is None:
            return None
        stamp = self._stamp(buffer)
        good = self._copy(buffer, planes)
        self.skip()
        return stamp if good else None

    def take(self) -> tuple[WriteSlot, Stamp]:
        """The slot that the driver has filled, as `wait` announced; after `begin` has said so."""
        buffer, self._current = self._current, None
        if buffer is None or self._direct is None:
            raise DeviceError(f"{self._path}: no frame")
        return self._direct.take(buffer.index), self._stamp(buffer)

    def skip(self) -> None:
        """Give the buffer back to the driver."""
        buffer, self._current = self._current, None
        if buffer is not None:
            self._opened().queue(buffer.index)

    def close(self) -> None:
        """Let go of the camera."""
        device, self._device, self._current, self._direct = self._device, None, None, None
        if device is not None:
            device.close()
            self._poll = select.poll()

    def _opened(self) -> V4l2Device:
        if self._device is None:
            raise DeviceError(f"{self._path}: closed")
        return self._device

    def _choose(self, device: V4l2Device) -> Mode:
        """The wished format; else the first that has the wished size and rate, else the fastest of the right size."""
        settings = self._settings
        wished = (settings.width or WIDTH, settings.height or HEIGHT, settings.fps or FPS)
        offered, names = device.formats(), list(FOURCC.values())
        if settings.pixel_format != "auto":
            names = [FOURCC[settings.pixel_format]]
        names = [name for name in names if name in offered]
        if not names:
            raise DeviceError(f"{self._path}: offers {', '.join(offered)}; {', '.join(FOURCC)} can be used")
        ranks = {}
        for name in names:
            mode = device.set_mode(name, *wished)
            fits = (mode.width, mode.height) == wished[:2]
            ranks[name] = (fits, min(mode.fps, wished[2] * 0.9))
        best = max(names, key=lambda name: ranks[name])  # the first of equals
        mode = device.set_mode(best, *wished)
        if mode.fourcc != best:
            raise DeviceError(f"{self._path}: answers {mode.fourcc} when asked for {best}")
        return mode

    def _packed(self) -> bool:
        """Frames lie in memory as the ring wants them."""
        mode = self._mode
        row_bytes = {"YUYV": 2 * mode.width, "NV12": mode.width}.get(mode.fourcc, 0)
        return row_bytes > 0 and mode.stride == row_bytes and not (mode.width | mode.height) & 1

    def _stamp(self, buffer: Buffer) -> Stamp:
        captured_ns = _captured_ns(buffer)
        self._first_ns = self._first_ns or captured_ns
        return Stamp(captured_ns, max(0, captured_ns - self._first_ns))

    def _count_missed(self, sequence: int) -> None:
        """Frames for which the driver had no buffer: their numbers are missing."""
        missed = sequence - self._sequence - 1
        if self._sequence >= 0 and 0 < missed < MOST_MISSED:
            self._stats.drop("missed", missed)
        self._sequence = sequence

    def _damaged(self, buffer: Buffer) -> bool:
        rows = {"YUYV": self._mode.height, "NV12": self._mode.height * 3 // 2}.get(self._mode.fourcc, 0)
        return bool(buffer.flags & FLAG_ERROR) or buffer.bytesused < max(1, rows * self._mode.stride)

    def _copy(self, buffer: Buffer, planes: list[Plane]) -> bool:
        data = self._opened().data(buffer.index, buffer.bytesused)
        if self._mode.fourcc not in RAW:
            picture = self._jpeg.decode(data.tobytes())
            if picture is None or (picture.width & ~1, picture.height & ~1) != (
                self._geometry.width,
                self._geometry.height,
            ):
                return False
            copy_picture(picture, self._geometry, planes)
            return True
        start, stride = 0, self._mode.stride
        for plane, rows in zip(planes, self._rows(), strict=True):
            flat = plane.reshape(plane.shape[0], -1)
            source = data[start : start + rows * stride].reshape(rows, stride)
            np.copyto(flat, source[: flat.shape[0], : flat.shape[1]])
            start += rows * stride
        return True

    def _rows(self) -> list[int]:
        return [self._mode.height] if self._mode.fourcc == "YUYV" else [self._mode.height, self._mode.height // 2]


def _captured_ns(buffer: Buffer) -> int:
    """The driver's stamp where it is of our clock and can be true, else now (vivid's lie up to a frame ahead)."""
    now = time.monotonic_ns()
    if buffer.flags & FLAG_TIMESTAMP_MASK != FLAG_TIMESTAMP_MONOTONIC:
        return now
    stamp = int(buffer.timestamp.tv_sec) * 1_000_000_000 + int(buffer.timestamp.tv_usec) * 1000
    return stamp if 0 <= now - stamp < OLDEST_NS else now
