"""Holds a published message against the topic table and the schemas; needs jsonschema, which only developers have."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from services.publish.topics import TEXTS, Channel, Topics
from tools.schema.payloads import schemas

JPEG = b"\xff\xd8"


def fault(topics: Topics, topic: str, payload: bytes, qos: int, *, retain: bool) -> str:
    """What is wrong with a message that the node published; empty when it is as the table says.

    Args:
        topics: Of the node.
        topic: Where it was published.
        payload: Its bytes; empty ones take a topic back.
        qos: At which it was published.
        retain: It was published as retained.
    """
    row = _row(topics, topic)
    if row is None:
        return "" if not payload else f"{topic} is not in the table"
    if row.direction == "heard":
        return ""
    if (qos, retain) != (row.qos, row.retain):
        return f"{topic}: qos {qos} retain {retain}, the table says {row.qos} {row.retain}"
    if row.payload == "jpeg":
        return "" if payload[:2] in {JPEG, b""} else f"{topic}: no JPEG"
    if row.payload in TEXTS:
        text = payload.decode("utf-8", "replace")
        return "" if not text or re.fullmatch(TEXTS[row.payload], text) else f"{topic}: {text!r}"
    return _json_fault(row.payload, topic, payload)


def _row(topics: Topics, topic: str) -> Channel | None:
    if topic.endswith("/config"):
        form = "discovery_device" if "/device/" in topic else "discovery_entity"
        return Channel(topic, form, 1, True, "sent", "")
    return topics.channel(topic)


def _json_fault(name: str, topic: str, payload: bytes) -> str:
    if not payload and name.startswith("discovery"):
        return ""
    errors = [
        f"{topic}: {error.json_path} {error.message}" for error in _validator(name).iter_errors(json.loads(payload))
    ]
    return "; ".join(errors)


@functools.cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schemas()[name])
