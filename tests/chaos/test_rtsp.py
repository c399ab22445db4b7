"""A network camera on a bad line: a real RTSP server whose pictures carry the time at which they were taken."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import config
from common.bus import Bus
from common.errors import FrameGone, VedetteError
from common.ring.reader import RingReader
from common.settings import Settings
from common.stats import read_stats
from tools.bench.badline import BadLine
from tools.bench.private import free_port
from tools.bench.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
BITS, CELL, WIDTH, HEIGHT = 20, 16, 320, 240  # milliseconds, bit by bit, in cells of black and white
PYTHON = "/usr/bin/python3"  # has Debian's GStreamer
SERVER = f"""
import sys, time, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_address(sys.argv[1]); server.set_service(sys.argv[2])
factory = GstRtspServer.RTSPMediaFactory(); factory.set_shared(True)
factory.set_launch("( appsrc name=camera is-live=true do-timestamp=true format=time "
    "caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate=15/1 ! videoconvert ! " + sys.argv[3] + " )")
def picture(source):
    now = time.monotonic_ns() // 1000000
    row = b"".join((b"\\xff" if now >> bit & 1 else b"\\x00") * {CELL} for bit in range({BITS}))
    row = row[:{WIDTH}].ljust({WIDTH}, b"\\x80")
    source.emit("push-buffer", Gst.Buffer.new_wrapped(row * {HEIGHT}))
    return True
def configure(_, media):
    source = media.get_element().get_by_name("camera")
    timer = GLib.timeout_add(66, picture, source)
    media.connect("unprepared", lambda _: GLib.source_remove(timer))
factory.connect("media-configure", configure)
server.get_mount_points().add_factory("/door", factory); server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
ENCODERS = {
    "mjpeg": "video/x-raw,format=I420 ! jpegenc quality=90 ! rtpjpegpay name=pay0",
    "h264": "openh264enc gop-size=15 ! h264parse ! rtph264pay name=pay0 config-interval=1",
}


@pytest.fixture
def line() -> Iterator[BadLine]:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("needs gir1.2-gst-rtsp-server-1.0 and python3-gi")
    try:
        made = BadLine()
    except VedetteError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def serve(line: BadLine) -> Iterator[Callable[[str], str]]:
    """Starts the camera at the far end; gives its address."""
    running: list[subprocess.Popen[str]] = []

    def begin(codec: str) -> str:
        port = free_port()
        command = [*line.prefix, PYTHON, "-c", SERVER, line.far, str(port), ENCODERS[codec]]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout and running[-1].stdout.readline() == "ready\n"
        return f"rtsp://{line.far}:{port}/door"

    yield begin
    for process in running:
        process.kill()
        process.communicate()


class Watch:
    """Looks at what capture brings, and how old it is."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._reader, self._frames = RingReader(settings, "door"), bus.subscriber("frames", ["door"])
        self.ages_s: list[float] = []

    def look(self) -> int:
        """Number of pictures seen so far."""
        for handle in self._frames.drain()[-1:]:
            with contextlib.suppress(FrameGone), self._reader.lease(handle) as lease:
                luma = lease.planes[0]
                cells = [luma[HEIGHT // 2, bit * CELL + CELL // 2] > 128 for bit in range(BITS)]
                taken_ms = sum(1 << bit for bit, is_set in enumerate(cells) if is_set)
                now_ms = handle.captured_ns // 1_000_000
                self.ages_s.append(((now_ms - taken_ms) % (1 << BITS)) / 1000)
        return len(self.ages_s)

    def more(self, count: int, seconds: float = 120) -> np.ndarray:
        """Ages of so many more pictures."""
        before = self.look()
        until(lambda: self.look() >= before + count, seconds, f"{count} more pictures")
        return np.array(self.ages_s[before:])

    def report(self) -> dict[str, Any]:
        """What capture says of itself."""
        return read_stats(self._settings.runtime_dir).get("capture:door", {})

    def close(self) -> None:
        self._reader.close()


@contextlib.contextmanager
def capture(settings: Settings) -> Iterator[Watch]:
    name, path = config.write_resolved(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.capture", "door"], cwd=ROOT, env=config.child_environment(**{name: str(path)})
    )
    with Bus(settings.runtime_dir) as bus:
        watch = Watch(settings, bus)
        try:
            yield watch
        finally:
            watch.close()
            process.terminate()
            process.wait(15)


@pytest.mark.parametrize("codec", ENCODERS)
def test_lossy_line_goes_on_without_growing_delay_and_a_cut_is_told_and_mended(
    line: BadLine, serve: Callable[[str], str], make_settings: Callable[..., Settings], codec: str
) -> None:
    settings = make_settings(cameras={"door": {"source": serve(codec)}})
    with capture(settings) as watch:
        quiet = np.median(watch.more(30))
        line.loss, line.delay_s, line.jitter_s = 0.02, 0.03, 0.01
        began = time.monotonic()
        ages = watch.more(150)
        assert watch.report()["totals"]["frames"] >= 150
        early, late = np.median(ages[:50]), np.median(ages[-50:])
        lasted_s = time.monotonic() - began
        assert late < early + lasted_s / 2, "the delay grows with the time"
        print(f"{codec}: age at capture, median: {quiet:.3f} s quiet, {early:.3f} then {late:.3f} s with loss")

        line.cut = True
        until(lambda: watch.report()["state"] == "waiting", 60, "capture says that the camera is away")
        assert line.far in watch.report()["reason"]
        line.cut, line.loss = False, 0.0
        until(lambda: watch.report()["state"] == "running" and watch.more(1, 30).size, 90, "the camera is back")
        until(lambda: np.median(watch.more(15)) < quiet + 0.5, 60, "the pictures are new again")
