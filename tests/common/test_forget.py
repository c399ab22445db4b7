"""What may go from the log, what must wait, and that nothing of it is left in the files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import forget
from common.eventlog import Event, EventLogReader, EventLogWriter
from common.settings import EventSettings
from common.stats import write_json

NIGHT = "night-watch-camera"


def event(event_id: str, kind: Any, camera: str = "door", time_ns: int = 0) -> Event:
    return Event(0, event_id, 0, kind, camera, 1, time_ns or time.time_ns(), time.monotonic_ns(), "boot",
                 (0.1, 0.1, 0.2, 0.4), 0.9, 0.95, 1.5, ())  # fmt: skip


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EventLogWriter]:
    made = EventLogWriter(tmp_path, EventSettings())
    yield made
    made.close()


def rows(folder: Path) -> list[tuple[str, int]]:
    reader = EventLogReader(folder)
    found = [(row.id, row.rowid) for row in reader.after(0)]
    reader.close()
    return found


def test_told_rows_go_and_the_others_wait_until_their_end_is_told(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event("A", "start"), event("A", "end"), event("B", "start"), event("B", "end")])
    assert forget.remove_rows(tmp_path, ["A", "B"], acknowledged=3, sent=3) == ["B"]
    assert rows(tmp_path) == [("B", 4)]
    assert forget.remove_rows(tmp_path, ["B"], acknowledged=3, sent=4) == ["B"]
    assert forget.remove_rows(tmp_path, ["B"], acknowledged=4, sent=4) == []
    assert rows(tmp_path) == []


def test_a_whole_event_that_nobody_can_have_heard_of_goes_at_once(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event("A", "start"), event("A", "end"), event("B", "start")])
    assert forget.remove_rows(tmp_path, ["A"], acknowledged=0, sent=1) == ["A"]
    assert forget.remove_rows(tmp_path, ["A", "B"], acknowledged=0, sent=0) == ["B"], "B has no end yet"
    assert rows(tmp_path) == [("B", 3)]


def test_a_face_that_is_still_there_gets_its_end_with_the_right_number(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event("A", "start"), event("A", "update")])
    assert forget.remove_rows(tmp_path, ["A"], acknowledged=2, sent=2) == ["A"]
    writer.append([event("A", "end")])
    reader = EventLogReader(tmp_path)
    assert [(row.type, row.seq, row.rowid) for row in reader.after(0)] == [("end", 3, 3)]
    assert forget.remove_rows(tmp_path, ["A"], acknowledged=3, sent=3) == []
    assert reader.dropped() == {"forgotten": 3}
    reader.close()


def test_nothing_of_it_is_left_in_the_files(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event("A", "start", NIGHT), event("A", "end", NIGHT), event("B", "start")])
    before = b"".join(path.read_bytes() for path in tmp_path.glob("events.db*"))
    assert NIGHT.encode() in before
    forget.remove_rows(tmp_path, ["A"], acknowledged=2, sent=2)
    assert NIGHT.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("events.db*"))


def test_events_and_pictures_are_chosen_by_id_camera_and_age(tmp_path: Path, writer: EventLogWriter) -> None:
    now = time.time_ns()
    writer.append([event("A", "start", time_ns=now - 10**12), event("B", "start", "yard"), event("C", "start")])
    picture = tmp_path / forget.PICTURES / "yard" / "OLD.jpg"  # its rows were trimmed
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    os.utime(picture, (1, 1))
    choose = lambda **values: forget.select(tmp_path, forget.Selection(**values))  # noqa: E731
    assert choose() == ["A", "B", "C", "OLD"]
    assert choose(ids=("B", "X")) == ["B"]
    assert choose(camera="yard") == ["B", "OLD"]
    assert choose(before_ns=now - 10**11) == ["A", "OLD"]
    assert forget.remove_pictures(tmp_path, ["OLD", "A"]) == 1
    assert not picture.exists()


def test_without_a_node_rows_that_may_be_on_their_way_stay(tmp_path: Path, writer: EventLogWriter) -> None:
    writer.append([event(f"E{number:03d}", kind) for number in range(100) for kind in ("start", "end")])
    write_json(tmp_path / forget.POSITION, {"rowid": 20, "event_id": "E009"})
    ids = forget.select(tmp_path, forget.Selection())
    left = forget.forget_now(tmp_path, ids)
    assert left == [f"E{number:03d}" for number in range(10, 60)]
    assert {row[0] for row in rows(tmp_path)} == set(left)


def test_a_request_is_kept_until_it_is_settled(tmp_path: Path) -> None:
    path = forget.ask(tmp_path, ["B", "A"])
    assert forget.requests(tmp_path) == {path: ["A", "B"]}
    assert not forget.seen(path)
    forget.settle(path, ["B"])
    assert forget.requests(tmp_path) == {path: ["B"]}
    assert forget.seen(path)
    forget.settle(path, [])
    assert forget.requests(tmp_path) == {}
