"""What the tests of capture share: a clip made here, and a driver of Video4Linux2 played here."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from common.ring.writer import RingWriter
from common.settings import CameraSettings, Settings
from common.stats import Stats
from services.capture import v4l2_ioctl as v4l2
from services.capture.v4l2 import V4l2Source


class Driver:
    """Plays a driver behind `v4l2_ioctl.ioctl`; its buffers are pages of an ordinary file."""

    def __init__(self, path: Path, modes: dict[str, tuple[int, float]], settings: Settings) -> None:
        self.modes = modes  # by format: padding of a row in bytes, rate
        self.settings = settings
        self.ring: RingWriter | None = None
        self.takes_pointers = False
        self.most_buffers = 32
        self.bad_address = False
        self.pointers: dict[int, int] = {}
        self.size = (64, 48)
        self.pages = 16 * mmap.PAGESIZE
        path.write_bytes(bytes(self.pages * 8))
        self.file = path.open("r+b")
        self.queued: deque[int] = deque()
        self.filled: deque[v4l2.Buffer] = deque()
        self.error: int | None = None
        self.format = ""
        self.stopped, self.sequence = False, -1
        self.start_s: float = int(time.monotonic()) - 50

    def shoot(self, data: bytes, flags: int = v4l2.FLAG_TIMESTAMP_MONOTONIC, seconds: float | None = None) -> None:
        """Fill the next queued buffer, at a second of the driver's own."""
        self.sequence += 1
        if not self.queued:
            return  # the frame is lost; its number is not given again
        index = self.queued.popleft()
        if self.takes_pointers:
            ctypes.memmove(self.pointers[index], data, len(data))
            self.filled.append(
                v4l2.Buffer(
                    index=index, bytesused=len(data), flags=flags, timestamp=self.stamp(seconds), sequence=self.sequence
                )
            )
            return
        self.file.seek(index * self.pages, io.SEEK_SET)
        self.file.write(data)
        self.file.flush()
        self.filled.append(
            v4l2.Buffer(
                index=index, bytesused=len(data), flags=flags, timestamp=self.stamp(seconds), sequence=self.sequence
            )
        )

    def stamp(self, seconds: float | None) -> tuple[int, int]:
        """A moment of the monotonic clock in seconds and microseconds."""
        told = time.monotonic() if seconds is None else self.start_s + seconds
        return int(told), round(told % 1 * 1e6)

    def __call__(self, _fd: int, request: int, argument: Any) -> None:
        if self.error is not None:
            raise OSError(self.error, "driver says no")
        name = next(name for name, value in vars(v4l2).items() if value == request)
        getattr(self, name.lower(), lambda _argument: None)(argument)

    def querycap(self, argument: Any) -> None:
        argument.capabilities = v4l2.CAP_DEVICE_CAPS | v4l2.CAP_VIDEO_CAPTURE | v4l2.CAP_STREAMING
        argument.device_caps = v4l2.CAP_VIDEO_CAPTURE | v4l2.CAP_STREAMING

    def enum_fmt(self, argument: Any) -> None:
        if argument.index >= len(self.modes):
            raise OSError(errno.EINVAL, "no more")
        argument.pixelformat = v4l2.fourcc(list(self.modes)[argument.index])

    def s_fmt(self, argument: Any) -> None:
        pix = argument.fmt.pix
        self.format = int(pix.pixelformat).to_bytes(4, "little").decode()
        pix.width, pix.height = self.size
        row = {"YUYV": 2 * pix.width, "NV12": pix.width}.get(self.format, 0)
        pix.bytesperline = row + self.modes[self.format][0]

    def s_parm(self, argument: Any) -> None:
        period = argument.parm.capture.timeperframe
        period.numerator, period.denominator = 1, int(self.modes[self.format][1])

    def reqbufs(self, argument: Any) -> None:
        if argument.memory == v4l2.USERPTR:
            if not self.takes_pointers:
                raise OSError(errno.EINVAL, "Invalid argument")
            argument.count = min(argument.count, self.most_buffers)
        else:
            self.takes_pointers = False
            argument.count = 4

    def querybuf(self, argument: Any) -> None:
        argument.length, argument.m.offset = self.pages, argument.index * self.pages

    def qbuf(self, argument: Any) -> None:
        if argument.memory == v4l2.USERPTR:
            if self.bad_address:
                raise OSError(errno.EFAULT, "Bad address")
            self.pointers[argument.index] = argument.m.userptr
            assert argument.length >= 64 * 48 * 3 // 2
        self.queued.append(argument.index)

    def streamoff(self, _argument: Any) -> None:
        self.stopped = True

    def dqbuf(self, argument: Any) -> None:
        if not self.filled:
            raise BlockingIOError(errno.EAGAIN, "none")
        ctypes.memmove(ctypes.byref(argument), ctypes.byref(self.filled.popleft()), ctypes.sizeof(argument))


Opened = tuple[V4l2Source, Driver, Stats]


@pytest.fixture
def opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> Iterator[Callable[..., Opened]]:
    """Makes a source on a played driver."""
    drivers: list[Driver] = []

    def make(modes: dict[str, tuple[int, float]], **settings: Any) -> Opened:
        path, stats = tmp_path / "video0", Stats()
        drivers.append(Driver(path, modes, make_settings()))
        monkeypatch.setattr(v4l2, "ioctl", drivers[-1])
        camera = CameraSettings(source=f"v4l2:{path}", width=64, height=48, **settings)
        return V4l2Source(str(path), camera, stats, True), drivers[-1], stats

    yield make
    for driver in drivers:
        driver.file.close()
        if driver.ring is not None:
            driver.ring.close()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 30 frames of a moving square, 160x120 at 25 fps."""
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(30):
            picture = np.full((120, 160, 3), 40, np.uint8)
            picture[40:80, number * 4 : number * 4 + 40] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path
