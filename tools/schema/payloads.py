"""JSON Schema of every payload on MQTT."""

from __future__ import annotations

from typing import Any

from services.publish.payloads import JSON_PAYLOADS
from services.publish.topics import TEXTS
from tools.schema.discovery import DEVICE, ENTITY

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by the name of the payload: the JSON messages, and what Home Assistant is told."""
    made = {name: _of_type(name) for name in JSON_PAYLOADS}
    return {
        **made,
        "discovery_device": {"$schema": DIALECT, **DEVICE},
        "discovery_entity": {"$schema": DIALECT, **ENTITY},
    }


def text_schemas() -> dict[str, dict[str, Any]]:
    """Schemas of the payloads that are plain text."""
    return {name: {"type": "string", "pattern": f"^({pattern})$"} for name, pattern in TEXTS.items()}


def _of_type(name: str) -> dict[str, Any]:
    from pydantic import TypeAdapter

    _describe()
    tree = TypeAdapter[Any](JSON_PAYLOADS[name]).json_schema()
    return {"$schema": DIALECT, "title": tree["title"], **_without_titles(tree)}


def _without_titles(tree: Any) -> Any:
    """A schema without the titles that only repeat the names of the fields."""
    if isinstance(tree, dict):
        return {key: _without_titles(value) for key, value in tree.items() if key != "title"}
    return [_without_titles(value) for value in tree] if isinstance(tree, list) else tree


def _describe() -> None:
    """Let pydantic take the docstrings of the fields, here and below; the services never load pydantic."""
    from services.publish import payloads

    for member in vars(payloads).values():
        if isinstance(member, type) and hasattr(member, "__required_keys__"):
            member.__pydantic_config__ = {"use_attribute_docstrings": True}  # type: ignore[attr-defined]
