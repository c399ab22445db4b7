"""A whole node in private directories, for a benchmark: real processes under supervisord, and an ear on its bus."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.bus import Bus
from common.config import check
from common.errors import DeviceError
from common.settings import Settings
from common.stats import read_stats
from common.wire import TrackFrame
from tools.bench.procfs import lives
from tools.demo.clip import fetch_clip
from tools.supervisor.node import node

START_S = 60.0
WELL = {"running", "waiting"}


def free_port() -> int:
    """A TCP port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo_clip() -> Path:
    """The demo's clip, fetched when it is not in the cache."""
    return fetch_clip(lambda _: None)


@contextlib.contextmanager
def private_node(**tree: Any) -> Iterator[tuple[Settings, Bus]]:
    """A running node with these settings, and a bus that hears it; everything is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))
    tree.setdefault("view", {})["port"] = free_port()
    tree.setdefault("mqtt", {}).setdefault("port", 1)  # nobody listens there
    settings = check({"runtime_dir": str(directory / "run"), "state_dir": str(directory / "state"), **tree})
    try:
        with node(settings, directory), Bus(settings.runtime_dir) as bus:
            yield settings, bus
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def well(settings: Settings) -> dict[str, int]:
    """Process id of everything that says it works or waits, and lives."""
    rows = read_stats(settings.runtime_dir)
    return {name: int(row["pid"]) for name, row in rows.items() if row["state"] in WELL and lives(int(row["pid"]))}


class Ear:
    """Hears the tracks of a node."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._tracks = bus, bus.subscriber("tracks")

    def close(self) -> None:
        """Hear no more."""
        self._tracks.close()

    def collect(self, seconds: float) -> list[TrackFrame]:
        """All track frames of the next seconds."""
        heard: list[TrackFrame] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._bus.wait(max(1, min(50, int(left * 1000))), self._tracks)
            heard.extend(self._tracks.drain())
        return heard

    def wait(self, wanted: Callable[[list[TrackFrame]], bool], seconds: float = START_S) -> None:
        """Wait until what was heard so far satisfies a condition.

        Raises:
            DeviceError: Not within the time.
        """
        heard: list[TrackFrame] = []
        end = time.monotonic() + seconds
        while not wanted(heard):
            if time.monotonic() > end:
                raise DeviceError(f"the node did not track within {seconds:g} s")
            self._bus.wait(20, self._tracks)
            heard.extend(self._tracks.drain())
        self._tracks.drain()
