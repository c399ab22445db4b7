"""The tables, and what must agree with them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from common.fleet import FLEET, MAX_WORKERS, members, ring_slots
from common.wire import TOPICS

ROOT = Path(__file__).parents[2]


def table(name: str) -> list[list[str]]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(rf"<!-- {name} table.*?-->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].strip().splitlines()[2:]]


def test_the_document_shows_the_fleet() -> None:
    expected = [
        [row.family, row.scaling, row.purpose, ", ".join(row.publishes) or "-", ", ".join(row.subscribes) or "-"]
        for row in FLEET.values()
    ]
    assert table("fleet") == expected


def test_the_document_shows_the_topics() -> None:
    expected = [
        [
            topic.name,
            topic.message.__name__,
            topic.producer,
            topic.pattern + (", one endpoint a camera" if topic.per_camera else ""),
            topic.rate,
        ]
        for topic in TOPICS.values()
    ]
    assert table("topic") == expected


def test_every_topic_is_sent_and_heard_by_processes_of_the_table() -> None:
    for topic in TOPICS.values():
        assert topic.name in FLEET[topic.producer].publishes
        assert any(topic.name in row.subscribes for row in FLEET.values())
    assert {name for row in FLEET.values() for name in (*row.publishes, *row.subscribes)} == set(TOPICS)


def test_every_process_has_its_module_and_a_memory_budget() -> None:
    for row in FLEET.values():
        assert importlib.util.find_spec(row.module), row.module
        assert row.memory_mb > 0


def test_members_have_names_that_supervisord_takes() -> None:
    rows = members(["door", "yard"], 2)
    assert [row.name for row in rows] == [
        "watchdog", "publish", "track", "view", "infer:0", "infer:1", "capture:door", "capture:yard",
    ]  # fmt: skip
    assert all(":" not in row.program for row in rows)


def test_slots_are_more_than_all_holders() -> None:
    holders = MAX_WORKERS + sum(row.leases for row in FLEET.values() if row.scaling == "one")
    assert ring_slots(MAX_WORKERS) >= holders + 2
