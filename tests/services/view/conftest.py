"""A node without cameras and models: a thread writes a real ring and sends what capture, track and publish would."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common import config
from common.bus import Bus
from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings
from common.shm import remove_segments
from common.stats import read_stats
from common.wire import CONFIRMED, CameraControl, CameraState, Command, ControlState, FrameHandle, TrackFrame
from tools.bench.private import free_port
from tools.bench.waiting import until

ROOT = Path(__file__).parents[3]
WIDTH, HEIGHT = 640, 360
FACE = np.array([200, 100, 300, 220], np.float32)  # the brightest part of the synthetic picture
PERIOD_S = 1 / 30


def synthetic(seq: int) -> np.ndarray:
    """A BGR picture: a dark ramp, a checkered face that stands out, and a stripe that moves."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = np.linspace(30, 80, WIDTH, dtype=np.uint8)[None, :, None]
    x1, y1, x2, y2 = FACE.astype(int)
    cells = (np.indices((y2 - y1, x2 - x1)) // 4).sum(axis=0) % 2 * 255
    picture[y1:y2, x1:x2] = cells[:, :, None]
    stripe = seq * 5 % WIDTH
    picture[300:340, stripe : stripe + 20] = (40, 200, 40)
    return picture


def nv12(picture: np.ndarray, planes: list[np.ndarray]) -> None:
    i420 = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    height, width = picture.shape[:2]
    planes[0][:] = i420[: height * width].reshape(height, width)
    chroma = i420[height * width :].reshape(2, height // 2, width // 2)
    planes[1][:] = np.moveaxis(chroma, 0, 2)


def track_frame(handle: FrameHandle, **changes: Any) -> TrackFrame:
    """One confirmed face at FACE, seen in this frame, with landmarks."""
    now = time.monotonic_ns()
    fields: dict[str, Any] = {
        "ids": np.array([7], np.int64),
        "boxes": FACE[None],
        "velocities": np.zeros((1, 4), np.float32),
        "scores": np.array([0.9], np.float32),
        "states": np.array([CONFIRMED], np.uint8),
        "shown": np.array([1], np.uint8),
        "detection_index": np.array([0], np.int32),
        "hits": np.array([9], np.int32),
        "ages_s": np.array([12.0], np.float32),
        "event_ids": ("01JD0000000000000000000000",),
        "detections": FACE[None],
        "landmarks": np.array([[230, 140, 270, 140, 250, 165, 235, 190, 265, 190]], np.float32),
    }
    fields |= changes
    return TrackFrame(handle, WIDTH, HEIGHT, handle.published_ns, now, now, **fields)


@dataclass
class Producer:
    """What the other processes would do; everything may be changed while it runs."""

    settings: Settings
    camera: str = "door"
    frames: bool = True
    tracks: Callable[[FrameHandle], TrackFrame | None] | None = track_frame
    paint: Callable[[int], np.ndarray] = synthetic
    status: str = "online"
    reason: str = ""
    controls: bool = True
    control: CameraControl = field(default_factory=lambda: CameraControl("door"))
    commands: list[Command] = field(default_factory=list)
    leased: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _work(self) -> None:
        first = self.paint(0)
        geometry = Geometry(first.shape[1], first.shape[0], PixelFormat.NV12)
        with Bus(self.settings.runtime_dir) as bus, RingWriter.create(self.settings, self.camera, geometry) as writer:
            frames, states = bus.publisher("frames", self.camera), bus.publisher("camera", self.camera)
            tracks, controls = bus.publisher("tracks"), bus.publisher("control")
            wishes = bus.puller("commands")
            while not self._end.wait(PERIOD_S):
                self.seq += 1
                if self.frames:
                    handle = self._frame(writer, frames)
                    message = self.tracks(handle) if handle and self.tracks else None
                    if message:
                        tracks.send(message)
                self.leased = len(writer.leased())
                now = time.monotonic_ns()
                size = (geometry.width, geometry.height)
                states.send(CameraState(self.camera, self.status, self.reason, *size, 30.0, 30.0, self.seq, now))
                if self.controls:
                    controls.send(ControlState((self.control,), now))
                self.commands += wishes.drain()

    def _frame(self, writer: RingWriter, frames: Any) -> FrameHandle | None:
        slot = writer.acquire()
        if slot is None:
            return None
        nv12(self.paint(self.seq), slot.planes)
        handle = writer.publish(slot, seq=self.seq, captured_ns=time.monotonic_ns(), media_ns=0)
        frames.send(handle)
        return handle


@dataclass
class Page:
    """A running view and how to reach it."""

    process: subprocess.Popen[bytes]
    settings: Settings

    @property
    def port(self) -> int:
        return self.settings.view.port

    def connect(self, timeout: float = 10) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, dict, bytes]:
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        return json.loads(self.ask("/api/state")[2])

    def stats(self) -> dict[str, Any]:
        return read_stats(self.settings.runtime_dir).get("view", {})

    def snapshot(self, camera: str = "door") -> np.ndarray:
        status, _, data = self.ask(f"/snapshot/{camera}.jpg")
        assert status in {200, 503}
        return decode(data)

    def command(self, body: Any, **headers: str) -> int:
        fixed = {"Content-Type": "application/json", "X-Vedette": "test"}
        return self.ask("/api/command", "POST", json.dumps(body), **(fixed | headers))[0]

    def stream(self, camera: str = "door") -> Iterator[np.ndarray]:
        """Pictures of the stream, as they come."""
        connection = self.connect()
        try:
            connection.request("GET", f"/stream/{camera}.mjpg")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.getheader("content-type") == "multipart/x-mixed-replace; boundary=frame"
            assert answer.readline() == b"--frame\r\n"
            while True:
                length = 0
                while line := answer.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                if not length:
                    return
                data = answer.read(length)
                assert answer.read(2) == b"\r\n"
                assert answer.readline() == b"--frame\r\n"
                yield decode(data)
        finally:
            connection.close()


def decode(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, data[:200]
    return picture


def launch(settings: Settings, *, wait: bool = True) -> Page:
    """`python3 -m services.view` of a node; `wait`: until it serves."""
    name, path = config.write_resolved(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.view"],
        cwd=ROOT,
        env=config.child_environment(**{name: str(path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    page = Page(process, settings)
    if wait:
        try:
            until(lambda: page.stats().get("state") == "running" or process.poll() is not None, what="view serves")
        except TimeoutError:
            raise AssertionError(f"view does not serve: {page.stats()}") from None
        assert process.poll() is None, process.stderr.read().decode()
    return page


def end(page: Page) -> None:
    """Stop it if it runs still."""
    if page.process.poll() is None:
        page.process.terminate()
        try:
            page.process.wait(10)
        except subprocess.TimeoutExpired:
            page.process.kill()
    page.process.communicate()


@pytest.fixture
def start_view(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Page]]:
    """Starts the view of a test node; the keyword arguments are the section `view`."""
    started: list[Page] = []

    def begin(
        *, wait: bool = True, cameras: dict[str, Any] | None = None, rtsp: dict[str, Any] | None = None, **view: Any
    ) -> Page:
        view.setdefault("port", free_port())
        sources = cameras or {"door": {"source": "pattern:640x360@30"}}
        started.append(launch(make_settings(cameras=sources, view=view, rtsp=rtsp or {}), wait=wait))
        return started[-1]

    yield begin
    for page in started:
        end(page)


@pytest.fixture(scope="module")
def asked_page() -> Iterator[Page]:
    """One view with default settings for all the tests of a file that only ask it something and change nothing."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))
    places = {"runtime_dir": str(directory / "run"), "state_dir": str(directory / "state")}
    cameras = {"door": {"source": "pattern:640x360@30"}}
    page = launch(config.check({"cameras": cameras, "view": {"port": free_port()}, **places}))
    yield page
    end(page)
    remove_segments(page.settings.runtime_dir)
    shutil.rmtree(directory)


@pytest.fixture
def produce() -> Iterator[Callable[..., Producer]]:
    """Starts what feeds a page: `produce(page)`."""
    made: list[Producer] = []

    def begin(page: Page, **changes: Any) -> Producer:
        made.append(Producer(page.settings, **changes))
        return made[-1]

    yield begin
    for producer in made:
        producer.close()


@pytest.fixture
def page(start_view: Callable[..., Page]) -> Page:
    """A view with default settings."""
    return start_view()


@pytest.fixture
def producer(page: Page, produce: Callable[..., Producer]) -> Producer:
    """Feeds `page`; returns once the page knows that the camera is online."""
    made = produce(page)
    until(lambda: page.state()["cameras"][0]["status"] == "online")
    return made


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    """Waits for a condition, with a deadline."""
    return until
