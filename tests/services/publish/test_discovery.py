"""What Home Assistant is told, against the rules that it checks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.publish.discovery import messages
from services.publish.topics import Topics

REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},
    "image": {"image_topic"},
    "camera": {"topic"},
    "switch": {"command_topic"},
    "number": {"command_topic", "min", "max", "step"},
    "button": {"command_topic"},
}
TOPICS = Topics("vedette", "hall")


@pytest.fixture
def found(make_settings) -> Any:
    def build(form: str) -> dict[str, Any]:
        source = {"source": "pattern:64x48@30"}
        settings = make_settings(node="hall", cameras={"door": source, "yard": source}, mqtt={"discovery": form})
        rows = messages(settings, TOPICS, temperature=True, power=True)
        return {topic: json.loads(payload) for topic, payload in rows.items()}

    return build


def test_device_form_has_one_valid_message_a_device(found) -> None:
    devices = found("device")
    assert set(devices) == {f"homeassistant/device/vedette_hall{end}/config" for end in ("", "_door", "_yard")}
    for topic, config in devices.items():
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
        assert config["origin"]["name"]
        assert config["device"]["identifiers"]
        assert config["availability_mode"] == "all"
        for entity in config["components"].values():
            check(entity, entity["platform"], config["device"]["name"])
    identifiers = [entity["unique_id"] for config in devices.values() for entity in config["components"].values()]
    assert len(set(identifiers)) == len(identifiers)


def test_both_forms_announce_the_same_entities(found) -> None:
    of_devices = {
        entity["unique_id"] for config in found("device").values() for entity in config["components"].values()
    }
    components = found("component")
    for topic, config in components.items():
        platform = topic.split("/")[1]
        assert re.fullmatch(r"homeassistant/[a-z_]+/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
        assert "platform" not in config
        check(config, platform, config["device"]["name"])
    assert {config["unique_id"] for config in components.values()} == of_devices


def check(entity: dict[str, Any], platform: str, device: str) -> None:
    assert set(entity) >= REQUIRED[platform] | {"unique_id", "name"}
    assert device not in entity["name"]
    for key, value in entity.items():
        if key.endswith("topic") or key == "topic":
            assert value.startswith("vedette/hall/")


def test_off_announces_nothing(found) -> None:
    assert found("off") == {}


def test_each_camera_belongs_to_the_node_and_needs_both_availabilities(found) -> None:
    door = found("device")["homeassistant/device/vedette_hall_door/config"]
    assert door["device"]["via_device"] == "vedette_hall"
    assert [row["topic"] for row in door["availability"]] == ["vedette/hall/status", "vedette/hall/door/status"]
    for key in ("enabled", "privacy", "detect_fps", "connectivity"):  # they work while the camera is away
        assert [row["topic"] for row in door["components"][key]["availability"]] == ["vedette/hall/status"]


def test_there_is_a_restart_button_for_each_process(found) -> None:
    node = found("device")["homeassistant/device/vedette_hall/config"]["components"]
    assert node["restart_infer_0"]["command_topic"] == "vedette/hall/infer:0/restart/set"
    assert {"restart_capture_door", "restart_track", "restart_publish"} <= set(node)


def test_the_event_template_gives_the_event_types_of_its_camera_alone(found) -> None:
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment()
    environment.filters["to_json"] = json.dumps
    face = found("device")["homeassistant/device/vedette_hall_door/config"]["components"]["face"]
    template = environment.from_string(face["value_template"])

    def render(**event: Any) -> str:
        return str(template.render(value_json=event))

    assert json.loads(render(camera="door", type="start", id="1")) == {
        "camera": "door", "type": "start", "id": "1", "event_type": "face_appeared",
    }  # fmt: skip
    assert json.loads(render(camera="door", type="end"))["event_type"] == "face_left"
    assert render(camera="door", type="update") == ""
    assert render(camera="yard", type="start") == ""
    assert face["event_types"] == ["face_appeared", "face_left"]


def test_everything_is_told_again_when_home_assistant_has_started(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    node = make_node(broker.port)
    node.online()
    topic = "homeassistant/device/vedette_hall_door/config"
    until(lambda: listener.last(topic), "first announcement")
    until(lambda: (node.see("door", 2), listener.last("vedette/hall/door/faces") == 2)[1], "two faces")
    counts = [len(listener.on(name)) for name in (topic, "vedette/hall/status", "vedette/hall/door/faces")]
    node.see("door", 2)
    listener.tell("homeassistant/status", "online")
    names = (topic, "vedette/hall/status", "vedette/hall/door/faces")
    until(lambda: all(len(listener.on(name)) > n for name, n in zip(names, counts, strict=True)), "told again")
    assert listener.last("vedette/hall/door/faces") == 2
    message = next(message for message in listener.messages if message.topic == topic)
    assert message.qos == 1


def test_entities_that_are_gone_are_taken_back_by_their_platform(broker, make_node, listen, until) -> None:
    listener = listen(broker.port)
    topic = "homeassistant/device/vedette_hall_door/config"
    node = make_node(broker.port)
    until(lambda: listener.last(topic), "first announcement")
    node.stop()
    node.close()
    node = make_node(broker.port, publish={"snapshots": False})
    until(lambda: listener.last(topic)["components"]["best_face"] == {"platform": "image"}, "taken back")
    assert listener.last(topic)["components"]["still"]["unique_id"]
    node.stop()
    node.close()
    make_node(broker.port)
    until(lambda: "unique_id" in listener.last(topic)["components"]["best_face"], "there again")


@pytest.mark.parametrize("change", [{"discovery_prefix": "ha"}, {"discovery": "component"}, {"discovery": "off"}])
def test_another_prefix_or_form_leaves_nothing_of_the_old_one(broker, make_node, listen, until, change) -> None:
    node = make_node(broker.port)
    node.online()
    listener = listen(broker.port)
    old = [f"homeassistant/device/vedette_hall{end}/config" for end in ("", "_door")]
    until(lambda: all(listener.last(topic) for topic in old), "announced")
    node.stop()
    node.close()
    node = make_node(broker.port, mqtt=change)
    until(lambda: [listener.last(topic) for topic in old] == ["", ""], "taken back")
    node.online()
    late = listen(broker.port)
    until(lambda: late.last("vedette/hall/status") == "online", "retained")
    assert not [message for message in late.messages if message.topic in old]
    found = [message.topic for message in late.messages if message.topic.endswith("/config")]
    assert bool(found) == (change != {"discovery": "off"})
