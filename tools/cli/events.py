"""The command `events`: what the event log holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.cli.node import JsonFlag, load_settings

if TYPE_CHECKING:
    from common.eventlog import Event
    from common.settings import Settings

WAIT_MS = 1000  # between two looks at the log when nobody tells of news


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(events)


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="How many of the past ones.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show when faces came and went, from the event log; works while the node is down, too."""
    for event in _events(load_settings(context), last, follow):
        typer.echo(json.dumps(plain(event)) if as_json else line(event))


def plain(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    import dataclasses

    tree = dataclasses.asdict(event)
    return {**tree, "time": _time(event), "box": [round(float(value), 5) for value in event.box]}


def line(event: Event) -> str:
    """An event on one line."""
    zones = f" in {', '.join(event.zones)}" if event.zones else ""
    what = f"{event.type:<6} {event.camera:<12} face {event.track_id:<6}"
    return f"{_time(event)} {what} score {event.score:.2f} {event.duration_s:7.1f} s{zones}  {event.id}"


def _events(settings: Settings, last: int, follow: bool) -> Iterator[Event]:
    from pathlib import Path

    from common.bus import Bus
    from common.eventlog import EventLogReader

    if not (Path(settings.state_dir) / "events.db").exists() and not follow:
        return
    reader = EventLogReader(settings.state_dir)
    known = reader.last_rowid()
    for event in reversed(reader.latest(last)) if last else ():
        known = max(known, event.rowid)  # one may have come in between
        yield event
    if not follow:
        return
    with Bus(settings.runtime_dir) as bus:
        notices = bus.subscriber("events")
        while True:
            for event in reader.after(known):
                known = event.rowid
                yield event
            bus.wait(WAIT_MS, notices)
            notices.drain()


def _time(event: Event) -> str:
    return datetime.fromtimestamp(event.time_ns / 1e9, UTC).astimezone().isoformat(timespec="milliseconds")
