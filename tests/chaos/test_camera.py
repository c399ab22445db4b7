"""Cameras as they are: other sizes, nothing, half pictures, one picture a second and 240."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from common.bus import Bus
from common.settings import Settings
from common.stats import read_stats
from common.wire import CameraState
from tools.bench.waiting import until
from tools.supervisor.node import node, stop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Camera:
    """A network camera (motion JPEG over HTTP) that sends what it is told to.

    Attributes:
        mood: Gives the bytes of the next picture; empty ends the connection.
    """

    def __init__(self) -> None:
        self.mood: Callable[[int], bytes] = lambda number: jpeg(320, 240, number)
        self.pause_s = 0.05
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._done.set()
        self._listener.close()

    def _serve(self) -> None:
        while not self._done.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        head = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(head.encode())
                for number in itertools.count():
                    data = self.mood(number)
                    if self._done.wait(self.pause_s):
                        return
                    part = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                    connection.sendall(part + data + b"\r\n")
            except OSError:
                return


def jpeg(width: int, height: int, number: int) -> bytes:
    picture = np.full((height, width, 3), number % 200, np.uint8)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, "bgr24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.close()


class Listener:
    """The newest state of each camera."""

    def __init__(self, settings: Settings) -> None:
        self._bus = Bus(settings.runtime_dir)
        self._states = self._bus.subscriber("camera", settings.cameras)
        self._newest: dict[str, CameraState] = {}

    def state(self, camera: str) -> CameraState | None:
        self._newest |= {state.camera: state for state in self._states.drain()}
        return self._newest.get(camera)

    def close(self) -> None:
        self._bus.close()


def test_a_camera_that_misbehaves_is_told_and_comes_back_and_its_process_stays(
    make_settings: Callable[..., Settings], node_dir: Path, camera: Camera
) -> None:
    source = f"http://127.0.0.1:{camera.port}/video.mjpg"
    settings = make_settings(cameras={"odd": {"source": source}}, view={"enabled": False}, mqtt={"port": 1})
    try:
        with node(settings, node_dir), contextlib.closing(Listener(settings)) as ear:

            def is_now(size: tuple[int, int] | None, words: str = "") -> Any:
                def look() -> bool:
                    state = ear.state("odd")
                    if state is None:
                        return False
                    if size is None:
                        return state.status == "offline" and words in state.reason
                    return state.status == "online" and (state.width, state.height) == size and state.fps > 0

                return until(look, what=f"{size} {words}: {ear.state('odd')}")

            is_now((320, 240))
            pid = read_stats(settings.runtime_dir)["capture:odd"]["pid"]
            camera.mood = lambda number: jpeg(640, 360, number)  # another size in mid-stream
            is_now((640, 360))
            camera.mood = lambda number: jpeg(640, 360, number)[:200] if number % 2 else jpeg(640, 360, number)
            until(
                lambda: read_stats(settings.runtime_dir)["capture:odd"]["drops"].get("damaged", 0) > 3,
                what="half pictures",
            )
            camera.mood = lambda number: b"\0" * 500  # nothing but zeros
            is_now(None)
            camera.mood = lambda number: b""
            is_now(None)
            camera.mood = lambda number: jpeg(320, 240, number)
            is_now((320, 240))
            assert read_stats(settings.runtime_dir)["capture:odd"]["pid"] == pid
    finally:
        stop(settings)


@pytest.mark.parametrize("fps", [1, 240])
def test_one_picture_a_second_and_240_are_cameras_too(
    make_settings: Callable[..., Settings], node_dir: Path, fps: int
) -> None:
    settings = make_settings(
        cameras={"odd": {"source": f"pattern:64x48@{fps}"}}, view={"enabled": False}, mqtt={"port": 1}
    )
    try:
        with node(settings, node_dir):
            until(lambda: read_stats(settings.runtime_dir).get("track", {}).get("totals", {}).get("frames", 0) > 3)
            before = {name: row["pid"] for name, row in read_stats(settings.runtime_dir).items()}
            beats = {0}
            until(lambda: beats.add(read_stats(settings.runtime_dir)["track"]["beat_ns"]) or len(beats) > 8)
            assert {name: row["pid"] for name, row in read_stats(settings.runtime_dir).items()} == before
    finally:
        stop(settings)
