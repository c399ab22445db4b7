"""A bad line, to the broker and to a camera: packets are lost and late, nothing gets through, then it is mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.bus import Bus
from common.config import child_environment
from common.errors import VedetteError
from common.settings import Settings
from common.stats import read_stats
from common.wire import CameraState
from tools.bench.badline import BadLine
from tools.bench.patient import leftovers, patient
from tools.bench.private import demo_clip
from tools.bench.waiting import until
from tools.models.pull import pull
from tools.supervisor.node import node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def line() -> Iterator[BadLine]:
    try:
        pull("yunet")
        demo_clip()
        made = BadLine()
    except VedetteError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_over_a_bad_line_every_event_arrives_and_a_cut_is_told(line: BadLine) -> None:
    with patient(line=line) as one:
        line.loss, line.delay_s, line.jitter_s = 0.15, 0.1, 0.05
        for name in ("track", "capture:hall", "track"):
            os.kill(one.pids()[name], signal.SIGKILL)
            until(lambda: len(one.pids()) == len(one.names()), what=f"{name} is back")
        line.cut = True
        frames = len(one.findings.frames)
        until(lambda: "broker" in read_stats(one.settings.runtime_dir)["publish"]["reason"], 120, "publish says so")
        assert len(one.findings.frames) > frames + 10, "tracking went on"
        line.cut = False
        one.calm(120)
        assert one.complaints() == []
    assert leftovers(one.settings) == []


FAR = """
cameras: {{door: {{source: "pattern:640x480@15"}}}}
runtime_dir: {folder}/run
state_dir: {folder}/state
mqtt: {{port: 1}}
infer: {{max_workers: 1}}
rtsp: {{enabled: true, host: {host}, password: secret}}
"""


@pytest.fixture
def server(line: BadLine, node_dir: Path) -> Iterator[Path]:
    """A camera at the far end: another node that serves RTSP; gives its runtime directory."""
    far = node_dir / "far"
    far.mkdir(mode=0o700)
    (far / "vedette.yml").write_text(FAR.format(folder=far, host=line.far))
    words = ["-c", "from tools.cli.main import main; main()", "-c", str(far / "vedette.yml"), "up"]
    process = subprocess.Popen(
        [*line.prefix, sys.executable, *words], stdout=subprocess.DEVNULL, env=child_environment()
    )
    try:
        until(lambda: read_stats(far / "run").get("view", {}).get("state") == "running", what="the far node serves")
        yield far / "run"
    finally:
        process.terminate()
        process.wait(60)


def test_a_network_camera_is_lost_and_found(
    line: BadLine, server: Path, make_settings: Callable[..., Settings]
) -> None:
    source = {"source": f"rtsp://any:secret@{line.far}:8554/door"}
    settings = make_settings(cameras={"far": source}, view={"enabled": False}, mqtt={"port": 1})
    with node(settings, server.parent), Bus(settings.runtime_dir) as bus:
        states = bus.subscriber("camera", settings.cameras)

        def becomes(status: str) -> CameraState:
            found: list[CameraState] = []

            def look() -> bool:
                found[:] = [*found, *states.drain()][-1:]
                return bool(found) and found[0].status == status and (status != "online" or found[0].fps > 1)

            until(look, 90, f"camera is {status}: {found}")
            return found[0]

        becomes("online")
        pid = read_stats(settings.runtime_dir)["capture:far"]["pid"]
        line.loss, line.delay_s = 0.05, 0.03
        seq = becomes("online").seq
        until(lambda: becomes("online").seq > seq + 30, 90, "pictures come through")
        line.cut = True  # as frozen as a server can be
        assert "secret" not in becomes("offline").reason
        line.cut, line.loss = False, 0.0
        becomes("online")
        os.kill(int(read_stats(server)["view"]["pid"]), signal.SIGKILL)
        becomes("offline")
        becomes("online")
        assert read_stats(settings.runtime_dir)["capture:far"]["pid"] == pid
