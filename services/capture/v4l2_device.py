"""A Video4Linux2 camera as an object: its format, its mapped buffers, its stream."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import DeviceError
from services.capture import v4l2_ioctl as v4l2

BUFFERS = 4  # one being filled, one waiting, one being copied, one spare


@dataclass(frozen=True, slots=True)
class Mode:
    """What the driver agreed to.

    Attributes:
        fourcc: Four-letter name of the format.
        width: Columns in pixels.
        height: Rows in pixels.
        stride: Bytes a row, 0 for JPEG.
        size_bytes: Room that a frame needs.
        fps: Rate, 0 when it tells none.
    """

    fourcc: str
    width: int
    height: int
    stride: int
    size_bytes: int
    fps: float


class V4l2Device:
    """An open device; every refusal of the driver is a `DeviceError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error
        self._maps: list[mmap.mmap] = []
        self._borrowed: list[int] = []  # addresses of the buffers where they are not the driver's own
        self._room = 0

    def check(self) -> None:
        """See that it is a camera.

        Raises:
            DeviceError: It is not, or cannot stream.
        """
        answer = v4l2.Capability()
        self._ask(v4l2.QUERYCAP, answer, "no camera")
        whole = answer.capabilities & v4l2.CAP_DEVICE_CAPS
        able = answer.device_caps if whole else answer.capabilities
        if not (able & v4l2.CAP_VIDEO_CAPTURE and able & v4l2.CAP_STREAMING):
            raise DeviceError(f"{self.path}: captures no video by streaming (another node of the camera may)")

    def formats(self) -> list[str]:
        """Four-letter names of the formats it offers."""
        found: list[str] = []
        while True:
            row = v4l2.FormatDescription(index=len(found), type=v4l2.CAPTURE)
            try:
                v4l2.ioctl(self.fd, v4l2.ENUM_FMT, row)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return found
                raise self._refused("formats cannot be listed", error) from error
            found.append(int(row.pixelformat).to_bytes(4, "little").decode("latin-1"))

    def set_mode(self, fourcc: str, width: int, height: int, fps: float) -> Mode:
        """Wish for a format, size and rate; the driver answers with what is nearest."""
        wish = v4l2.Format(type=v4l2.CAPTURE)
        pix = wish.fmt.pix
        pix.width, pix.height, pix.pixelformat, pix.field = width, height, v4l2.fourcc(fourcc), v4l2.FIELD_NONE
        self._ask(v4l2.S_FMT, wish, f"format {fourcc} {width}x{height} refused")
        name = int(pix.pixelformat).to_bytes(4, "little").decode("latin-1")
        return Mode(name, pix.width, pix.height, pix.bytesperline, pix.sizeimage, self._set_rate(fps))

    def borrow(self, addresses: list[int], room: int) -> None:
        """Let the driver write to memory of ours: buffer n at address n, so many bytes each. Nothing is queued yet.

        Raises:
            DeviceError: It does not do that.
        """
        request = v4l2.RequestBuffers(count=len(addresses), type=v4l2.CAPTURE, memory=v4l2.USERPTR)
        self._ask(v4l2.REQBUFS, request, "writes to no memory but its own")
        self._borrowed, self._room = addresses, room
        if request.count < len(addresses):
            self.give_up()
            raise DeviceError(f"{self.path}: knows {request.count} buffers, {len(addresses)} are needed")

    def give_up(self) -> None:
        """Borrow nothing after all."""
        self._borrowed = []
        with contextlib.suppress(OSError):
            request = v4l2.RequestBuffers(count=0, type=v4l2.CAPTURE, memory=v4l2.USERPTR)
            v4l2.ioctl(self.fd, v4l2.REQBUFS, request)

    def stream(self) -> None:
        """Begin to fill what is queued."""
        self._ask(v4l2.STREAMON, ctypes.c_int32(v4l2.CAPTURE), "does not start")

    def start(self) -> None:
        """Map buffers of the driver, queue them all and stream."""
        request = v4l2.RequestBuffers(count=BUFFERS, type=v4l2.CAPTURE, memory=v4l2.MMAP)
        self._ask(v4l2.REQBUFS, request, "no buffers")
        if request.count < 2:
            raise DeviceError(f"{self.path}: {request.count} buffers granted, 2 are needed")
        for index in range(request.count):
            buffer = self._buffer(index)
            self._ask(v4l2.QUERYBUF, buffer, f"buffer {index} unknown")
            try:
                self._maps.append(mmap.mmap(self.fd, buffer.length, offset=buffer.m.offset))
            except OSError as error:
                raise self._refused(f"buffer {index} cannot be mapped", error) from error
            self.queue(index)
        self.stream()

    def queue(self, index: int) -> None:
        """Give a buffer to the driver."""
        self._ask(v4l2.QBUF, self._buffer(index), "takes no buffer")

    def dequeue(self) -> v4l2.Buffer | None:
        """A filled buffer; None when there is none now.

        Raises:
            DeviceError: The camera is gone.
        """
        buffer = self._buffer(0)
        try:
            v4l2.ioctl(self.fd, v4l2.DQBUF, buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._refused("gives no frame", error) from error
        return buffer

    def data(self, index: int, size: int) -> NDArray[np.uint8]:
        """First bytes of a buffer, without a copy, valid until it is queued again."""
        return np.frombuffer(self._maps[index], np.uint8, min(size, len(self._maps[index])))

    def close(self) -> None:
        """Stop and let go; a second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # it may be unplugged
                v4l2.ioctl(fd, v4l2.STREAMOFF, ctypes.c_int32(v4l2.CAPTURE))
            for mapped in self._maps:  # each holds a copy of the descriptor: the camera stays busy until all are closed
                with contextlib.suppress(BufferError):
                    mapped.close()
            self._maps.clear()
            os.close(fd)

    def _set_rate(self, fps: float) -> float:
        rate = v4l2.StreamParameters(type=v4l2.CAPTURE)
        period = rate.parm.capture.timeperframe
        period.numerator, period.denominator = 1000, round(fps * 1000)
        try:
            v4l2.ioctl(self.fd, v4l2.S_PARM, rate)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOTTY}:  # the driver knows no rates
                return 0.0
            raise self._refused("rate cannot be set", error) from error
        return float(period.denominator / period.numerator) if period.numerator else 0.0

    def _buffer(self, index: int) -> v4l2.Buffer:
        if not self._borrowed:
            return v4l2.Buffer(index=index, type=v4l2.CAPTURE, memory=v4l2.MMAP)
        buffer = v4l2.Buffer(index=index, type=v4l2.CAPTURE, memory=v4l2.USERPTR, length=self._room)
        buffer.m.userptr = self._borrowed[index]
        return buffer

    def _ask(self, request: int, argument: ctypes.Structure | ctypes.c_int32, complaint: str) -> None:
        try:
            v4l2.ioctl(self.fd, request, argument)
        except OSError as error:
            raise self._refused(complaint, error) from error

    def _refused(self, complaint: str, error: OSError) -> DeviceError:
        return DeviceError(f"{self.path}: {complaint} ({error.strerror})")
