"""One service of a node by itself, in private directories: the benchmark plays the others."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import config
from common.errors import DeviceError
from common.settings import Settings
from common.stats import read_stats
from tools.bench.waiting import until

ROOT = Path(__file__).parents[2]
END_S = 10.0


@contextlib.contextmanager
def alone_settings(port: int, cameras: Sequence[str] = ("door",)) -> Iterator[Settings]:
    """Settings of a node named `bench` with a broker at a port of this machine; its directories go afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="vd-"))
    tree = {
        "node": "bench",
        "cameras": {name: {"source": "pattern:64x48@30"} for name in cameras},
        "mqtt": {"port": port, "discovery": "off"},
        "events": {"reattach_s": 0.1},
        "track": {"max_age": 5},
        "runtime_dir": str(directory / "run"),
        "state_dir": str(directory / "state"),
    }
    (directory / "state").mkdir(mode=0o700)
    try:
        yield config.check(tree)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def alone(settings: Settings, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running service; ended afterwards, by SIGTERM if it still lives.

    Raises:
        DeviceError: It ended before it ran.
    """
    variable, path = config.write_resolved(settings)
    environment = config.child_environment(**{variable: str(path)})
    words = Path(settings.state_dir) / f"{name}.log"
    with words.open("wb") as log:
        command = [sys.executable, "-m", f"services.{name}"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)

    def runs() -> bool:
        row = read_stats(settings.runtime_dir).get(name, {})
        return row.get("pid") == process.pid and row.get("state") == "running"

    try:
        until(runs, what=name)
        yield process
    except TimeoutError as error:
        if process.poll() is not None:
            raise DeviceError(f"{name} ended: {words.read_text(errors='replace')[-500:]}") from error
        raise
    finally:
        process.terminate()
        process.wait(END_S)
