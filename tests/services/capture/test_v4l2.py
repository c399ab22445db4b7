"""Cameras by Video4Linux2: our structures against the kernel's header, the source against a driver played here."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.errors import ConfigError, DeviceError, FrameGone
from common.pixels import PixelFormat
from common.ring.reader import RingReader
from common.ring.writer import RingWriter
from common.settings import CameraSettings, Settings
from common.stats import Stats
from services.capture import v4l2_ioctl as v4l2
from services.capture.v4l2 import V4l2Source

STRUCTURES = {
    "v4l2_capability": v4l2.Capability,
    "v4l2_fmtdesc": v4l2.FormatDescription,
    "v4l2_format": v4l2.Format,
    "v4l2_pix_format": v4l2.PixFormat,
    "v4l2_streamparm": v4l2.StreamParameters,
    "v4l2_requestbuffers": v4l2.RequestBuffers,
    "v4l2_buffer": v4l2.Buffer,
}
REQUESTS = ("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF", "S_PARM")
OFFSETS = {
    ("v4l2_buffer", "timestamp"): v4l2.Buffer.timestamp.offset,
    ("v4l2_buffer", "m"): v4l2.Buffer.m.offset,
    ("v4l2_buffer", "length"): v4l2.Buffer.length.offset,
    ("v4l2_format", "fmt"): v4l2.Format.fmt.offset,
    ("v4l2_capability", "device_caps"): v4l2.Capability.device_caps.offset,
}


@pytest.mark.skipif(
    shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists(), reason="needs gcc and headers"
)
def test_structures_and_requests_are_those_of_the_kernel_header(tmp_path: Path) -> None:
    lines = [f'printf("%zu\\n", sizeof(struct {name}));' for name in STRUCTURES]
    lines += [f'printf("%zu\\n", offsetof(struct {name}, {field}));' for name, field in OFFSETS]
    lines += [f'printf("%lu\\n", (unsigned long)VIDIOC_{name});' for name in REQUESTS]
    source = tmp_path / "sizes.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <sys/time.h>\n#include <linux/videodev2.h>\n"
        f"int main(void) {{ {' '.join(lines)} return 0; }}"
    )
    subprocess.run(["gcc", "-o", tmp_path / "sizes", source], check=True)
    told = [int(line) for line in subprocess.run([tmp_path / "sizes"], check=True, capture_output=True).stdout.split()]
    ours = [ctypes.sizeof(structure) for structure in STRUCTURES.values()]
    assert told == ours + list(OFFSETS.values()) + [getattr(v4l2, name) for name in REQUESTS]


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
        name = next(name for name in REQUESTS if getattr(v4l2, name) == request)
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


def planes_of(source: V4l2Source, driver: Driver) -> tuple[Any, Any]:
    """Open and begin; gives the geometry and planes to read into."""
    geometry = source.open()
    driver.ring = RingWriter(driver.settings, "door", geometry, 3 + source.spare_slots)
    source.begin(driver.ring)
    return geometry, geometry.planes(np.zeros(geometry.frame_bytes, np.uint8))


@pytest.mark.parametrize(
    ("name", "rows", "padding"), [("YUYV", 48, 0), ("YUYV", 48, 32), ("NV12", 72, 0), ("NV12", 72, 16)]
)
def test_raw_frames_come_without_the_padding_of_their_rows(opened: Any, name: str, rows: int, padding: int) -> None:
    source, driver, _ = opened({name: (padding, 30)})
    geometry, planes = planes_of(source, driver)
    row = geometry.width * (2 if name == "YUYV" else 1)
    picture = np.random.default_rng(1).integers(0, 256, (rows, row), np.uint8)
    driver.shoot(np.pad(picture, ((0, 0), (0, padding))).tobytes(), seconds=7)
    assert source.wait()
    stamp = source.read(planes)
    assert np.array_equal(np.concatenate([plane.ravel() for plane in planes]), picture.ravel())
    assert stamp is not None and stamp.captured_ns == (int(driver.start_s) + 7) * 10**9 and stamp.media_ns == 0
    assert len(driver.queued) == 4
    source.close()


def test_newest_frame_is_taken_and_older_ones_go_back_to_the_driver(opened: Any) -> None:
    source, driver, stats = opened({"YUYV": (0, 30)})
    geometry, planes = planes_of(source, driver)
    for value in (1, 2, 3):
        driver.shoot(bytes([value]) * geometry.frame_bytes, seconds=value)
    assert source.wait()
    assert source.read(planes).captured_ns == (int(driver.start_s) + 3) * 10**9
    assert (planes[0] == 3).all() and stats.report()["drops"] == {"late": 2} and len(driver.queued) == 4
    source.close()


def test_frames_with_the_error_flag_or_too_few_bytes_are_counted_and_given_back(opened: Any) -> None:
    source, driver, stats = opened({"YUYV": (0, 30)})
    geometry, _ = planes_of(source, driver)
    driver.shoot(bytes(geometry.frame_bytes), flags=v4l2.FLAG_ERROR)
    driver.shoot(bytes(geometry.frame_bytes // 2))
    assert not source.wait()
    assert stats.report()["drops"] == {"damaged": 2} and len(driver.queued) == 4
    source.close()


def test_motion_jpeg_is_decoded_and_a_damaged_one_passed_over(opened: Any) -> None:
    source, driver, _ = opened({"MJPG": (0, 30)})
    geometry, planes = planes_of(source, driver)
    assert geometry.pixel_format is PixelFormat.I420
    good = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()
    driver.shoot(b"no picture at all")
    assert source.wait() and source.read(planes) is None
    driver.shoot(good)
    assert source.wait() and source.read(planes) is not None
    assert abs(float(planes[0].mean()) - 126) < 4  # 128 of the full range is 126 of the video range
    source.close()


def test_unplugged_camera_is_a_device_error(opened: Any) -> None:
    source, driver, _ = opened({"YUYV": (0, 30)})
    planes_of(source, driver)
    driver.error = errno.ENODEV
    with pytest.raises(DeviceError, match="gives no frame"):
        source.wait()
    source.close()
    source.close()


def test_jpeg_is_chosen_when_raw_frames_are_too_slow(opened: Any) -> None:
    source, _, _ = opened({"YUYV": (0, 10), "MJPG": (0, 30)})
    assert source.open().pixel_format is PixelFormat.I420 and source.nominal_fps == 30
    source.close()


def test_raw_frames_are_chosen_when_they_are_fast_enough(opened: Any) -> None:
    source, _, _ = opened({"MJPG": (0, 60), "YUYV": (0, 30)})
    assert source.open().pixel_format is PixelFormat.YUYV
    source.close()


def test_format_that_is_not_offered_names_those_that_are(opened: Any) -> None:
    source, _, _ = opened({"YUYV": (0, 30)}, pixel_format="nv12")
    with pytest.raises(DeviceError, match="offers YUYV"):
        source.open()
    source.close()


def test_missing_and_foreign_devices_are_device_errors(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    for path, words in ((tmp_path / "none", "No such file"), (plain, "no camera")):
        source = V4l2Source(str(path), CameraSettings(source=f"v4l2:{path}"), Stats(), True)
        with pytest.raises(DeviceError, match=words):
            source.open()
        source.close()
    with pytest.raises(ConfigError, match="absolute path"):
        V4l2Source("video0", CameraSettings(source="v4l2:video0"), Stats(), True)


def test_stamp_of_another_clock_is_replaced_by_now(opened: Any) -> None:
    source, driver, _ = opened({"YUYV": (0, 30)})
    geometry, planes = planes_of(source, driver)
    before = time.monotonic_ns()
    driver.shoot(bytes(geometry.frame_bytes), flags=0)
    assert source.wait() and before <= source.read(planes).captured_ns <= time.monotonic_ns()
    source.close()


@pytest.mark.parametrize("seconds", [1.5, 1e6, -61])
def test_stamp_of_the_future_or_of_long_ago_is_replaced_by_now(opened: Any, seconds: float) -> None:
    source, driver, _ = opened({"YUYV": (0, 30)})
    geometry, planes = planes_of(source, driver)
    driver.start_s = before = time.monotonic()
    driver.shoot(bytes(geometry.frame_bytes), seconds=seconds)
    assert source.wait() and before * 1e9 <= source.read(planes).captured_ns <= time.monotonic_ns()
    source.close()


def test_closing_stops_the_stream_and_holds_no_descriptor_of_the_camera(opened: Any, tmp_path: Path) -> None:
    source, driver, _ = opened({"YUYV": (0, 30)})
    geometry, planes = planes_of(source, driver)
    driver.shoot(bytes(geometry.frame_bytes))
    assert source.wait() and source.read(planes) is not None
    source.close()
    driver.file.close()
    assert driver.stopped
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == tmp_path / "video0"]


def begun(opened: Any, name: str = "YUYV", **traits: Any) -> tuple[V4l2Source, Driver, Stats, bool]:
    """A source on a driver that writes into other people's memory, and whether it does."""
    source, driver, stats = opened({name: (0, 30)})
    driver.takes_pointers = True
    for key, value in traits.items():
        setattr(driver, key, value)
    driver.ring = RingWriter(driver.settings, "door", source.open(), 3 + source.spare_slots)
    return source, driver, stats, source.begin(driver.ring)


@pytest.mark.parametrize("name", ["YUYV", "NV12"])
def test_the_driver_writes_into_the_ring_and_nothing_is_copied(opened: Any, name: str) -> None:
    source, driver, stats, direct = begun(opened, name)
    assert direct and stats.report()["gauges"]["direct"] == 1
    reader = RingReader(driver.settings, "door")
    assert set(driver.pointers.values()) <= set(driver.ring.addresses())
    for number in range(20):
        picture = np.random.default_rng(number).integers(0, 256, driver.ring.geometry.frame_bytes, np.uint8)
        driver.shoot(picture.tobytes(), seconds=number + 1)
        assert source.wait()
        slot, stamp = source.take()
        handle = driver.ring.publish(slot, number + 1, stamp.captured_ns, stamp.media_ns)
        with reader.lease(handle) as lease:
            assert np.array_equal(lease.pixels, picture)
        assert (stamp.captured_ns, stamp.media_ns) == ((int(driver.start_s) + number + 1) * 10**9, number * 10**9)
    reader.close()
    source.close()


def test_a_slot_that_the_driver_has_cannot_be_leased_and_a_leased_one_is_not_lent(opened: Any) -> None:
    source, driver, stats, _ = begun(opened)
    reader, handles, leases = RingReader(driver.settings, "door"), [], []
    data = bytes(driver.ring.geometry.frame_bytes)
    while driver.queued:  # somebody keeps every frame
        driver.shoot(data)
        assert source.wait()
        handles.append(driver.ring.publish(source.take()[0], len(handles) + 1, 1, 0))
        leases.append(reader.lease(handles[-1]))
        source.wait()
    assert len(leases) == driver.ring.slots
    assert not source.wait()
    assert stats.report()["totals"]["starved"] >= 1
    for _ in range(5):
        driver.shoot(data)  # nobody can have these
    leases[0].release()
    assert not source.wait() and list(driver.queued) == [handles[0].slot]
    with pytest.raises(FrameGone):
        reader.lease(handles[0])
    driver.shoot(data)
    assert source.wait()
    assert stats.report()["drops"] == {"missed": 5}
    for lease in leases:
        lease.release()
    reader.close()
    source.close()


def test_damaged_and_late_frames_go_back_to_the_driver_in_the_same_slot(opened: Any) -> None:
    source, driver, stats, _ = begun(opened)
    lent, data = set(driver.queued), bytes(driver.ring.geometry.frame_bytes)
    driver.shoot(data, flags=v4l2.FLAG_ERROR)
    driver.shoot(data)
    driver.shoot(data, seconds=9)
    assert source.wait()
    assert stats.report()["drops"] == {"damaged": 1, "late": 1}
    slot, stamp = source.take()
    assert stamp.captured_ns == (int(driver.start_s) + 9) * 10**9
    assert {slot.index, *driver.queued} == lent
    source.close()


@pytest.mark.parametrize("traits", [{"takes_pointers": False}, {"most_buffers": 4}, {"bad_address": True}])
def test_a_driver_that_cannot_is_told_and_frames_are_copied(opened: Any, traits: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    source, driver, stats, direct = begun(opened, **traits)
    assert not direct and stats.report()["gauges"]["direct"] == 0
    assert "frames are copied into the ring reason=" in caplog.text
    driver.shoot(bytes([5]) * driver.ring.geometry.frame_bytes)
    assert source.wait()
    for _ in range(driver.ring.slots - 1):  # no slot is held by a driver that gave up
        slot = driver.ring.acquire()
        assert slot is not None
    assert source.read(slot.planes) is not None and (slot.pixels == 5).all()
    source.close()


def test_rows_with_padding_are_copied(opened: Any) -> None:
    source, driver, _ = opened({"YUYV": (32, 30)})
    driver.takes_pointers = True
    planes_of(source, driver)
    assert source.spare_slots == 0 and not driver.pointers
    source.close()
