"""The real process in a window of a real X server; what is on the screen is compared with what should be drawn."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common import config
from common.bus import Bus
from common.drawing import draw, marks, picture
from common.pixels import Geometry, PixelFormat
from common.settings import Settings
from common.stats import read_stats

ROOT = Path(__file__).parents[3]


class Process:
    """`python3 -m services.screen` of a node."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.settings = settings
        name, path = config.write_resolved(settings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.screen"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env=config.child_environment(**{name: str(path), "WAYLAND_DISPLAY": "", **environment}),
        )  # fmt: skip

    def report(self) -> dict[str, Any]:
        assert self.process.poll() is None, self.process.communicate()[1]
        return read_stats(self.settings.runtime_dir).get("screen", {})

    def end(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        error = self.process.communicate(timeout=10)[1]
        return self.process.returncode, error


@pytest.fixture
def start(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def begin(environment: dict[str, str], **screen: Any) -> Process:
        made.append(Process(make_settings(screen=screen), **environment))
        return made[-1]

    yield begin
    for process in made:
        process.end()


def feed(camera: Any, still: NDArray[np.uint8], bus: Bus, done: Callable[[], Any], until: Callable[..., Any]) -> Any:
    """Send frames and their faces until something is true."""
    states, tracks = bus.publisher("camera", camera.name), bus.publisher("tracks")

    def step() -> Any:
        handle = camera.frame(still)
        states.send(camera.state())
        tracks.send(camera.tracks(handle))
        return done()

    return until(step)


def test_window_shows_the_drawn_picture_exactly_and_ends_when_asked(
    start: Any, camera: Any, still: NDArray[np.uint8], xserver: Any, until: Any
) -> None:
    shown = start(xserver.environment(), output="window", mode="800x600", fullscreen=True)
    until(lambda: shown.report().get("state") == "running")
    assert shown.report()["gauges"] == {"width": 800, "height": 600}
    door = camera("door")
    expected = np.zeros((600, 800, 3), np.uint8)
    part = expected[75:525]
    part[:] = picture.shrink([still], Geometry(640, 360, PixelFormat.BGR), (800, 450))
    handle = door.frame(still)
    draw.draw(part, marks.marks_of(door.tracks(handle), (800, 450)))
    with Bus(shown.settings.runtime_dir) as bus:
        feed(door, still, bus, lambda: np.array_equal(xserver.screenshot(), expected), until)
        until(lambda: shown.report()["totals"].get("shown", 0) > 0 and "show" in shown.report()["latency_ms"])
    assert shown.end()[0] == 0


def test_without_a_display_it_waits_and_says_why(start: Any, until: Any) -> None:
    alone = start({"DISPLAY": ""}, output="window")
    report = until(lambda: (row := alone.report()).get("state") == "waiting" and row)
    assert "no X11 or Wayland here" in report["reason"]
    assert alone.end()[0] == 0


def test_unknown_output_ends_with_the_choices(start: Any) -> None:
    wrong = start({}, output="hdmi").process
    error = wrong.communicate(timeout=30)[1]
    code = wrong.returncode
    assert code == 2
    assert "choose one of none, kms, window" in error
