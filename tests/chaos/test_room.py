"""No room: the state directory full while faces come and go, and a /dev/shm that is too small or full."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.config import child_environment
from common.stats import read_stats
from tools.bench.patient import CAMERA, patient
from tools.bench.private import free_port
from tools.bench.procfs import fill
from tools.bench.waiting import until

pytestmark = [pytest.mark.usefixtures("fetched"), pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_full_state_directory_loses_nothing_and_is_told(tmpfs: Callable[[str, int], Path]) -> None:
    state = tmpfs("state", 8_000_000)
    with patient(state_dir=str(state)) as one:
        before = one.pids()
        filler = fill(state)
        prefix = f"vedette/vedette/{CAMERA}/enabled"
        for word in ("OFF", "ON"):  # every face ends, and four new ones begin

            def told(word: str = word) -> bool:
                one.outage.witness.say(f"{prefix}/set", word)
                return bool(one.outage.witness.newest.get(f"{prefix}/state") == word.encode())

            until(told, what=f"switched {word}")
            faces = b"0" if word == "OFF" else b"4"
            until(lambda faces=faces: one.outage.witness.newest.get(f"vedette/vedette/{CAMERA}/faces") == faces)  # type: ignore[misc]
        reason = until(lambda: read_stats(one.settings.runtime_dir)["track"]["reason"], what="track says so")
        assert "disk full" in reason
        stats = one.outage.witness.wait(lambda: "disk full" in _reason(one.outage.witness.newest), 20)
        assert stats, "said on MQTT"
        filler.unlink()
        one.calm()
        assert one.complaints() == []
        assert one.pids() == before


def _reason(newest: dict[str, bytes]) -> str:
    stats = json.loads(newest.get("vedette/vedette/stats", b"{}"))
    return str(stats.get("processes", {}).get("track", {}).get("reason", ""))


@pytest.fixture
def cramped(node_dir: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a node in a mount namespace of its own, with a /dev/shm of so many bytes."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(size: str) -> subprocess.Popen[bytes]:
        (node_dir / "vedette.yml").write_text(
            f"cameras: {{door: {{source: 'pattern:640x480@15'}}}}\nruntime_dir: {node_dir}/run\n"
            f"state_dir: {node_dir}/state\nview: {{enabled: false}}\nmqtt: {{port: {free_port()}}}\n"
            "infer: {width: 320, max_workers: 1}\n"
        )
        script = (
            f"mount -t tmpfs -o size={size} none /dev/shm && exec {sys.executable} -c "
            "'from tools.cli.main import main; main()' -c \"$0\" up"
        )
        child = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, str(node_dir / "vedette.yml")],
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        started.append(child)
        time.sleep(0.5)
        if child.poll() is not None:
            pytest.skip("mount namespaces are not allowed here")
        return child

    yield begin
    for child in started:
        child.terminate()
        child.communicate(timeout=60)


def test_a_dev_shm_that_is_too_small_is_told_and_used_as_soon_as_it_is_large_enough(
    cramped: Callable[[str], subprocess.Popen[bytes]], node_dir: Path
) -> None:
    child = cramped("4k")  # not even the workers' claims file fits
    reports = node_dir / "run"

    def reason(name: str) -> str:
        return str(read_stats(reports).get(name, {}).get("reason", ""))

    until(lambda: "too small: the ring needs" in reason("capture:door"), what="capture says so")
    until(lambda: "/dev/shm" in reason("infer:0") and "No space" in reason("infer:0"), what="the worker says so")
    enlarge = ["nsenter", "--mount", "--target", str(child.pid), "mount", "-o", "remount,size=64m", "/dev/shm"]
    subprocess.run(enlarge, check=True)
    until(lambda: read_stats(reports).get("track", {}).get("totals", {}).get("frames", 0) > 5, what="tracks")
    assert [row["name"] for row in read_stats(reports).values() if row["state"] not in {"running", "waiting"}] == []
