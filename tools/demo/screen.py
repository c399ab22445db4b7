"""How the demo shows itself: a live table, or plain lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from tools.cli.output import number, table
from tools.demo.tally import Tally, event_line

if TYPE_CHECKING:
    from rich.console import Group


class Screen(Protocol):
    """Where the demo shows what happens."""

    def event(self, event: dict[str, Any]) -> None:
        """An event came in."""

    def refresh(self, tally: Tally) -> None:
        """The numbers have changed."""


class Lines:
    """One line an event."""

    def event(self, event: dict[str, Any]) -> None:
        """Print it."""
        print(event_line(event), flush=True)

    def refresh(self, tally: Tally) -> None:
        """Nothing: lines are for reading later."""


class Tables:
    """Two tables that are drawn anew; made by `live_screen`."""

    def __init__(self, live: Any, head: str) -> None:
        self._live, self._head = live, head

    def event(self, event: dict[str, Any]) -> None:
        """Drawn with the next refresh."""

    def refresh(self, tally: Tally) -> None:
        """Draw."""
        self._live.update(_page(self._head, tally))


@contextlib.contextmanager
def live_screen(head: str, *, headless: bool) -> Iterator[Screen]:
    """A screen for the length of a `with` block."""
    from rich.console import Console

    console = Console()
    if headless or not console.is_terminal:
        print(head, flush=True)
        yield Lines()
        return
    from rich.live import Live

    with Live(_page(head, Tally()), console=console, refresh_per_second=8) as live:
        yield Tables(live, head)


def _page(head: str, tally: Tally) -> Group:
    from rich.console import Group

    title = f"{tally.events} events over MQTT, {len(tally.faces)} faces"
    events = table(
        "time", "type", "camera", "face", "score", "seconds", title=title, right=("face", "score", "seconds")
    )
    for event in reversed(tally.recent):
        events.add_row(
            str(event.get("time", ""))[11:23],
            str(event.get("type", "")),
            str(event.get("camera", "")),
            str(event.get("track_id", "")),
            number(event.get("score"), 2),
            number(event.get("duration_s")),
        )
    numbers = ("restarts", "cpu %", "PSS MB", "frames/s")
    title = f"memory {sum(row['pss_mb'] or 0 for row in tally.processes):.0f} MB"
    processes = table("process", "state", *numbers, "remarks", right=numbers, title=title)
    for row in tally.processes:
        processes.add_row(
            row["name"],
            row["state"] if row["doing"] in {"", "running"} else row["doing"],
            str(row["restarts"]),
            number(row["cpu_percent"]),
            number(row["pss_mb"]),
            number(row["rates"].get("frames")),
            row["reason"],
        )
    return Group(head, "", events, processes)
