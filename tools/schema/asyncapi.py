"""The AsyncAPI 3 document: every topic of a node with its payload, made of the table in services/publish/topics.py."""

from __future__ import annotations

import re
from typing import Any

from common.version import VERSION
from services.publish.topics import CHANNELS, Channel
from tools.schema.payloads import schemas, text_schemas

PARAMETERS = {
    "base": {"description": "`mqtt.base` of the settings.", "default": "vedette"},
    "node": {"description": "Name of the node."},
    "camera": {"description": "Name of a camera in the settings."},
    "process": {"description": "Name of a process as in `vedette status`: capture:door, infer:0, track."},
    "prefix": {"description": "`mqtt.discovery_prefix` of the settings.", "default": "homeassistant"},
    "id": {"description": "Of the node or of one of its cameras: base, node and camera, joined by _."},
}
DISCOVERY = (
    Channel(
        "device/{id}/config", "discovery_device", 1, True, "sent", "Home Assistant finds node and cameras by this."
    ),
    Channel("status", "availability", 1, False, "heard", "Home Assistant has started: everything is told again."),
)


def document() -> dict[str, Any]:
    """The whole document."""
    rows = [(f"{{base}}/{{node}}/{row.address}", row) for row in CHANNELS.values()]
    rows += [(f"{{prefix}}/{row.address}", row) for row in DISCOVERY]
    payloads = sorted({row.payload for _, row in rows})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vedette",
            "version": VERSION,
            "description": "What a node says (action `send`) and hears (`receive`) over MQTT.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "protocolVersion": "5",
                "description": "`mqtt` of the settings.",
            }
        },
        "channels": {channel_id(address): _channel(address, row) for address, row in rows},
        "operations": {channel_id(address): _operation(address, row) for address, row in rows},
        "components": {"messages": {name: _message(name) for name in payloads}, "schemas": _schemas(payloads)},
    }


def channel_id(address: str) -> str:
    """A name for a channel, of letters and digits: `{base}/{node}/{camera}/faces` is `camera_faces`."""
    short = address.removeprefix("{base}/{node}/").replace("{prefix}", "home_assistant")
    return re.sub(r"[^a-z_]+", "_", short.replace("{id}/", "")).strip("_")


def _channel(address: str, row: Channel) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", address)
    return {
        "address": address,
        "description": row.about,
        "messages": {row.payload: {"$ref": f"#/components/messages/{row.payload}"}},
        "parameters": {name: dict(PARAMETERS[name]) for name in names},
    }


def _operation(address: str, row: Channel) -> dict[str, Any]:
    name = channel_id(address)
    return {
        "action": "send" if row.direction == "sent" else "receive",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": row.about,
        "bindings": {"mqtt": {"qos": row.qos, "retain": row.retain, "bindingVersion": "0.2.0"}},
        "messages": [{"$ref": f"#/channels/{name}/messages/{row.payload}"}],
    }


def _message(name: str) -> dict[str, Any]:
    if name == "jpeg":
        return {"name": name, "contentType": "image/jpeg", "payload": {"type": "string", "format": "binary"}}
    content = "text/plain" if name in text_schemas() else "application/json"
    return {"name": name, "contentType": content, "payload": {"$ref": f"#/components/schemas/{name}"}}


def _schemas(payloads: list[str]) -> dict[str, Any]:
    """The schemas that the messages use, with what they share lifted to the components."""
    found: dict[str, Any] = {}
    for name, schema in {**text_schemas(), **schemas()}.items():
        if name in payloads:
            lifted = dict(_moved(schema))
            found.update(lifted.pop("$defs", {}))
            lifted.pop("$schema", None)
            found[name] = lifted
    return found


def _moved(value: Any) -> Any:
    """References that fit the document."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(item)
            for key, item in value.items()
        }
    return [_moved(item) for item in value] if isinstance(value, list) else value
