"""Raspberry Pi cameras, with a module in place of picamera2 that answers as it does."""

from __future__ import annotations

import sys
import time
import types
from typing import Any, Self

import numpy as np
import pytest

from common.errors import ConfigError, DeviceError
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.picamera import Picamera2Source

STRIDE = 128  # of rows 64 wide, as libcamera pads them


class Request:
    def __init__(self) -> None:
        self.released = 0
        self.data = np.random.default_rng(2).integers(0, 256, STRIDE * 48 * 3 // 2, np.uint8)
        self.stamp = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 5_000_000

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": self.stamp}

    def release(self) -> None:
        self.released += 1


class MappedArray:
    def __init__(self, request: Request, stream: str, reshape: bool = True) -> None:
        assert stream in {"main", "lores"} and not reshape
        self.array = request.data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Job:
    def __init__(self, request: Request | None) -> None:
        self.request = request

    def get_result(self, timeout: float | None = None) -> Request:
        if self.request is None:
            raise TimeoutError
        return self.request


class Picamera2:
    request: Request | None = None
    plan: dict[str, Any]
    closed = 0

    def __init__(self, number: int) -> None:
        if number > 0:
            raise IndexError("list index out of range")

    def create_video_configuration(self, **plan: Any) -> dict[str, Any]:
        return plan

    def configure(self, plan: dict[str, Any]) -> None:
        type(self).plan = plan

    def start(self) -> None:
        pass

    def camera_configuration(self) -> dict[str, Any]:
        return {name: {**self.plan[name], "stride": STRIDE} for name in ("main", "lores") if name in self.plan}

    def capture_request(self, wait: bool = True) -> Job:
        assert wait is False
        return Job(self.request)

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    class Fresh(Picamera2):
        pass

    module = types.ModuleType("picamera2")
    vars(module).update(Picamera2=Fresh, MappedArray=MappedArray)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return Fresh


def source(address: str = "0", fps: float | None = 15) -> Picamera2Source:
    settings = CameraSettings(source=f"picamera2:{address}", width=64, height=48, fps=fps)
    return Picamera2Source(address, settings, Stats(), True)


def test_frame_comes_without_padding_and_its_buffer_goes_back(library: type[Picamera2]) -> None:
    camera = source()
    geometry = camera.open()
    library.request = request = Request()
    planes = geometry.planes(np.zeros(geometry.frame_bytes, np.uint8))
    assert camera.wait()
    stamp = camera.read(planes)
    luma = request.data[: 48 * STRIDE].reshape(48, STRIDE)[:, :64]
    red = request.data[48 * STRIDE * 5 // 4 :].reshape(24, STRIDE // 2)[:, :32]
    assert np.array_equal(planes[0], luma) and np.array_equal(planes[2], red) and request.released == 1
    assert stamp is not None and 0 < time.monotonic_ns() - stamp.captured_ns < 10_000_000_000
    assert library.plan["controls"] == {"FrameRate": 15} and "lores" not in library.plan
    camera.close()
    camera.close()
    assert library.closed == 1


def test_small_stream_has_a_main_stream_of_twice_its_size(library: type[Picamera2]) -> None:
    camera = source("0?stream=lores")
    assert (camera.open().width, library.plan["main"]["size"], library.plan["lores"]["size"]) == (
        64,
        (128, 96),
        (64, 48),
    )
    camera.close()


def test_silent_camera_is_waited_for(library: type[Picamera2]) -> None:
    camera = source()
    camera.open()
    assert not camera.wait()
    camera.close()


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DeviceError, match="apt install python3-picamera2"):
        source().open()


@pytest.mark.usefixtures("library")
def test_missing_camera_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="camera 1"):
        source("1").open()


@pytest.mark.parametrize("address", ["", "front", "0?stream=raw", "0?size=3"])
def test_malformed_addresses_say_how_it_is_written(address: str) -> None:
    with pytest.raises(ConfigError, match="like picamera2:0"):
        source(address)
