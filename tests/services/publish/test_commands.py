"""Switches and restarts: obeyed, answered, kept, refused with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.controls import load_controls
from common.wire import CameraControl, Command
from services.publish.commands import CommandRefused, end_process, switch_value


def heard(node) -> dict[str, object]:
    rows = [row for state in node.control.drain() for row in state.cameras]
    return {row.camera: row for row in rows}


@pytest.mark.parametrize(
    ("what", "payload", "told", "value"),
    [("enabled", "OFF", "OFF", False), ("privacy", "ON", "ON", True), ("detect_fps", "7.5", 7.5, 7.5)],
)
def test_a_switch_is_answered_broadcast_and_kept(broker, make_node, listen, until, what, payload, told, value) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    listener.tell(f"vedette/hall/door/{what}/set", payload)
    until(lambda: listener.last(f"vedette/hall/door/{what}/state") == told, "answer")
    until(lambda: getattr(heard(node).get("door"), what, None) == value, "broadcast")
    assert getattr(load_controls(node.settings)["door"], what) == value
    node.kill()
    node.start()
    until(lambda: listener.on("vedette/hall/status").count("online") == 2, "second birth")
    assert listener.last(f"vedette/hall/door/{what}/state") == told


@pytest.mark.parametrize(
    ("what", "payload"), [("enabled", "on"), ("privacy", ""), ("detect_fps", "nan"), ("detect_fps", "-1")]
)
def test_a_malformed_command_is_refused_with_a_reason(broker, make_node, listen, until, what, payload) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    before = len(listener.on(f"vedette/hall/door/{what}/state"))
    listener.tell(f"vedette/hall/door/{what}/set", payload)
    error = until(lambda: listener.last(f"vedette/hall/door/{what}/error"), "refusal")
    assert "expected" in error["reason"]
    until(lambda: len(listener.on(f"vedette/hall/door/{what}/state")) > before, "the switch as it stands")


def test_a_command_that_the_broker_kept_is_not_obeyed_at_every_start(make_broker, make_node, listen, until) -> None:
    broker = make_broker()
    listener = listen(broker.port)
    listener.tell("vedette/hall/door/enabled/set", "OFF", retain=True)
    node = make_node(broker.port, mqtt={"protocol": "3.1.1"})
    node.online()
    listener.tell("vedette/hall/door/detect_fps/set", "3")
    until(lambda: listener.last("vedette/hall/door/detect_fps/state") == 3, "a later command")
    assert listener.last("vedette/hall/door/enabled/state") == "ON"


def test_the_page_commands_over_the_bus_without_a_broker(make_node, free_port, until) -> None:
    node = make_node(free_port)
    node.wait_for("waiting")
    node.commands.send(Command("door", "privacy", "ON"))
    row = until(lambda: (row := heard(node).get("door")) and row.privacy and row, "broadcast")
    assert row == CameraControl("door", privacy=True)


def test_restart_ends_exactly_that_process(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    stats = Path(node.settings.runtime_dir) / "stats"
    worker = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "services.infer", "0"]
    sleeper, next_one = subprocess.Popen(worker), subprocess.Popen(worker)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (stats / "infer:0.json").write_text(json.dumps({"name": "infer:0", "pid": sleeper.pid}))
        (stats / "track.json").write_text(json.dumps({"name": "track", "pid": stranger.pid}))
        listener.tell("vedette/hall/infer:0/restart/set", "PRESS")
        assert sleeper.wait(10) == -15
        (stats / "infer:0.json").write_text(json.dumps({"name": "infer:0", "pid": next_one.pid}))
        for _ in range(20):  # somebody who leans on the button
            listener.tell("vedette/hall/infer:0/restart/set", "PRESS")
        until(lambda: len(listener.on("vedette/hall/infer:0/restart/error")) == 20, "refusals")
        assert "was restarted just now" in listener.last("vedette/hall/infer:0/restart/error")["reason"]
        assert next_one.poll() is None
        for name, payload in (("track", "PRESS"), ("capture:door", "PRESS"), ("track", "press")):
            listener.tell(f"vedette/hall/{name}/restart/set", payload)
        until(lambda: len(listener.on("vedette/hall/track/restart/error")) == 2, "refusals")
        assert listener.last("vedette/hall/capture:door/restart/error")["reason"] == "capture:door is not running"
        assert stranger.poll() is None
    finally:
        for process in (sleeper, next_one, stranger):
            process.kill()
            process.wait()


def test_publish_can_restart_itself(broker, make_node, listen) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    listener.tell("vedette/hall/publish/restart/set", "PRESS")
    assert node.process.wait(10) == 0


def test_a_process_id_of_somebody_else_is_left_alone() -> None:
    assert not end_process(2**22 - 1, "track")


@pytest.mark.parametrize("payload", ["", "yes", "1e400", "-0.1", "1001", "NaN"])
def test_values_out_of_range_are_refused(payload: str) -> None:
    with pytest.raises(CommandRefused):
        switch_value("detect_fps", payload)
