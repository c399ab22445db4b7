"""JSON Schema of Home Assistant's discovery messages, by the rules that its version 2025.4 checks."""

from __future__ import annotations

from typing import Any

TOPIC = {"type": "string", "minLength": 1, "pattern": "^[^+#]+$"}
TEXT = {"type": "string", "minLength": 1}
NEEDS: dict[str, list[str]] = {
    "binary_sensor": ["state_topic"],
    "button": ["command_topic"],
    "camera": ["topic"],
    "event": ["state_topic", "event_types"],
    "image": ["image_topic"],
    "number": ["command_topic", "min", "max", "step"],
    "sensor": ["state_topic"],
    "switch": ["command_topic"],
}
AVAILABILITY: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["topic"],
        "additionalProperties": False,
        "properties": {
            "topic": TOPIC,
            "payload_available": TEXT,
            "payload_not_available": TEXT,
            "value_template": TEXT,
        },
    },
}
DESCRIPTION: dict[str, Any] = {
    "type": "object",
    "required": ["identifiers", "name"],
    "additionalProperties": False,
    "properties": {
        "identifiers": {"type": "array", "minItems": 1, "items": TEXT},
        **dict.fromkeys(("name", "manufacturer", "model", "sw_version", "via_device"), TEXT),
        "configuration_url": {"type": "string", "pattern": "^https?://"},
    },
}
ORIGIN: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": TEXT, "sw_version": TEXT, "support_url": {"type": "string", "pattern": "^https?://"}},
}
SHARED: dict[str, Any] = {
    "device": DESCRIPTION,
    "origin": ORIGIN,
    "availability": AVAILABILITY,
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "qos": {"enum": [0, 1, 2]},
}
FIELDS: dict[str, Any] = {
    **dict.fromkeys(("state_topic", "command_topic", "image_topic", "topic"), TOPIC),
    **dict.fromkeys(("name", "unique_id", "device_class", "unit_of_measurement", "value_template"), TEXT),
    **dict.fromkeys(("payload_on", "payload_off", "payload_press"), TEXT),
    **{key: {"type": "number"} for key in ("min", "max", "step")},
    "availability": AVAILABILITY,
    "content_type": {"const": "image/jpeg"},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "event_types": {"type": "array", "minItems": 1, "items": TEXT},
    "expire_after": {"type": "integer", "minimum": 1},
    "icon": {"type": "string", "pattern": "^mdi:[a-z-]+$"},
    "mode": {"enum": ["auto", "box", "slider"]},
    "state_class": {"enum": ["measurement", "total", "total_increasing"]},
}


def _component() -> dict[str, Any]:
    """One entity of the device form; with its platform alone it is one that is taken back."""
    rules = [
        {
            "if": {"properties": {"platform": {"const": platform}}, "minProperties": 2},
            "then": {"required": ["unique_id", "name", *needed]},
        }
        for platform, needed in NEEDS.items()
    ]
    return {
        "type": "object",
        "required": ["platform"],
        "additionalProperties": False,
        "properties": {"platform": {"enum": sorted(NEEDS)}, **FIELDS},
        "allOf": rules,
    }


DEVICE: dict[str, Any] = {
    "title": "DiscoveryDevice",
    "description": "Retained at <discovery_prefix>/device/<id>/config (Home Assistant 2024.11 and newer).",
    "type": "object",
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
    "properties": {
        **SHARED,
        "components": {"type": "object", "minProperties": 1, "additionalProperties": _component()},
    },
}
ENTITY: dict[str, Any] = {
    "title": "DiscoveryEntity",
    "description": "Retained at <discovery_prefix>/<platform>/<id>/<key>/config, with `mqtt: {discovery: component}`.",
    "type": "object",
    "required": ["device", "origin", "unique_id", "name"],
    "additionalProperties": False,
    "properties": {**SHARED, **FIELDS},
}
