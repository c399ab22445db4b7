"""Cameras by Video4Linux2, against a driver played in `conftest.py`."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.errors import ConfigError, DeviceError
from common.pixels import PixelFormat
from common.ring.writer import RingWriter
from common.settings import CameraSettings
from common.stats import Stats
from services.capture import v4l2_ioctl as v4l2
from services.capture.v4l2 import V4l2Source


def planes_of(source: V4l2Source, driver: Any) -> tuple[Any, Any]:
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


def test_rows_with_padding_are_copied(opened: Any) -> None:
    source, driver, _ = opened({"YUYV": (32, 30)})
    driver.takes_pointers = True
    planes_of(source, driver)
    assert source.spare_slots == 0 and not driver.pointers
    source.close()
