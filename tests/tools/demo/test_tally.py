"""What the demo counts."""

from __future__ import annotations

from typing import Any

from tools.demo.subscriber import Heard
from tools.demo.tally import Tally, event_line

EVENT = {
    "v": 1, "type": "start", "id": "01A", "camera": "demo", "track_id": 3, "time": "2026-01-02T03:04:05.678Z",
    "box": [0.1, 0.2, 0.3, 0.4], "score": 0.9, "duration_s": 0.0,
}  # fmt: skip


def process(pss_mb: float | None) -> dict[str, Any]:
    return {"name": "infer:0", "pss_mb": pss_mb, "rates": {"frames": 24.0}, "latency_ms": {}}


def test_a_face_is_counted_once_for_all_its_events() -> None:
    tally = Tally()
    for kind in ("start", "update", "end"):
        assert tally.hear(Heard("events", {**EVENT, "type": kind}, 0.0)) is not None
    assert (tally.events, tally.faces) == (3, {"01A"})


def test_other_topics_are_no_events() -> None:
    tally = Tally()
    assert tally.hear(Heard("demo/faces", 1, 0.0)) is None
    assert tally.hear(Heard("events", "damaged", 0.0)) is None
    assert tally.events == 0


def test_the_summary_tells_the_peak_of_the_memory() -> None:
    tally = Tally()
    for megabytes in (100.0, 300.0, 200.0):
        tally.look({"processes": [process(megabytes)], "total_pss_mb": megabytes})
    text = "\n".join(tally.summary())
    assert "at most 300 MB" in text
    assert "24.0 a second" in text


def test_an_event_without_its_fields_is_still_printed() -> None:
    assert "face 3" in event_line(EVENT)
    assert event_line({"type": "end"})
