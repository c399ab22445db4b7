"""Sceneries for the screen: a ring with one still frame, the messages around it, and an X server without a display."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings
from common.wire import CONFIRMED, CameraState, FrameHandle, TrackFrame
from tools.bench.waiting import until

FACE = np.array([200, 100, 300, 220], np.float32)


def synthetic(width: int = 640, height: int = 360) -> NDArray[np.uint8]:
    """A picture in which no two regions look alike."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x // 16 + y // 16) % 2 * 120], -1).astype(np.uint8)


def track_frame(handle: FrameHandle, width: int, height: int) -> TrackFrame:
    """One confirmed face at FACE."""
    now = time.monotonic_ns()
    return TrackFrame(
        handle, width, height, handle.published_ns, now, now,
        ids=np.array([7], np.int64), boxes=FACE[None], velocities=np.zeros((1, 4), np.float32),
        scores=np.array([0.9], np.float32), states=np.array([CONFIRMED], np.uint8), shown=np.array([1], np.uint8),
        detection_index=np.array([0], np.int32), hits=np.array([9], np.int32), ages_s=np.array([12.0], np.float32),
        event_ids=("01JD0000000000000000000000",), detections=FACE[None],
        landmarks=np.array([[230, 140, 270, 140, 250, 165, 235, 190, 265, 190]], np.float32),
    )  # fmt: skip


@dataclass
class Camera:
    """A ring of one camera, and what is said about its frames."""

    name: str
    writer: RingWriter
    seq: int = 0

    def frame(self, picture: NDArray[np.uint8]) -> FrameHandle:
        slot = self.writer.acquire()
        assert slot is not None
        slot.planes[0][:] = picture
        self.seq += 1
        return self.writer.publish(slot, seq=self.seq, captured_ns=time.monotonic_ns(), media_ns=0)

    def tracks(self, handle: FrameHandle) -> TrackFrame:
        return track_frame(handle, self.writer.geometry.width, self.writer.geometry.height)

    def state(self) -> CameraState:
        geometry = self.writer.geometry
        now = time.monotonic_ns()
        return CameraState(self.name, "online", "", geometry.width, geometry.height, 30.0, 30.0, self.seq, now)


@pytest.fixture
def camera(settings: Settings) -> Iterator[Callable[..., Camera]]:
    """Makes cameras of the test node."""
    made: list[Camera] = []

    def make(name: str, width: int = 640, height: int = 360) -> Camera:
        made.append(Camera(name, RingWriter.create(settings, name, Geometry(width, height, PixelFormat.BGR))))
        return made[-1]

    yield make
    for camera in made:
        camera.writer.close()


@dataclass
class XServer:
    """An X server that draws into memory."""

    display: str

    def screenshot(self) -> NDArray[np.uint8]:
        """What is on it, BGR."""
        dump = subprocess.run(["xwd", "-silent", "-root", "-display", self.display], capture_output=True, check=True)
        header = np.frombuffer(dump.stdout[:100], ">u4")
        size, width, height, stride, colours = header[0], header[4], header[5], header[12], header[19]
        rows = np.frombuffer(dump.stdout, np.uint8, offset=int(size + 12 * colours))[: stride * height]
        return rows.reshape(height, stride)[:, : width * 4].reshape(height, width, 4)[..., :3].copy()

    def environment(self) -> dict[str, str]:
        return {"DISPLAY": self.display}


@pytest.fixture
def xserver() -> Iterator[XServer]:
    """Xvfb, 800x600."""
    if not (shutil.which("Xvfb") and shutil.which("xwd")):
        pytest.skip("needs the packages xvfb and x11-apps")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as line:
        number = line.readline().strip()  # written once it is ready
    assert number, "Xvfb did not start"
    yield XServer(f":{number}")
    process.terminate()
    process.wait(10)


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    """Waits for a condition, with a deadline."""
    return until


@pytest.fixture
def still() -> NDArray[np.uint8]:
    """The picture of a test camera."""
    return synthetic()


@pytest.fixture
def face() -> NDArray[np.float32]:
    """Where the face of `Camera.tracks` is, xyxy."""
    return FACE
