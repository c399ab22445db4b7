"""What the demo has seen so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tools.demo.subscriber import Heard

SHOWN_EVENTS = 12


@dataclass(slots=True)
class Tally:
    """Counts of one run.

    Attributes:
        events: Messages on the topic `events`.
        faces: Ids of the faces that started.
        recent: The newest events, oldest first.
        peak_mb: Largest proportional memory of the whole node.
        processes: Rows of the newest status.
    """

    events: int = 0
    faces: set[str] = field(default_factory=set)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_EVENTS))
    peak_mb: float = 0.0
    fps: list[float] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)

    def hear(self, heard: Heard) -> dict[str, Any] | None:
        """Count a message; returns it when it is an event."""
        if heard.topic != "events" or not isinstance(heard.payload, dict):
            return None
        event = {**heard.payload, "arrived": heard.arrived}
        self.events += 1
        if event.get("type") == "start":
            self.faces.add(str(event.get("id")))
        self.recent.append(event)
        return event

    def look(self, status: dict[str, Any]) -> None:
        """Take in the state of the processes."""
        self.processes = status["processes"]
        self.peak_mb = max(self.peak_mb, status["total_pss_mb"])
        rates = [row["rates"].get("frames") for row in self.processes if row["name"].startswith("infer")]
        if any(rates):
            self.fps.append(sum(rate for rate in rates if rate))

    def summary(self) -> Iterator[str]:
        """Lines that close a run."""
        yield f"faces {len(self.faces)}, events {self.events}"
        if self.fps:
            yield f"frames with detection {sorted(self.fps)[len(self.fps) // 2]:.1f} a second"
        for row in self.processes:
            for name, value in row["latency_ms"].items():
                yield f"{row['name']} {name}: p50 {value['p50']:.1f} ms, p99 {value['p99']:.1f} ms"
        yield f"memory of the node at most {self.peak_mb:.0f} MB (proportional set size of all its processes)"


def event_line(event: dict[str, Any]) -> str:
    """An event on one line."""
    box = " ".join(f"{value:.3f}" for value in event.get("box", []))
    return (
        f"{event.get('time', '')} {event.get('type', ''):<6} {event.get('camera', '')} face {event.get('track_id')}"
        f" score {event.get('score') or 0:.2f} {event.get('duration_s') or 0:.1f} s box [{box}]"
    )
