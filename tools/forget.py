"""Lets a node forget events: a running publish does it, else this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from common import forget
from common.settings import Settings
from common.stats import read_stats

ANSWER_S = 15.0  # publish looks once a second
FRESH_S = 5.0  # a report older than this is of a publish that is gone or hangs
PACE_S = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        waiting: Events with rows that stay until their end was told.
        by_publish: The running node did it.
    """

    waiting: int
    by_publish: bool


def selected(settings: Settings, wanted: forget.Selection) -> list[str]:
    """Ids that a selection means."""
    return forget.select(Path(settings.state_dir), wanted)


def forget_events(settings: Settings, ids: list[str]) -> Outcome:
    """Forget events with their pictures.

    Raises:
        OSError, sqlite3.Error: It cannot be done now; what was asked for stays noted, and the node tries again.
    """
    state_dir = Path(settings.state_dir)
    request = forget.ask(state_dir, ids)
    forget.remove_pictures(state_dir, ids)  # at once, whatever publish does
    deadline = time.monotonic() + ANSWER_S
    while publish_runs(settings) and time.monotonic() < deadline:
        left = forget.requests(state_dir).get(request)
        if not left or forget.seen(request):
            return Outcome(len(left or ()), by_publish=True)
        time.sleep(PACE_S)
    if publish_runs(settings):  # busy: it has the request
        return Outcome(len(ids), by_publish=True)
    left = forget.forget_now(state_dir, ids)
    forget.settle(request, left)
    return Outcome(len(left), by_publish=False)


def publish_runs(settings: Settings) -> bool:
    """A publish that works has reported just now."""
    report = read_stats(settings.runtime_dir).get("publish", {})
    age_s = (time.monotonic_ns() - int(report.get("beat_ns", 0))) / 1e9
    return 0 <= age_s < FRESH_S and Path(f"/proc/{report.get('pid', 0)}").exists()
