"""`picamera2:0`: a camera at the Raspberry Pi's CSI port, through libcamera; `?stream=lores` takes the small stream."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.source import Stamp

WIDTH, HEIGHT, FPS = 1280, 720, 30.0
BUFFERS = 4
WAIT_S, SILENCE_S = 0.1, 5.0
STREAMS = ("main", "lores")


class Picamera2Source:
    """Frames of a Raspberry Pi camera, I420."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:  # noqa: ARG002
        number, _, query = address.partition("?")
        name, _, stream = (query or "stream=main").partition("=")
        if not number.isdecimal() or name != "stream" or stream not in STREAMS:
            raise ConfigError(f"source 'picamera2:{address}': like picamera2:0 or picamera2:0?stream=lores")
        self._number, self._stream = int(number), stream
        width, height = (settings.width or WIDTH) & ~1, (settings.height or HEIGHT) & ~1
        self._geometry = Geometry(width, height, PixelFormat.I420)
        self.nominal_fps = settings.fps or FPS
        self._camera: Any = None
        self._job: Any = None
        self._request: Any = None
        self._first_ns = 0

    def open(self) -> Geometry:
        """Configure and start; with `lores` the main stream has twice its size, so that the field of view is whole."""
        try:
            self._library = importlib.import_module("picamera2")
        except ImportError as error:
            raise DeviceError("picamera2 is missing: apt install python3-picamera2") from error
        width, height = self._geometry.width, self._geometry.height
        wish = {"size": (width, height), "format": "YUV420"}
        streams: dict[str, Any] = {"main": wish}
        if self._stream == "lores":
            streams = {"main": {"size": (2 * width, 2 * height), "format": "YUV420"}, "lores": wish}
        try:
            self._camera = self._library.Picamera2(self._number)
            controls = {"FrameRate": self.nominal_fps}
            plan = self._camera.create_video_configuration(**streams, buffer_count=BUFFERS, controls=controls)
            self._camera.configure(plan)
            self._camera.start()
            agreed = self._camera.camera_configuration()[self._stream]
        except (RuntimeError, IndexError, OSError) as error:
            raise DeviceError(f"camera {self._number}: {error}") from error
        self._stride = int(agreed["stride"])
        self._geometry = Geometry(agreed["size"][0] & ~1, agreed["size"][1] & ~1, PixelFormat.I420)
        self._rows = int(agreed["size"][1])
        self._heard_ns = time.monotonic_ns()
        return self._geometry

    def wait(self) -> bool:
        """Wait for a frame."""
        self.skip()
        if self._job is None:
            self._job = self._camera.capture_request(wait=False)
        try:
            self._request = self._job.get_result(timeout=WAIT_S)
        except TimeoutError:
            if time.monotonic_ns() - self._heard_ns > SILENCE_S * 1e9:
                raise DeviceError(f"camera {self._number}: no frame for {SILENCE_S:g} s") from None
            return False
        except (RuntimeError, OSError) as error:
            raise DeviceError(f"camera {self._number}: {error}") from error
        self._job, self._heard_ns = None, time.monotonic_ns()
        return True

    def read(self, planes: list[Plane]) -> Stamp | None:
        """Copy the frame."""
        if self._request is None:
            return None
        captured_ns = _captured_ns(self._request.get_metadata())
        self._first_ns = self._first_ns or captured_ns
        with self._library.MappedArray(self._request, self._stream, reshape=False) as mapped:
            self._copy(np.asarray(mapped.array, np.uint8).ravel(), planes)
        self.skip()
        return Stamp(captured_ns, max(0, captured_ns - self._first_ns))

    def skip(self) -> None:
        """Give the buffer back to the camera."""
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def close(self) -> None:
        """Stop and let go."""
        self.skip()
        camera, self._camera, self._job = self._camera, None, None
        if camera is not None:
            camera.close()

    def _copy(self, data: NDArray[np.uint8], planes: list[Plane]) -> None:
        start = 0
        for index, plane in enumerate(planes):
            rows, stride = (self._rows, self._stride) if index == 0 else (self._rows // 2, self._stride // 2)
            source = data[start : start + rows * stride].reshape(rows, stride)
            np.copyto(plane, source[: plane.shape[0], : plane.shape[1]])
            start += rows * stride


def _captured_ns(metadata: dict[str, Any]) -> int:
    """The sensor's stamp, which counts suspended time too, on the monotonic clock."""
    stamp = metadata.get("SensorTimestamp")
    now = time.monotonic_ns()
    if stamp is None:
        return now
    return min(now, int(stamp) - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now))
