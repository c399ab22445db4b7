"""Home Assistant's MQTT discovery: one device for the node and one for each camera.

The device form needs Home Assistant 2024.11; the component form, one message an entity, serves older ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.fleet import members
from common.settings import Settings
from common.version import VERSION
from services.publish.topics import OFF, OFFLINE, ON, ONLINE, PRESS, RESTART, SWITCHES, Topics

Entity = dict[str, Any]
MANUFACTURER = "Vedette"
ORIGIN = {"name": "Vedette", "sw_version": VERSION}
STATS_LIVES = 4  # a value is unknown after so many missed reports


@dataclass(frozen=True, slots=True)
class Device:
    """One device with its entities.

    Attributes:
        identifier: Unique in the house: base, node, camera.
        description: What Home Assistant shows of it.
        availability: Topics that must all say `online`.
        entities: By key; each has its platform under `platform`.
    """

    identifier: str
    description: Entity
    availability: list[Entity]
    entities: dict[str, Entity]


def messages(settings: Settings, topics: Topics, *, temperature: bool, power: bool) -> dict[str, str]:
    """Discovery payloads by topic, empty when discovery is off.

    Args:
        settings: Of the node.
        topics: Names of the topics.
        temperature: The node can read its temperature.
        power: The node can read its power.
    """
    if settings.mqtt.discovery == "off":
        return {}
    form = _device_form if settings.mqtt.discovery == "device" else _component_form
    devices = [_node(settings, topics, temperature=temperature, power=power)]
    devices += [_camera(settings, topics, camera, devices[0].identifier) for camera in settings.cameras]
    return {topic: payload for device in devices for topic, payload in form(settings.mqtt.discovery_prefix, device)}


def _device_form(prefix: str, device: Device) -> Iterator[tuple[str, str]]:
    config = {
        "device": device.description,
        "origin": ORIGIN,
        "availability": device.availability,
        "availability_mode": "all",
        "qos": 1,
        "components": device.entities,
    }
    yield f"{prefix}/device/{device.identifier}/config", _dump(config)


def _component_form(prefix: str, device: Device) -> Iterator[tuple[str, str]]:
    shared = {
        "device": device.description,
        "origin": ORIGIN,
        "availability": device.availability,
        "availability_mode": "all",
        "qos": 1,
    }
    for key, entity in device.entities.items():
        config = {name: value for name, value in entity.items() if name != "platform"}
        yield f"{prefix}/{entity['platform']}/{device.identifier}/{key}/config", _dump({**shared, **config})


def _node(settings: Settings, topics: Topics, *, temperature: bool, power: bool) -> Device:
    identifier = _identifier(topics)
    stats = _stats(settings, topics)
    entities: dict[str, Entity] = {
        "latency": {**stats("latency_p99_ms", "Latency p99", "ms"), "device_class": "duration"},
        "cpu": stats("cpu_percent", "CPU", "%"),
        "memory": {**stats("memory_mb", "Memory", "MB"), "device_class": "data_size"},
    }
    if temperature:
        entities["temperature"] = {**stats("temperature_c", "Temperature", "°C"), "device_class": "temperature"}
    if power:
        entities["power"] = {**stats("power_w", "Power", "W"), "device_class": "power"}
    for member in members(settings.cameras, settings.infer.workers, settings.optional):
        key = "restart_" + member.name.replace(":", "_")
        entities[key] = {
            "platform": "button",
            "name": f"Restart {member.name}",
            "command_topic": topics.set(member.name, RESTART),
            "payload_press": PRESS,
            "device_class": "restart",
            "entity_category": "config",
        }
    description = {
        "identifiers": [identifier],
        "name": f"Vedette {settings.node}",
        "manufacturer": MANUFACTURER,
        "model": "Face tracking node",
        "sw_version": VERSION,
    }
    return Device(identifier, description, [_available(topics.status)], _with_ids(identifier, entities))


def _camera(settings: Settings, topics: Topics, camera: str, node: str) -> Device:
    identifier = f"{node}_{camera}"
    entities = {**_sensors(settings, topics, camera), **_controls(topics, camera)}
    description = {
        "identifiers": [identifier],
        "name": f"{settings.node} {camera}",
        "manufacturer": MANUFACTURER,
        "model": "Camera",
        "via_device": node,
    }
    entities = _with_ids(identifier, entities)
    node_only = [_available(topics.status)]
    for key in ("connectivity", *SWITCHES):  # they work while the camera is away or switched off, too
        entities[key]["availability"] = node_only
    return Device(identifier, description, [*node_only, _available(topics.camera(camera, "status"))], entities)


def _sensors(settings: Settings, topics: Topics, camera: str) -> dict[str, Entity]:
    entities: dict[str, Entity] = {
        "occupancy": {
            "platform": "binary_sensor",
            "name": "Occupancy",
            "device_class": "occupancy",
            "state_topic": topics.camera(camera, "occupancy"),
            "payload_on": ON,
            "payload_off": OFF,
        },
        "connectivity": {
            "platform": "binary_sensor",
            "name": "Connectivity",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.camera(camera, "status"),
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
            "value_template": f"{{{{ '{ONLINE}' if value == '{ONLINE}' else '{OFFLINE}' }}}}",
        },
        "faces": {
            "platform": "sensor",
            "name": "Faces",
            "icon": "mdi:account-multiple",
            "state_class": "measurement",
            "state_topic": topics.camera(camera, "faces"),
        },
        "face": {
            "platform": "event",
            "name": "Face",
            "icon": "mdi:face-recognition",
            "event_types": ["face_appeared", "face_left"],
            "state_topic": topics.events,
            "value_template": _event_template(camera),
        },
        "fps": _stats(settings, topics)(f"cameras['{camera}'].fps", "Frame rate", "fps"),
    }
    if settings.publish.snapshots:
        topic = topics.camera(camera, "snapshot")
        entities["best_face"] = {
            "platform": "image",
            "name": "Best face",
            "content_type": "image/jpeg",
            "image_topic": topic,
        }
    if settings.publish.stills_s:
        entities["still"] = {"platform": "camera", "name": "Still", "topic": topics.camera(camera, "still")}
    return entities


def _controls(topics: Topics, camera: str) -> dict[str, Entity]:
    def control(platform: str, name: str, what: str, icon: str, **rest: Any) -> Entity:
        return {
            "platform": platform,
            "name": name,
            "icon": icon,
            "command_topic": topics.set(camera, what),
            "state_topic": topics.state(camera, what),
            **rest,
        }

    on_off = {"payload_on": ON, "payload_off": OFF}
    return {
        "enabled": control("switch", "Detection", "enabled", "mdi:cctv", **on_off),
        "privacy": control("switch", "Privacy", "privacy", "mdi:incognito", **on_off),
        "detect_fps": control(
            "number",
            "Detection rate",
            "detect_fps",
            "mdi:speedometer",
            min=0,
            max=120,
            step=0.5,
            mode="box",
            unit_of_measurement="fps",
            entity_category="config",
        ),
    }


def _stats(settings: Settings, topics: Topics) -> Any:
    def sensor(path: str, name: str, unit: str) -> Entity:
        return {
            "platform": "sensor",
            "name": name,
            "unit_of_measurement": unit,
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "state_topic": topics.stats,
            "value_template": f"{{{{ value_json.{path} }}}}",
            "expire_after": max(int(settings.publish.stats_s * STATS_LIVES), 10),
        }

    return sensor


def _event_template(camera: str) -> str:
    """Start and end of this camera's faces as Home Assistant's event types; empty, so ignored there, for all else."""
    return (
        f"{{% if value_json.camera == '{camera}' and value_json.type in ['start', 'end'] %}}"
        "{{ dict(value_json, event_type='face_appeared' if value_json.type == 'start' else 'face_left') | to_json }}"
        "{% endif %}"
    )


def _with_ids(identifier: str, entities: dict[str, Entity]) -> dict[str, Entity]:
    return {key: {**entity, "unique_id": f"{identifier}_{key}"} for key, entity in entities.items()}


def _identifier(topics: Topics) -> str:
    """Base and node in the characters that discovery topics allow."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in topics.root)


def _available(topic: str) -> Entity:
    return {"topic": topic, "payload_available": ONLINE, "payload_not_available": OFFLINE}


def _dump(config: Entity) -> str:
    return json.dumps(config, separators=(",", ":"))
