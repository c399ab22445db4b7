"""The command `events`: what the event log holds, and forgetting it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import ConfigError, DeviceError
from tools.cli.node import JsonFlag, load_settings

if TYPE_CHECKING:
    from common.eventlog import Event
    from common.settings import Settings

WAIT_MS = 1000  # between two looks at the log when nobody tells of news
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(events)


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="How many of the past ones.")] = 20,
    as_json: JsonFlag = False,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this event; may be repeated.")] = None,
    camera: Annotated[str, typer.Option("--camera", help="Only events of this camera.")] = "",
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Forget events with their pictures: by --id, --camera, --older-than or --all."),
    ] = False,
    older_than: Annotated[str, typer.Option("--older-than", help="With --delete: an age, as 30m, 12h, 7d.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="With --delete: every event.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --delete: only tell what would be forgotten.")
    ] = False,
) -> None:
    """Show when faces came and went, from the event log, or forget them; works while the node is down, too."""
    settings = load_settings(context)
    if delete:
        _delete(settings, tuple(ids or ()), camera, age_s(older_than), everything, dry_run, as_json)
        return
    if older_than or everything or dry_run:
        raise ConfigError("--older-than, --all and --dry-run go with --delete")
    for event in _events(settings, last, follow, camera, tuple(ids or ())):
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


def age_s(text: str) -> float:
    """Seconds of an age as `30m`, `12h`, `7d`; 0 for none.

    Raises:
        ConfigError: It is no age.
    """
    if not text:
        return 0.0
    try:
        value = float(text[:-1]) * UNITS_S[text[-1]]
    except (ValueError, KeyError):
        value = 0.0
    if value <= 0:
        raise ConfigError(f"--older-than {text!r}: a number and s, m, h or d, as 12h or 7d")
    return value


def _delete(
    settings: Settings, ids: tuple[str, ...], camera: str, age: float, everything: bool, dry_run: bool, as_json: bool
) -> None:
    import sqlite3
    import time

    from common.forget import Selection
    from tools.forget import forget_events, selected

    if not (ids or camera or age or everything):
        raise ConfigError("--delete: say which events, by --id, --camera or --older-than, or --all")
    if everything and (ids or camera or age):
        raise ConfigError("--all goes with no other choice")
    try:
        chosen = selected(settings, Selection(ids, camera, time.time_ns() - int(age * 1e9) if age else 0))
        unknown = sorted(set(ids) - set(chosen))
        outcome = None if dry_run or not chosen else forget_events(settings, chosen)
    except (OSError, sqlite3.Error) as error:
        raise DeviceError(f"events are not forgotten: {error}") from error
    waiting = outcome.waiting if outcome else 0
    if as_json:
        typer.echo(json.dumps({"events": len(chosen), "waiting": waiting, "unknown": unknown, "dry_run": dry_run}))
    elif dry_run:
        typer.echo(f"{len(chosen)} events would be forgotten")
    else:
        typer.echo(f"{len(chosen)} events and their pictures are forgotten{_rest(waiting)}")
    if unknown and not as_json:
        typer.echo(f"unknown: {', '.join(unknown)}", err=True)
    if unknown and not chosen:
        raise typer.Exit(1)


def _rest(waiting: int) -> str:
    if not waiting:
        return ""
    return f"; rows of {waiting} stay in the log until their end has been told to the broker"


def _events(settings: Settings, last: int, follow: bool, camera: str, ids: tuple[str, ...]) -> Iterator[Event]:
    from pathlib import Path

    from common.bus import Bus
    from common.eventlog import EventLogReader

    def wanted(event: Event) -> bool:
        return camera in {"", event.camera} and (not ids or event.id in ids)

    if not (Path(settings.state_dir) / "events.db").exists() and not follow:
        return
    reader = EventLogReader(settings.state_dir)
    known = reader.last_rowid()
    past = [event for event_id in ids or ("",) for event in reader.latest(last, camera, event_id)] if last else []
    for event in sorted(past, key=lambda row: row.rowid)[-last:]:
        known = max(known, event.rowid)  # one may have come in between
        yield event
    if not follow:
        return
    with Bus(settings.runtime_dir) as bus:
        notices = bus.subscriber("events")
        while True:
            for event in reader.after(known):
                known = event.rowid
                if wanted(event):
                    yield event
            bus.wait(WAIT_MS, notices)
            notices.drain()


def _time(event: Event) -> str:
    return datetime.fromtimestamp(event.time_ns / 1e9, UTC).astimezone().isoformat(timespec="milliseconds")
