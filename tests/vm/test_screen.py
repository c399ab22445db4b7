"""The HDMI output on emulated graphics cards; every picture is taken from the card and compared pixel by pixel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.drawing import draw, picture
from common.drawing.scene import NO_RESULTS
from common.pixels import Geometry, PixelFormat

CARDS = {
    "bochs": ("VGA", (1280, 800), "XR24"),
    "virtio": ("virtio-gpu-pci,xres=1280,yres=720", (1280, 720), "XR24"),
    "cirrus": ("cirrus-vga", (1024, 768), "RG24"),
}
VIEW = Geometry(640, 360, PixelFormat.BGR)
pytestmark = pytest.mark.timeout(600)

CONNECTOR = "/sys/class/drm/card0-Virtual-1/status"
READ_ALL = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search"  # our interpreter may lie in /root


def photo(number: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0 : VIEW.height, 0 : VIEW.width]
    return np.stack([(x + 31 * number) & 255, (y + 17 * number) & 255, (x * 7 + y * 13 + number) & 255], -1).astype(
        np.uint8
    )


def expected(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What the screen shows of a photograph that nobody looks at for faces."""
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    width, height = picture.fitted_size(VIEW, size)
    part = picture.shrink([photo(number)], VIEW, (width, height))
    draw.badge(part, NO_RESULTS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    whole[top : top + height, left : left + width] = part
    return whole


def different_pixels(machine: Any, number: int, size: tuple[int, int], deadline_s: float = 120) -> int:
    """How many pixels of the card are not those of the picture: 0 as soon as it is shown, else after the deadline."""
    wanted, end = expected(number, size), time.monotonic() + deadline_s
    while True:
        seen = machine.screen()
        same_size = seen.shape == wanted.shape
        different = int((seen != wanted).any(-1).sum()) if same_size else wanted.shape[0] * wanted.shape[1]
        if not different:
            return 0
        if time.monotonic() > end:
            print(f"the card shows {seen.shape}\n{machine.logs()}")
            return different
        machine.run("sleep 0.3")  # the pace of looking


@pytest.fixture
def node(boot: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts capture of a still photograph and the screen on a card."""
    running: list[tuple[Any, list[int]]] = []

    def begin(card: str, number: int, before: str = "true", **screen: Any) -> Any:
        machine = boot(CARDS[card][0])
        path = tmp_path / f"photo-{number}.png"
        cv2.imwrite(str(path), photo(number))
        source = f"still:{path}?size=640x360&fps=4&path=still"
        machine.configure(cameras={"door": {"source": source}}, screen={"output": "kms", **screen})
        machine.run(f"[ ! -e {CONNECTOR} ] || echo on > {CONNECTOR}")
        machine.run(f"rm -rf /run/*.log /run/vd/stats/*; {before}")
        running.append((machine, [machine.start("capture", "door"), machine.start("screen")]))
        machine.pid = running[-1][1][1]
        return machine

    yield begin
    for machine, pids in running:
        for pid in pids:
            machine.stop(pid)


def running(report: dict[str, Any]) -> bool:
    return report["state"] == "running"


@pytest.mark.parametrize("card", CARDS)
def test_picture_on_the_card_is_the_drawn_one(node: Any, card: str) -> None:
    size, fourcc = CARDS[card][1:]
    machine = node(card, 1)
    report = machine.report_until("screen", running)
    assert (report["gauges"]["width"], report["gauges"]["height"]) == size
    assert different_pixels(machine, 1, size) == 0
    assert fourcc in machine.run("cat /run/screen.log")


def test_wished_mode_is_set(node: Any) -> None:
    machine = node("bochs", 2, mode="800x600")
    machine.report_until("screen", running)
    assert different_pixels(machine, 2, (800, 600)) == 0


def test_mode_that_the_display_does_not_have_is_told_with_the_choices(node: Any) -> None:
    machine = node("bochs", 2, mode="1234x567")
    report = machine.report_until("screen", lambda row: row["state"] == "waiting")
    assert "no mode 1234x567" in report["reason"]
    assert "1280x800@" in report["reason"]


def test_without_a_display_it_waits_and_takes_the_one_that_is_plugged_in(node: Any) -> None:
    machine = node("virtio", 3, before=f"echo off > {CONNECTOR}")
    report = machine.report_until("screen", lambda row: "no display is connected" in row["reason"])
    assert report["state"] == "waiting"
    assert "Virtual-1" in report["reason"]
    machine.run(f"echo on > {CONNECTOR}")
    machine.report_until("screen", running)
    assert different_pixels(machine, 3, CARDS["virtio"][1]) == 0


def test_display_that_is_unplugged_is_told_and_taken_back(node: Any) -> None:
    machine = node("virtio", 4)
    machine.report_until("screen", running)
    assert different_pixels(machine, 4, CARDS["virtio"][1]) == 0
    for _ in range(2):
        machine.run(f"echo off > {CONNECTOR}")
        machine.report_until("screen", lambda row: row["state"] == "waiting" and "display" in row["reason"])
        machine.run(f"echo on > {CONNECTOR}")
        machine.report_until("screen", running)
        assert different_pixels(machine, 4, CARDS["virtio"][1]) == 0
    assert machine.report("screen")["totals"]["lost"] == 2


def test_second_program_is_told_that_the_screen_is_taken_and_gets_it_later(node: Any) -> None:
    machine = node("virtio", 5)
    machine.report_until("screen", running)
    assert different_pixels(machine, 5, CARDS["virtio"][1]) == 0
    first, settings = machine.pid, machine.settings
    machine.run(f"sed 's#/run/vd#/run/vd2#' {settings} > /run/second.json; mkdir -p /run/vd2")
    machine.settings = "/run/second.json"
    second = machine.start("screen")
    machine.settings = settings
    try:
        machine.until("cat /run/vd2/stats/screen.json", lambda text: "another program owns the screen" in text)
        assert different_pixels(machine, 5, CARDS["virtio"][1]) == 0
        machine.stop(first)
        machine.until("cat /run/vd2/stats/screen.json", lambda text: '"state": "running"' in text)
    finally:
        machine.stop(second)


def test_killed_screen_leaves_nothing_behind_and_the_next_one_shows_at_once(node: Any) -> None:
    machine = node("virtio", 6)
    machine.report_until("screen", running)
    assert different_pixels(machine, 6, CARDS["virtio"][1]) == 0
    pid = machine.report("screen")["pid"]
    machine.run(f"kill -9 {pid}")
    machine.report_until("screen", lambda row: row["pid"] != pid and running(row))
    assert different_pixels(machine, 6, CARDS["virtio"][1]) == 0


def test_user_of_the_group_video_needs_no_root(node: Any) -> None:
    machine = node("virtio", 7)
    machine.report_until("screen", running)
    machine.stop(machine.pid)
    gid = machine.run("chgrp video /dev/dri/card0; chmod 660 /dev/dri/card0; stat -c %g /dev/dri/card0")
    machine.run("mkdir -p /run/user; chown 65534 /run/user; rm -rf /run/user/*")
    paths = "s#/run/vd#/run/user/vd#; s#/run/state#/run/user/state#"
    machine.run(f"sed '{paths}' {machine.settings} > /run/user.json; chmod 644 /run/user.json")
    machine.settings = "/run/user.json"
    outcomes = {"--clear-groups": "add this user to its group (video)", f"--groups={gid}": '"state": "running"'}
    for groups, wanted in outcomes.items():
        pid = machine.start(
            "screen", prefix=f"setpriv --reuid=65534 --regid=65534 {groups} {READ_ALL} env HOME=/run/user"
        )
        told = machine.until("cat /run/user/vd/stats/screen.json", lambda text, wanted=wanted: wanted in text)
        assert '"name": "screen"' in told
        machine.stop(pid)
