"""Pushing to servers: ffmpeg that listens, GStreamer's RTSP server, and one that refuses."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tools.bench.private import free_port

TCP = {"rtsp_transport": "tcp"}
GSTREAMER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtsp", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
port, password = sys.argv[1:]
server = GstRtspServer.RTSPServer(); server.set_service(port); server.set_address("127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
factory.set_launch("( rtph264depay name=depay0 ! h264parse ! fakesink name=sink )")
if password:
    token = GstRtspServer.RTSPToken(); token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth(); auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest("me", password, token); server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
def configured(_, media):
    sink = media.get_element().get_by_name("sink")
    sink.props.signal_handoffs = True
    sink.connect("handoff", lambda *_: print("picture", flush=True))
factory.connect("media-configure", configured)
server.get_mount_points().add_factory("/door", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
HAS_GSTREAMER = (
    Path("/usr/bin/python3").exists()
    and not subprocess.run(
        ["/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"],
        capture_output=True,
        check=False,
    ).returncode
)


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def push_state(page: Any) -> dict[str, Any]:
    return page.state()["rtsp"]["cameras"]["door"]["push"][0]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_records_what_is_pushed_and_is_found_again(
    start_view: Callable, produce: Callable, until: Callable, run: Callable, tmp_path: Path
) -> None:
    port = free_port()
    page = start_view(rtsp={"push": {"door": [f"rtsp://127.0.0.1:{port}/door"]}})
    produce(page)
    until(lambda: push_state(page)["state"] == "waiting")  # nobody listens yet
    assert "rtsp" in page.state()
    for name in ("one", "two"):
        record = tmp_path / f"{name}.ts"
        recorder = run("ffmpeg", "-v", "error", "-rtsp_flags", "listen", "-i", f"rtsp://127.0.0.1:{port}/door",
                       "-c", "copy", "-t", "2", str(record))  # fmt: skip
        until(lambda: push_state(page)["state"] == "pushing", 60)
        assert recorder.wait(60) == 0
        with av.open(str(record)) as container:
            pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert len(pictures) > 10
        assert np.abs(np.diff(pictures[-1][110:210, 210:290].astype(int), axis=1)).mean() > 40
        until(lambda: push_state(page)["state"] != "pushing")


@pytest.mark.skipif(not HAS_GSTREAMER, reason="GStreamer's RTSP server is not installed")
@pytest.mark.parametrize("password", ["", "open sesame"])
def test_gstreamers_server_takes_it_with_and_without_password(
    start_view: Callable, produce: Callable, run: Callable, password: str
) -> None:
    port = free_port()
    server = run("/usr/bin/python3", "-c", GSTREAMER, str(port), password)
    assert server.stdout.readline() == "ready\n"
    user = "me:open%20sesame@" if password else ""
    page = start_view(rtsp={"push": {"door": [f"rtsp://{user}127.0.0.1:{port}/door"]}})
    produce(page)
    for _ in range(20):
        assert server.stdout.readline() == "picture\n"
    assert push_state(page) | {"since": 0} == {
        "to": f"rtsp://127.0.0.1:{port}/door", "state": "pushing", "reason": "", "since": 0,
    }  # fmt: skip


def test_refusal_is_told_without_the_password_and_costs_no_encoding(
    start_view: Callable, produce: Callable, until: Callable
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.settimeout(20)
                        while client.recv(65536):
                            client.sendall(b"RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        page = start_view(rtsp={"push": {"door": [f"rtsp://me:secret@127.0.0.1:{port}/door"]}})
        produce(page)
        state = until(lambda: push_state(page)["state"] == "waiting" and push_state(page))
        assert state["reason"] == "ANNOUNCE was answered 403 Forbidden"
        assert page.state()["rtsp"]["cameras"]["door"]["viewers"] == 0
        assert b"secret" not in page.ask("/api/state")[2]
        page.process.terminate()
        assert b"secret" not in page.process.communicate(timeout=20)[1]


def test_server_that_takes_nothing_does_not_hold_the_process_up(start_view: Callable, until: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        page = start_view(rtsp={"push": {"door": [f"rtsp://127.0.0.1:{server.getsockname()[1]}/door"]}})
        until(lambda: push_state(page)["state"] == "connecting")
        page.process.terminate()
        assert page.process.wait(10) == 0
