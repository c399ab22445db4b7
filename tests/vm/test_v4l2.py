"""The V4L2 source against the kernel's own test camera, vivid: formats, rates, and what drivers do when they fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)
VIVID = "n_devs=1 num_inputs=1 input_types=0 node_types=0x1 vid_cap_nr=0"
DEVICE = "/dev/video0"
BARS = (  # number of different values in the ring: colour bars have some
    'import glob, numpy; (ring,) = glob.glob("/dev/shm/*door*"); '
    "values = numpy.fromfile(ring, numpy.uint8); print(len(numpy.unique(values[len(values) // 2 :])))"
)


@pytest.fixture(scope="module")
def guest(boot: Callable[..., Any]) -> Any:
    """A machine with the test camera."""
    machine = boot("VGA")
    machine.run(f"modprobe -d {machine.kernel} vivid {VIVID}")
    assert "vivid" in machine.run(f"v4l2-ctl -d {DEVICE} --info")
    return machine


@pytest.fixture
def camera(guest: Any) -> Iterator[Callable[..., Any]]:
    """Starts capture of the test camera: `camera(pixel_format="nv12", width=640, height=360)`."""
    pids: list[int] = []

    def begin(**wishes: Any) -> Any:
        guest.configure(cameras={"door": {"source": f"v4l2:{DEVICE}", **wishes}})
        guest.run("rm -rf /run/*.log /run/vd/stats/*")
        pids.append(guest.start("capture", "door"))
        return guest

    yield begin
    for pid in pids:
        guest.stop(pid)


def frames(report: dict[str, Any]) -> int:
    return int(report["totals"].get("frames", 0))


def flowing(report: dict[str, Any]) -> bool:
    return report["state"] == "running" and report["rates"].get("frames", 0) > 0


@pytest.mark.parametrize("pixel_format", ["yuyv", "nv12"])
def test_each_format_flows(camera: Callable[..., Any], pixel_format: str) -> None:
    machine = camera(pixel_format=pixel_format, width=640, height=360, fps=15)
    report = machine.report_until("capture:door", lambda row: frames(row) > 20)
    assert report["drops"].get("damaged", 0) == 0
    fourcc = {"yuyv": "YUYV", "nv12": "NV12"}[pixel_format]
    assert fourcc in machine.run(f"v4l2-ctl -d {DEVICE} --get-fmt-video")
    assert report["gauges"]["direct"] == 1  # vivid writes into the ring itself
    assert int(machine.run(f"{sys.executable} -c '{BARS}'")) > 5


def test_rate_that_was_asked_for_is_set(camera: Callable[..., Any]) -> None:
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=5)
    machine.report_until("capture:door", lambda row: frames(row) > 10)
    assert "5.000 (5/1)" in machine.run(f"v4l2-ctl -d {DEVICE} --get-parm")
    machine.report_until("capture:door", lambda row: 4 <= row["rates"]["frames"] <= 6)


def test_format_that_the_camera_has_not_is_told_with_those_it_has(camera: Callable[..., Any]) -> None:
    machine = camera(pixel_format="mjpeg")
    report = machine.report_until("capture:door", lambda row: row["state"] == "waiting")
    assert "YUYV" in report["reason"]


@pytest.mark.parametrize(
    ("control", "reason"),
    [("inject_vidioc_streamon_error", "does not start"), ("inject_vidioc_reqbufs_error", "frames are copied")],
)
def test_refusal_at_the_start_is_told_and_got_over(camera: Callable[..., Any], control: str, reason: str) -> None:
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=10)
    machine.report_until("capture:door", flowing)
    machine.run(f"v4l2-ctl -d {DEVICE} -c {control}=1", check=False)
    machine.run(f"v4l2-ctl -d {DEVICE} -c inject_fatal_streaming_error=1", check=False)
    machine.report_until("capture:door", lambda row: row["state"] == "waiting")
    machine.report_until("capture:door", flowing)
    assert reason in machine.run("cat /run/capture.log")


def test_damaged_buffers_are_dropped_and_the_stream_goes_on(camera: Callable[..., Any]) -> None:
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=10)
    before = machine.report_until("capture:door", flowing)
    for _ in range(3):
        machine.run(f"v4l2-ctl -d {DEVICE} -c inject_v4l2_buf_flag_error=1")
        machine.run("sleep 0.5")
    report = machine.report_until("capture:door", lambda row: row["drops"].get("damaged", 0) >= 1)
    machine.report_until("capture:door", lambda row: frames(row) > frames(report) + 10)
    assert report["pid"] == before["pid"]
    assert machine.report("capture:door")["state"] == "running"


def test_fatal_error_of_the_driver_is_told_and_the_camera_comes_back(camera: Callable[..., Any]) -> None:
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=10)
    before = machine.report_until("capture:door", flowing)
    machine.run(f"v4l2-ctl -d {DEVICE} -c inject_fatal_streaming_error=1")
    machine.report_until("capture:door", lambda row: row["state"] == "waiting" and DEVICE in row["reason"])
    machine.report_until("capture:door", flowing)
    assert "Timeout" in machine.run("cat /run/capture.log") or machine.report("capture:door")["pid"] == before["pid"]


def test_camera_that_is_unplugged_is_told_and_found_again(camera: Callable[..., Any]) -> None:
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=10)
    before = machine.report_until("capture:door", flowing)
    machine.run(f"v4l2-ctl -d {DEVICE} -c disconnect=1", check=False)  # vivid is back as soon as it is let go
    said = machine.until("cat /run/capture.log", lambda text: "state=waiting" in text)
    assert f"reason={DEVICE}: gives no frame (No such device)" in said
    after = machine.report_until("capture:door", flowing)
    assert after["pid"] == before["pid"]


def test_camera_that_is_not_there_is_waited_for(guest: Any, camera: Callable[..., Any]) -> None:
    guest.run(f"modprobe -d {guest.kernel} -r vivid")
    machine = camera(pixel_format="yuyv", width=320, height=180, fps=10)
    report = machine.report_until("capture:door", lambda row: "No such file" in row["reason"])
    assert report["state"] == "waiting"
    machine.run(f"modprobe -d {machine.kernel} vivid {VIVID}")
    assert machine.report_until("capture:door", flowing)["pid"] == report["pid"]
