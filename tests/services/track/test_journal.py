"""The thread that writes events, with a real log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.eventlog import Event, EventLogReader, EventLogWriter, boot_id
from common.settings import EventSettings
from common.stats import Stats
from services.track import journal as module
from services.track.journal import Journal
from tools.bench.waiting import until


def event(event_id: str, kind: Any = "start") -> Event:
    return Event(
        0, event_id, 0, kind, "door", 1, time.time_ns(), time.monotonic_ns(), boot_id(), (0, 0, 1, 1), 1, 1, 0, ()
    )


@pytest.fixture
def stats() -> Stats:
    return Stats()


@pytest.fixture
def make(node_dir: Path, stats: Stats, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Journal]]:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    bus, made = Bus(node_dir, stats), []
    notices = bus.publisher("events")

    def build() -> Journal:
        made.append(Journal(node_dir, EventSettings(), stats, notices))
        return made[-1]

    yield build
    for one in made:
        if one.alive:
            one.close()
    bus.close()


@pytest.fixture
def reader(node_dir: Path) -> Iterator[EventLogReader]:
    made = EventLogReader(node_dir)
    yield made
    made.close()


def kinds(reader: EventLogReader) -> list[tuple[str, str]]:
    return [(row.id, row.type) for row in reader.after(0, 100_000)]


def test_rows_are_written_in_order_and_the_doorbell_rings(
    make: Callable[[], Journal], node_dir: Path, reader: EventLogReader
) -> None:
    with Bus(node_dir) as other:
        ear = other.subscriber("events")
        journal = make()
        journal.start([])
        journal.put([event("A"), event("A", "update")])
        journal.put([event("A", "end")])
        until(lambda: len(kinds(reader)) == 3)

        def rung() -> bool:
            journal.put([event(str(time.monotonic_ns()))])
            other.wait(50, ear)
            return any(notice.rowid == reader.last_rowid() for notice in ear.drain())

        until(rung)
    assert kinds(reader)[:3] == [("A", "start"), ("A", "update"), ("A", "end")]


def test_open_events_that_nobody_follows_are_ended_at_start(
    make: Callable[[], Journal], node_dir: Path, reader: EventLogReader
) -> None:
    writer = EventLogWriter(node_dir, EventSettings())
    writer.append([event("kept"), event("orphan"), event("done"), event("done", "end")])
    writer.close()
    journal = make()
    assert set(journal.open) == {"kept", "orphan"}
    assert journal.knows("done")
    assert not journal.knows("never")
    journal.start(["kept"])
    until(lambda: ("orphan", "end") in kinds(reader))
    journal.close()
    assert kinds(reader)[4:] == [("orphan", "end")]


def test_while_the_log_cannot_be_opened_rows_wait_and_the_reason_is_told(
    make: Callable[[], Journal], node_dir: Path, reader: EventLogReader
) -> None:
    (node_dir / "events.db").mkdir()  # stands in the way
    journal = make()
    assert "event log" in journal.problem
    journal.start([])
    journal.put([event("A")])
    (node_dir / "events.db").rmdir()
    until(lambda: kinds(reader) == [("A", "start")])
    until(lambda: not journal.problem)
    assert journal.alive


def test_what_waits_is_bounded_and_no_start_loses_its_end(
    make: Callable[[], Journal], node_dir: Path, reader: EventLogReader, stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    writer = EventLogWriter(node_dir, EventSettings())
    writer.append([event("told")])
    writer.close()
    journal = make()
    assert journal._log is not None
    pages = journal._log._db.execute("PRAGMA max_page_count = 1").fetchone()[0]  # no page more than there are
    journal.start(["told"])
    for index in range(300):
        journal.put([event(f"{index}"), event("told", "update"), *([event(f"{index}", "end")] if index % 50 else [])])
    journal.put([event("told", "end")])
    until(lambda: "disk full" in journal.problem)
    assert len(journal._waiting) <= 100 + module.BATCH
    assert stats.report()["drops"]["events_memory"] > 300
    journal._log._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    until(lambda: ("told", "end") in kinds(reader))
    journal.close()
    rows = kinds(reader)
    starts = {name for name, kind in rows if kind == "start"}
    ends = [name for name, kind in rows if kind == "end"]
    assert len(ends) == len(set(ends))
    assert starts - set(ends) == {f"{index}" for index in range(0, 300, 50)}


def test_closing_writes_what_waits(make: Callable[[], Journal], reader: EventLogReader) -> None:
    journal = make()
    journal.start([])
    journal.put([event(f"{index}") for index in range(1200)])
    journal.close()
    assert len(kinds(reader)) == 1200
    assert not journal.alive
