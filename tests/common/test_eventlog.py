"""The event log, in real files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import eventdb, eventlog
from common.errors import ConfigError, DeviceError
from common.eventlog import Event, EventLogReader, EventLogWriter, boot_id
from common.settings import EventSettings

ROOT = Path(__file__).parents[2]
DAY_NS = 86_400_000_000_000


def event(event_id: str = "A", kind: Any = "start", **values: Any) -> Event:
    row = Event(
        rowid=0,
        id=event_id,
        seq=0,
        type=kind,
        camera="door",
        track_id=7,
        time_ns=time.time_ns(),
        mono_ns=time.monotonic_ns(),
        boot_id=boot_id(),
        box=(0.1, 0.2, 0.3, 0.4),
        score=0.75,
        best_score=0.9,
        duration_s=1.5,
        zones=("path", "step"),
    )
    return replace(row, **values)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EventLogWriter]:
    made = EventLogWriter(tmp_path, EventSettings())
    yield made
    made.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[EventLogReader]:
    made = EventLogReader(tmp_path)
    yield made
    made.close()


def rows(reader: EventLogReader) -> list[tuple[str, int, str]]:
    return [(row.id, row.seq, row.type) for row in reader.after(0, 100_000)]


def test_a_reader_of_no_log_sees_an_empty_one_and_then_the_first_rows(tmp_path: Path, reader: EventLogReader) -> None:
    assert (reader.after(0), reader.latest(5), reader.last_rowid(), reader.dropped()) == ([], [], 0, {})
    writer = EventLogWriter(tmp_path, EventSettings())
    assert reader.after(0) == []
    first = event()
    assert writer.append([first]) == 1
    assert reader.after(0) == [replace(first, rowid=1, seq=1)]
    writer.close()


def test_seq_rises_by_one_per_id_and_rows_come_in_order(writer: EventLogWriter, reader: EventLogReader) -> None:
    writer.append([event("A"), event("B"), event("A", "update")])
    last = writer.append([event("A", "end"), event("B", "end")])
    assert rows(reader) == [("A", 1, "start"), ("B", 1, "start"), ("A", 2, "update"), ("A", 3, "end"), ("B", 2, "end")]
    assert [row.rowid for row in reader.after(2, 2)] == [3, 4]
    assert [row.rowid for row in reader.latest(2)] == [5, 4]
    assert reader.last_rowid() == last == 5


def test_open_events_are_those_without_an_end_after_a_restart(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event("A"), event("B"), event("B", "update", track_id=9), event("A", "end")])
    writer.close()
    again = EventLogWriter(tmp_path, EventSettings())
    assert list(again.open) == ["B"]
    assert (again.open["B"].seq, again.open["B"].track_id, again.last_rowid) == (2, 9, 4)
    assert again.knows("A")
    assert not again.knows("C")
    again.close()


@settings(max_examples=15)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["start", "update", "end"])), max_size=8),
        max_size=6,
    )
)
def test_whatever_is_written_each_life_is_one_start_and_at_most_one_end(batches: list[list[tuple[str, str]]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        for batch in batches:  # a restart between any two batches
            writer = EventLogWriter(directory, EventSettings())
            writer.append([event(name, kind) for name, kind in batch])
            writer.close()
        reader = EventLogReader(directory)
        lives: dict[str, list[Event]] = {}
        for row in reader.after(0):
            lives.setdefault(row.id, []).append(row)
        reader.close()
    for life in lives.values():
        assert [row.seq for row in life] == list(range(1, len(life) + 1))
        kinds = [row.type for row in life]
        assert kinds[0] == "start"
        assert kinds.count("start") == 1
        assert "end" not in kinds[:-1]


def test_a_full_disk_is_told_nothing_is_half_written_and_it_goes_on(
    writer: EventLogWriter, reader: EventLogReader
) -> None:
    writer.append([event("A")])
    pages = writer._db.execute("PRAGMA page_count").fetchone()[0]
    writer._db.execute(f"PRAGMA max_page_count = {pages}")
    batch = [event("A", "update"), *(event(f"N{index}", zones=("long" * 50,)) for index in range(200))]
    with pytest.raises(DeviceError, match="event log: disk full"):
        writer.append(batch)
    assert rows(reader) == [("A", 1, "start")]
    assert list(writer.open) == ["A"]
    writer._db.execute("PRAGMA max_page_count = 1000000")
    assert writer.append(batch) == 202
    assert rows(reader)[:2] == [("A", 1, "start"), ("A", 2, "update")]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk_keeps_what_was_written_and_recovers(tmp_path: Path) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_eventlog import event, rows
from common.eventlog import EventLogReader, EventLogWriter
from common.errors import DeviceError
from common.settings import EventSettings
disk = Path({str(tmp_path)!r})
writer = EventLogWriter(disk, EventSettings())
writer.append([event("A")])
filler = open(disk / "filler", "wb", buffering=0)
try:
    while True: filler.write(bytes(65536))
except OSError: pass
try:
    for n in range(500): writer.append([event("A", "update")])
    raise SystemExit("never full")
except DeviceError as error:
    assert "disk full" in str(error), error
(disk / "filler").unlink(); filler.close()
writer.append([event("A", "end")])
seen = rows(EventLogReader(disk))
assert [seq for _, seq, _ in seen] == list(range(1, len(seen) + 1)), seen
assert seen[0][2] == "start" and seen[-1][2] == "end"
print("fine")
"""
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c "$0"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount, script], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.strip() == "fine", done.stderr


def test_a_damaged_log_is_moved_aside_and_open_events_and_row_numbers_go_on(
    tmp_path: Path, writer: EventLogWriter, reader: EventLogReader
) -> None:
    writer.append([event("A"), event("B"), event("B", "end")])
    assert reader.last_rowid() == 3
    root = writer._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
    writer.close()
    reader.close()
    path = tmp_path / eventdb.FILE
    raw = bytearray(path.read_bytes())
    page = int.from_bytes(raw[16:18], "big")
    raw[(root - 1) * page : root * page] = b"\xff" * page  # the table of open events is whole
    path.write_bytes(raw)
    damaged = EventLogWriter(tmp_path, EventSettings())
    with pytest.raises(DeviceError, match="a new one was begun"):
        damaged.append([event("A", "end"), event("C")])
    damaged.append([event("A", "end"), event("C")])
    assert len(list(tmp_path.glob("events.db.damaged-*"))) == 1
    assert [(row.rowid, row.id, row.seq, row.type) for row in reader.after(0)] == [
        (4, "A", 2, "end"),
        (5, "C", 1, "start"),
    ]
    damaged.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough " * 100, b"SQLite format 3\0"])
def test_a_file_that_is_no_database_is_moved_aside_and_rows_begin_above_any_before(
    tmp_path: Path, content: bytes, reader: EventLogReader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / eventdb.FILE).write_bytes(content)
    writer = EventLogWriter(tmp_path, EventSettings())
    assert writer.append([event()]) > 1_000_000
    assert "event log is damaged" in caplog.text
    assert rows(reader) == [("A", 1, "start")]
    writer.close()


def test_a_newer_schema_is_refused_by_both_ends(tmp_path: Path, writer: EventLogWriter, reader: EventLogReader) -> None:
    writer._db.execute("PRAGMA user_version = 99")
    writer.close()
    with pytest.raises(ConfigError, match="schema version 99, this program knows up to 1"):
        EventLogWriter(tmp_path, EventSettings())
    with pytest.raises(ConfigError, match="schema version 99"):
        reader.after(0)


def test_an_older_schema_is_brought_up_to_date_with_its_rows(
    tmp_path: Path, writer: EventLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append([event("A")])
    writer.close()
    step = ("ALTER TABLE events ADD COLUMN extra TEXT NOT NULL DEFAULT ''",)
    monkeypatch.setattr(eventdb, "MIGRATIONS", (*eventdb.MIGRATIONS, step))
    early = EventLogReader(tmp_path)
    assert early.after(0) == []  # not before the writer has done it
    newer = EventLogWriter(tmp_path, EventSettings())
    newer.append([event("A", "end")])
    assert rows(early) == [("A", 1, "start"), ("A", 2, "end")]
    assert newer._db.execute("PRAGMA user_version").fetchone() == (2,)
    newer.close()
    early.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, writer: EventLogWriter, monkeypatch: pytest.MonkeyPatch, reader: EventLogReader
) -> None:
    writer.append([event("A")])
    writer.close()
    with monkeypatch.context() as patch:
        patch.setattr(eventdb, "MIGRATIONS", (*eventdb.MIGRATIONS, ("DROP TABLE dropped", "no SQL")))
        with pytest.raises(DeviceError):
            EventLogWriter(tmp_path, EventSettings())
    EventLogWriter(tmp_path, EventSettings()).close()
    assert (rows(reader), reader.dropped()) == ([("A", 1, "start")], {})


def test_size_is_bounded_and_what_was_dropped_is_counted_in_the_file(
    tmp_path: Path, reader: EventLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "TIDY_ROWS", 1)
    writer = EventLogWriter(tmp_path, EventSettings(keep_mb=0.5))
    writer.append([event("long")])
    for batch in range(40):
        writer.append([event(f"{batch}-{index}", kind) for index in range(100) for kind in ("start", "end")])
    first = reader.after(0, 1)[0].rowid
    assert eventdb.used_bytes(writer._db) < 0.8e6
    assert len(rows(reader)) >= eventlog.KEEP_ROWS
    assert reader.dropped() == {"size": first - 1} == {"size": writer.dropped["size"]}
    writer.append([event("long", "end")])  # its start was dropped, its end still comes
    assert rows(reader)[-1] == ("long", 2, "end")
    writer.close()


def test_age_is_bounded_by_the_clock_that_fits_the_row(
    tmp_path: Path, writer: EventLogWriter, reader: EventLogReader
) -> None:
    now, mono = time.time_ns(), time.monotonic_ns()
    writer.append(
        [
            event("other boot, old", boot_id="before", time_ns=now - 31 * DAY_NS),
            event("old", mono_ns=mono - 31 * DAY_NS),
            event("written before the clock was set", time_ns=0),
            event("young", boot_id="before"),
        ]
    )
    writer._tidy_at = 0.0
    writer.tidy()
    assert [row.id for row in reader.after(0)] == ["written before the clock was set", "young"]
    assert reader.dropped() == {"age": 2}
    assert reader.last_rowid() == 4


def test_files_are_for_their_owner_alone_and_readers_cannot_write(
    tmp_path: Path, writer: EventLogWriter, reader: EventLogReader
) -> None:
    writer.append([event()])
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("events.db*")} == {0o600}
    connected = reader._connected()
    assert connected is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connected.execute("DELETE FROM events")


def test_a_reader_finds_the_new_file_when_the_log_was_removed(
    tmp_path: Path, writer: EventLogWriter, reader: EventLogReader
) -> None:
    writer.append([event("A")])
    assert rows(reader) == [("A", 1, "start")]
    writer.close()
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    assert rows(reader) == []
    again = EventLogWriter(tmp_path, EventSettings())
    again.append([event("B")])
    assert rows(reader) == [("B", 1, "start")]
    again.close()


def test_what_append_returned_survives_kill_9(tmp_path: Path, reader: EventLogReader) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_eventlog import event
from common.eventlog import EventLogWriter
from common.settings import EventSettings
writer = EventLogWriter({str(tmp_path)!r}, EventSettings())
n = 0
while True:
    writer.append([event(f"{{n}}"), event(f"{{n}}", "end")])
    n += 1
    print(n, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = 0
        for line in child.stdout:
            told = int(line)
            if told == 20:
                child.send_signal(signal.SIGKILL)
    assert len(rows(reader)) in {2 * told, 2 * told + 2}
    again = EventLogWriter(tmp_path, EventSettings())
    assert again.open == {}
    again.close()
