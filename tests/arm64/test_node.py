"""A whole node under supervisord on AArch64: camera, workers, tracker, MQTT through a broker; a kill in between."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(platform.machine() != "aarch64", reason="run by make test-arm64")
DEADLINE_S = 600


def until(condition: Any) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < end, "deadline passed"
        time.sleep(1)  # the pace of looking
    return value


@pytest.fixture
def broker(node_dir: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    conf = node_dir / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(conf)])
    yield port
    process.terminate()
    process.wait(30)


def test_node_runs_survives_a_kill_and_tells_mqtt(node_dir: Path, broker: int) -> None:
    import paho.mqtt.client as mqtt

    heard: dict[str, str] = {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: heard.update(
        {message.topic: message.payload.decode(errors="replace")}
    )
    client.connect("127.0.0.1", broker)
    client.subscribe("vedette/#")
    client.loop_start()
    (node_dir / "vedette.yml").write_text(
        json.dumps({
            "node": "pi", "runtime_dir": str(node_dir / "run"), "state_dir": str(node_dir / "state"),
            "mqtt": {"port": broker}, "view": {"enabled": False}, "infer": {"width": 160},
            "cameras": {"door": {"source": "pattern:160x96@2"}},
        })
    )  # fmt: skip
    command = [sys.executable, "-m", "tools.cli.main", "-c", str(node_dir / "vedette.yml")]
    node = subprocess.Popen([*command, "up"], cwd=node_dir)  # elsewhere, so that the wheel is what runs

    def status() -> dict[str, Any]:
        done = subprocess.run([*command, "status", "--json"], cwd=node_dir, capture_output=True, text=True, check=False)
        with contextlib.suppress(ValueError):
            return {row["name"]: row for row in json.loads(done.stdout)["processes"]}
        return {}

    try:
        until(lambda: heard.get("vedette/pi/status") == "online" and heard.get("vedette/pi/door/status") == "online")
        names = {"capture:door", "infer:0", "track", "publish", "watchdog"}
        rows = until(lambda: _all_there(status(), names))
        pid = rows["track"]["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: (status().get("track", {}).get("pid") or pid) != pid)
        stats = until(lambda: json.loads(heard.get("vedette/pi/stats", "{}")))
        assert stats
    finally:
        node.terminate()
        node.wait(120)
        client.loop_stop()


def _all_there(rows: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return rows if {name for name, row in rows.items() if row["pid"]} >= names else {}
