"""The examples that people copy hold what they promise."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]


class Loader(yaml.SafeLoader):
    """YAML with Home Assistant's `!input`."""


Loader.add_constructor("!input", lambda loader, node: f"input:{loader.construct_scalar(node)}")


def words(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for item in value.values() for word in words(item)]
    if isinstance(value, list):
        return [word for item in value for word in words(item)]
    return [str(value)]


def test_the_broker_configuration_lets_the_node_say_everything(node_dir, make_broker, make_node, listen, until) -> None:
    node_dir.chmod(0o755)
    passwords, acl = node_dir / "passwords", node_dir / "acl"
    for index, user in enumerate(("vedette-hall", "homeassistant", "dashboard")):
        command = ["mosquitto_passwd", "-b", *([] if index else ["-c"]), str(passwords), user, "pass-word"]
        subprocess.run(command, check=True)
    acl.write_text((ROOT / "deploy/mosquitto/vedette.acl").read_text())
    for path in (passwords, acl):
        path.chmod(0o644)
    text = (ROOT / "deploy/mosquitto/vedette.conf").read_text()
    assert "allow_anonymous false" in text
    broker = make_broker(listener=f"allow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n")
    home = listen(broker.port, username="homeassistant", password="pass-word")
    dashboard = listen(broker.port, username="dashboard", password="pass-word")
    node = make_node(broker.port, mqtt={"username": "vedette-hall", "password": "pass-word"})
    until(lambda: home.last("vedette/hall/status") == "online", "birth")
    until(lambda: home.last("homeassistant/device/vedette_hall_door/config"), "discovery")
    home.tell("vedette/hall/door/privacy/set", "ON")
    until(lambda: home.last("vedette/hall/door/privacy/state") == "ON", "command")
    until(lambda: dashboard.last("vedette/hall/status") == "online", "dashboard")
    assert not dashboard.on("vedette/hall/door/snapshot")
    assert node.report["totals"].get("refused", 0) == 0
    assert node.report["reason"] == ""


def test_the_blueprint_uses_exactly_its_inputs() -> None:
    tree = yaml.load((ROOT / "examples/home-assistant/face_notification.yaml").read_text(), Loader)
    inputs = set(tree["blueprint"]["input"])
    body = {key: value for key, value in tree.items() if key != "blueprint"}
    assert {word.removeprefix("input:") for word in words(body) if word.startswith("input:")} == inputs
    assert {"trigger", "action"} <= set(tree)


def test_the_automations_are_whole() -> None:
    for automation in yaml.safe_load((ROOT / "examples/home-assistant/automations.yaml").read_text()):
        assert {"id", "alias", "trigger", "action"} <= set(automation)


def test_the_node_red_flow_wires_only_nodes_that_exist() -> None:
    flow = json.loads((ROOT / "examples/node-red/vedette-flow.json").read_text())
    ids = [node["id"] for node in flow]
    assert len(set(ids)) == len(ids)
    for node in flow:
        assert {target for wire in node.get("wires", []) for target in wire} <= set(ids)
        assert node.get("broker", "vedette-broker") in ids or node["type"] == "mqtt-broker"
