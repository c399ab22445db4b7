"""The examples that people copy hold what they promise."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
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


@pytest.fixture
def house(node_dir: Path) -> str:
    """The broker's configuration as it is, with the paths of this test."""
    node_dir.chmod(0o755)
    passwords, acl, data = node_dir / "passwords", node_dir / "acl", node_dir / "data"
    for index, user in enumerate(("vedette-hall", "homeassistant", "dashboard")):
        command = ["mosquitto_passwd", "-b", *([] if index else ["-c"]), str(passwords), user, "pass-word"]
        subprocess.run(command, check=True)
    acl.write_text((ROOT / "deploy/mosquitto/vedette.acl").read_text())
    for path in (passwords, acl):
        path.chmod(0o644)
    data.mkdir()
    data.chmod(0o777)
    text = (ROOT / "deploy/mosquitto/vedette.conf").read_text()
    for name, path in (
        ("/etc/mosquitto/vedette.passwords", passwords),
        ("/etc/mosquitto/vedette.acl", acl),
        ("/var/lib/mosquitto", data),
    ):
        assert name in text
        text = text.replace(name, str(path))
    return text


def test_the_broker_configuration_lets_the_node_say_everything(
    house, make_broker, make_node, make_faces, listen, until
) -> None:
    broker = make_broker(whole=house)
    home = listen(broker.port, username="homeassistant", password="pass-word")
    dashboard = listen(broker.port, username="dashboard", password="pass-word")
    login = {"username": "vedette-hall", "password": "pass-word"}
    node = make_node(broker.port, mqtt=login, publish={"tracks": True, "tracks_hz": 0, "stats_s": 0.5})
    until(lambda: home.last("vedette/hall/status") == "online", "birth")
    until(lambda: home.last("homeassistant/device/vedette_hall/config"), "discovery of the node")
    until(lambda: home.last("homeassistant/device/vedette_hall_door/config"), "discovery of the camera")
    home.tell("vedette/hall/door/privacy/set", "ON")
    until(lambda: home.last("vedette/hall/door/privacy/state") == "ON", "command")
    node.ring_doorbell(make_faces(node.settings).live(3))
    until(lambda: len(home.on("vedette/hall/events")) == 9, "events")
    until(lambda: (node.see("door"), home.on("vedette/hall/door/tracks"))[1], "tracks")
    until(lambda: home.on("vedette/hall/stats"), "stats")
    until(lambda: dashboard.last("vedette/hall/status") == "online", "dashboard")
    births = len(home.on("homeassistant/device/vedette_hall_door/config"))
    home.tell("homeassistant/status", "online")
    until(lambda: len(home.on("homeassistant/device/vedette_hall_door/config")) > births, "told again")
    dashboard.tell("vedette/hall/door/privacy/set", "OFF")  # may not
    home.tell("vedette/hall/door/detect_fps/set", "3")
    until(lambda: home.last("vedette/hall/door/detect_fps/state") == 3, "later command")
    assert home.last("vedette/hall/door/privacy/state") == "ON"
    assert not dashboard.on("vedette/hall/events")
    assert node.report["totals"].get("refused", 0) == 0
    assert node.report["reason"] == ""


def test_a_line_that_is_missing_in_the_acl_is_told_and_the_rest_works(
    house, node_dir, make_broker, make_node, make_faces, listen, until
) -> None:
    acl = node_dir / "acl"
    acl.write_text(acl.read_text().replace("topic write homeassistant/device/vedette_hall_door/config\n", ""))
    broker = make_broker(whole=house)
    home = listen(broker.port, username="homeassistant", password="pass-word")
    node = make_node(broker.port, mqtt={"username": "vedette-hall", "password": "pass-word"})
    node.wait_for("running", "the broker refuses homeassistant/device/vedette_hall_door/config")
    node.ring_doorbell(make_faces(node.settings).live(3))
    events = until(lambda: len(events := home.on("vedette/hall/events")) == 9 and events, "events")
    assert {event["type"] for event in events} == {"start", "update", "end"}
    assert not home.on("homeassistant/device/vedette_hall_door/config")


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
