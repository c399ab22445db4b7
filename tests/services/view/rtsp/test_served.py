"""RTSP through the real process, read by ffprobe, OpenCV, PyAV and a plain socket."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.wire import CameraControl
from services.view.rtsp.server import CLIENTS
from tools.bench.private import free_port

FACE = (200, 100, 300, 220)
TCP = {"rtsp_transport": "tcp"}
PASSWORD = "open sesame"


def contrast(picture: NDArray[np.uint8], box: tuple[int, int, int, int] = FACE) -> float:
    x1, y1, x2, y2 = box
    return float(np.abs(np.diff(picture[y1 + 6 : y2 - 6, x1 + 6 : x2 - 6].astype(np.float32), axis=1)).mean())


@pytest.fixture
def served(start_view: Callable, produce: Callable, until: Callable):
    """A view that serves RTSP, with a camera."""
    page = start_view(rtsp={"enabled": True, "port": free_port()})
    page.producer = produce(page)
    until(lambda: page.state()["cameras"][0]["status"] == "online")
    page.url = f"rtsp://127.0.0.1:{page.settings.rtsp.port}/door"
    return page


class Client:
    """RTSP by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        host, port = url.removeprefix("rtsp://").partition("/")[0].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 20)
        self.file = self.socket.makefile("rb")
        self.number = 0

    def ask(self, method: str, url: str = "", *headers: str) -> tuple[int, dict[str, str], bytes]:
        self.number += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.number}", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        while (first := self.file.read(1)) == b"$":
            self.packet(first)
        status = int((first + self.file.readline()).split()[1])
        answered = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(": ")
            answered[name.lower()] = value
        return status, answered, self.file.read(int(answered.get("content-length", 0)))

    def packet(self, first: bytes = b"") -> tuple[int, bytes]:
        head = (first or self.file.read(1)) + self.file.read(3)
        assert head[:1] == b"$", head
        return head[1], self.file.read(int.from_bytes(head[2:], "big"))

    def play(self) -> str:
        assert self.ask("DESCRIBE")[0] == 200
        status, headers, _ = self.ask(
            "SETUP", f"{self.url}/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=4-5"
        )
        assert (status, headers["transport"]) == (200, "RTP/AVP/TCP;unicast;interleaved=4-5")
        session = headers["session"].partition(";")[0]
        assert self.ask("PLAY", "", f"Session: {session}")[0] == 200
        return session

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[str], Client]]:
    with contextlib.ExitStack() as stack:
        yield lambda url: stack.enter_context(contextlib.closing(Client(url)))


def test_pyav_and_opencv_read_at_the_same_time_and_one_encoder_works_for_both(served, until) -> None:
    video = cv2.VideoCapture(served.url, cv2.CAP_FFMPEG)
    with av.open(served.url, options=TCP, timeout=20) as container:
        pictures = []
        for frame in container.decode(video=0):
            good, other = video.read()
            assert good
            pictures.append((frame.to_ndarray(format="bgr24"), other))
            if len(pictures) == 12:
                break
        assert served.state()["rtsp"]["cameras"]["door"]["viewers"] == 2
        totals = served.stats()["totals"]
    video.release()
    assert all(one.shape == other.shape == (360, 640, 3) for one, other in pictures)
    assert contrast(pictures[-1][0]) > 40
    assert any(np.abs(pictures[0][0].astype(int) - one).max() > 60 for one, _ in pictures[1:])
    assert totals["video"] <= served.producer.seq
    until(lambda: served.state()["rtsp"]["cameras"]["door"]["viewers"] == 0)
    reached = served.producer.seq
    until(lambda: served.producer.seq > reached + 45)  # a report is up to a second old
    before, reached = served.stats()["totals"]["video"], served.producer.seq
    until(lambda: served.producer.seq > reached + 45)
    assert served.stats()["totals"]["video"] == before
    assert "encoded" not in served.stats()["totals"]  # no JPEG for those who take H.264


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_finds_h264_with_the_time_of_day(served) -> None:
    # Without a wish for TCP: it asks for UDP first, is refused, and takes TCP.
    shown = "stream=codec_name,width,height:format=start_time_realtime"
    command = ["ffprobe", "-v", "error", "-show_entries", shown, "-of", "json", served.url]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    [stream] = told["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 640, 360)


def test_stream_begins_with_a_key_picture_and_sender_reports_tell_the_time(served, connect) -> None:
    client = connect(served.url)
    client.play()
    packets: list[bytes] = []
    report = b""
    while len(packets) < 60:
        channel, data = client.packet()
        if channel == 4:
            packets.append(data)
        elif not packets:
            report = data
    wall_s = struct.unpack(">II", report[8:16])
    assert report[1] == 200
    assert abs(wall_s[0] - 2208988800 + wall_s[1] / 2**32 - time.time()) < 30
    first = [packet[12] & 31 for packet in packets[:3]]
    assert first[:2] == [7, 8]  # parameter sets
    assert first[2] in {5, 28}
    if first[2] == 28:
        assert packets[2][13] == 0x85  # the first fragment of a key picture
    numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
    assert [(after - before) & 0xFFFF for before, after in itertools.pairwise(numbers)] == [1] * 59
    # the first picture's time, by the report's clock, lies shortly before now
    ahead = (int.from_bytes(packets[0][4:8], "big") - int.from_bytes(report[16:20], "big")) & 0xFFFFFFFF
    ahead_s = (ahead - (1 << 32 if ahead >> 31 else 0)) / 90_000
    assert -20 < ahead_s < 20


def test_session_is_kept_asked_and_torn_down(served, connect, until) -> None:
    client = connect(served.url)
    session = client.play()
    assert client.ask("OPTIONS")[0] == 200
    assert client.ask("GET_PARAMETER", "", f"Session: {session}")[0] == 200
    assert client.ask("GET_PARAMETER", "", "Session: other")[0] == 454
    assert client.ask("PAUSE", "", f"Session: {session}")[0] == 200
    assert client.ask("PLAY", "", f"Session: {session}")[0] == 200
    assert client.ask("TEARDOWN", "", f"Session: {session}")[0] == 200
    assert client.ask("PLAY", "", f"Session: {session}")[0] == 454
    until(lambda: served.state()["rtsp"]["cameras"]["door"]["viewers"] == 0)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "/cellar", (), 404),
        ("DESCRIBE", "/../door", (), 404),
        ("SETUP", "/door/trackID=0", ("Transport: RTP/AVP;unicast;client_port=5000-5001",), 461),
        ("SETUP", "/door/trackID=0", (), 461),
        ("ANNOUNCE", "/door", (), 405),
        ("PLAY", "/door", (), 454),
        ("TEARDOWN", "/door", ("Session: abc",), 454),
    ],
)
def test_what_cannot_be_done_is_told(served, connect, method: str, path: str, headers: tuple, status: int) -> None:
    client = connect(served.url)
    assert client.ask(method, served.url.removesuffix("/door") + path, *headers)[0] == status


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"DESCRIBE rtsp://h/door RTSP/2.0\r\nCSeq: 1\r\n\r\n",
        b"A" * 40_000,
        b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"\0\xff\r\n\r\n",
    ],
)
def test_foreign_bytes_end_the_connection_or_are_refused_and_nothing_else(served, connect, data: bytes) -> None:
    client = connect(served.url)
    with contextlib.suppress(ConnectionError):
        client.socket.sendall(data)
        answer = client.socket.recv(100)
        assert answer == b"" or b" 505 " in answer
    assert connect(served.url).ask("DESCRIBE")[0] == 200
    assert served.process.poll() is None


def test_password_is_asked_by_digest_and_basic_and_guessing_is_slowed_down(
    start_view: Callable, produce: Callable, connect, until
) -> None:
    page = start_view(rtsp={"enabled": True, "port": free_port(), "password": PASSWORD})
    produce(page)
    port = page.settings.rtsp.port
    assert connect(f"rtsp://127.0.0.1:{port}/door").ask("DESCRIBE")[0] == 401
    with av.open(f"rtsp://me:open%20sesame@127.0.0.1:{port}/door", options=TCP, timeout=20) as container:
        assert next(container.decode(video=0)).width == 640
    client = connect(f"rtsp://127.0.0.1:{port}/door")
    basic = "Authorization: Basic bWU6b3BlbiBzZXNhbWU="
    assert client.ask("DESCRIBE", "", basic)[0] == 200
    for _ in range(5):
        assert client.ask("DESCRIBE", "", "Authorization: Basic bWU6d3Jvbmc=")[0] == 401
    status, headers, _ = client.ask("DESCRIBE", "", basic)
    assert (status, "retry-after" in headers) == (401, True)  # the right one has to wait too
    assert page.state()["rtsp"]["enabled"]


def test_strangers_take_no_place_from_those_who_know_the_password(
    start_view: Callable, produce: Callable, connect
) -> None:
    page = start_view(rtsp={"enabled": True, "port": free_port(), "password": PASSWORD})
    produce(page)
    url = f"rtsp://127.0.0.1:{page.settings.rtsp.port}/door"
    strangers = [connect(url) for _ in range(CLIENTS + 8)]
    basic = "Authorization: Basic bWU6b3BlbiBzZXNhbWU="
    known = connect(url)
    assert known.ask("DESCRIBE", "", basic)[0] == 200
    gone = set()
    deadline = time.monotonic() + 60
    while len(gone) < len(strangers):  # whatever they say, they are sent away
        assert time.monotonic() < deadline
        for stranger in set(strangers) - gone:
            try:
                stranger.ask("OPTIONS")
            except (OSError, IndexError):
                gone.add(stranger)
        assert known.ask("GET_PARAMETER", "", basic)[0] == 200


def test_other_addresses_need_a_password(start_view: Callable) -> None:
    page = start_view(wait=False, rtsp={"enabled": True, "port": free_port(), "host": "0.0.0.0"})
    assert page.process.wait(30) == 2
    assert 'rtsp: {enabled: true, host: "0.0.0.0", password_file' in page.process.stderr.read().decode()


def test_taken_port_is_told_and_the_page_goes_on(start_view: Callable, until) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        page = start_view(rtsp={"enabled": True, "port": port})
        assert f"127.0.0.1:{port} is taken" in page.state()["rtsp"]["problem"]
        until(lambda: "is taken" in page.stats()["reason"])
    until(lambda: not page.state()["rtsp"]["problem"])
    until(lambda: not page.stats()["reason"])


def test_client_that_reads_nothing_holds_nobody_back(served, connect, until) -> None:
    stalled = connect(served.url)
    stalled.play()
    with av.open(served.url, options=TCP, timeout=20) as container:
        for count, _ in enumerate(container.decode(video=0)):
            if count == 45:
                break
    assert served.producer.leased == 0


def test_nothing_uncovered_is_sent_once_privacy_is_on(served, until) -> None:
    with av.open(served.url, options=TCP, timeout=20) as container:
        frames = container.decode(video=0)
        assert contrast(next(frames).to_ndarray(format="bgr24")) > 40
        served.producer.control = CameraControl("door", privacy=True)
        until(lambda: served.state()["cameras"][0]["controls"]["privacy"])
        # what was under way before the switch arrives first; from the first covered picture on, none is open
        until(lambda: contrast(next(frames).to_ndarray(format="bgr24")) < 12)
        for _ in range(20):
            assert contrast(next(frames).to_ndarray(format="bgr24")) < 12
    with av.open(served.url, options=TCP, timeout=20) as container:
        for count, frame in enumerate(container.decode(video=0)):
            assert contrast(frame.to_ndarray(format="bgr24")) < 12
            if count == 10:
                break


def test_camera_that_is_away_has_a_standing_picture(served, until) -> None:
    served.producer.status, served.producer.reason, served.producer.frames = "offline", "no such device", False
    until(lambda: served.state()["cameras"][0]["status"] == "offline")
    with av.open(served.url, options=TCP, timeout=20) as container:
        assert contrast(next(container.decode(video=0)).to_ndarray(format="bgr24")) < 12


def test_without_a_setting_nothing_listens_and_no_codec_is_loaded(page, producer) -> None:
    assert page.state()["rtsp"] is None
    maps = Path(f"/proc/{page.process.pid}/maps").read_text()
    assert "av.libs" not in maps
