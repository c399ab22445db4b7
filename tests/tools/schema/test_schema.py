"""The committed documents are those of the tables, whole, and hold what the specifications ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from typer.testing import CliRunner

from services.publish.payloads import JSON_PAYLOADS
from services.publish.topics import CHANNELS, TEXTS, Topics
from tools.cli.main import app
from tools.cli.schema import documents
from tools.schema.payloads import schemas

FOLDER = Path(__file__).parents[3] / "docs" / "schema"


def test_the_committed_documents_are_up_to_date() -> None:
    """`vedette schema --out docs/schema` writes them."""
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == documents()


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("name", sorted(JSON_PAYLOADS))
def test_every_field_is_required_and_explained(name: str) -> None:
    schema = schemas()[name]
    for part in (schema, *schema.get("$defs", {}).values()):
        assert set(part["required"]) == set(part["properties"])
        assert part["description"]
        assert all(row.get("description") for row in part["properties"].values()), part["title"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_asyncapi_names_every_topic_with_its_qos_and_resolves() -> None:
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    addresses = {row["address"] for row in document["channels"].values()}
    assert addresses >= {f"{{base}}/{{node}}/{address}" for address in CHANNELS}
    for operation in document["operations"].values():
        row = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        channel = CHANNELS.get(row["address"].removeprefix("{base}/{node}/"))
        if channel is not None:
            assert operation["bindings"]["mqtt"]["qos"] == channel.qos
            assert operation["bindings"]["mqtt"]["retain"] == channel.retain
            assert operation["action"] == ("send" if channel.direction == "sent" else "receive")
    for reference in references(document):
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_every_payload_of_the_table_has_a_schema() -> None:
    assert {row.payload for row in CHANNELS.values()} <= {*TEXTS, *JSON_PAYLOADS, "jpeg"}


def test_topics_go_by_the_table_and_back() -> None:
    topics = Topics("house/vedette", "hall")
    assert topics.camera("door", "faces") == "house/vedette/hall/door/faces"
    for topic, address in (
        (topics.status, "status"),
        (topics.camera("door", "status"), "{camera}/status"),
        (topics.set("capture:door", "restart"), "{process}/restart/set"),
        (topics.state("door", "privacy"), "{camera}/privacy/state"),
    ):
        assert topics.channel(topic) is CHANNELS[address]
    assert topics.channel("house/vedette/attic/status") is None
    assert topics.channel("house/vedette/hall/door/nose") is None


def test_a_wrong_payload_is_not_let_through() -> None:
    good = {"v": 1, "payload": "on", "reason": "ON or OFF expected"}
    validator = Draft202012Validator(schemas()["refusal"], format_checker=FormatChecker())
    assert validator.is_valid(good)
    for wrong in ({**good, "v": 2}, {**good, "reason": None}, {"v": 1}):
        assert not validator.is_valid(wrong)


def test_the_command_lists_prints_and_refuses() -> None:
    runner = CliRunner()
    assert "asyncapi" in runner.invoke(app, ["schema"]).output.split()
    assert json.loads(runner.invoke(app, ["schema", "event"]).output)["title"] == "EventPayload"
    assert runner.invoke(app, ["schema", "nonsense"]).exit_code != 0
