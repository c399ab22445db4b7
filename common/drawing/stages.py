"""Where the time goes between the glass and the browser, stage by stage."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from common.wire import TrackFrame

STAGES = ("capture", "wait", "infer", "track", "draw", "send")
WINDOW_S = 10.0
MAX_SAMPLES = 300  # a stage: 10 s at 30 frames a second


class Stages:
    """Latencies of one camera over the last seconds; filled by two threads, read by a third."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int]]] = {
            name: deque(maxlen=MAX_SAMPLES) for name in (*STAGES, "total")
        }

    def tracked(self, tracks: TrackFrame) -> None:
        """A frame came out of track."""
        frame = tracks.frame
        self.add("capture", frame.published_ns - frame.captured_ns)
        self.add("wait", tracks.claimed_ns - frame.published_ns)
        self.add("infer", tracks.finished_ns - tracks.claimed_ns)
        self.add("track", tracks.tracked_ns - tracks.finished_ns)

    def add(self, stage: str, duration_ns: int) -> None:
        """A stage took this long; clocks of a replay may run backwards, which counts as nothing."""
        self._samples[stage].append((time.monotonic(), max(0, duration_ns)))

    def summary(self) -> dict[str, dict[str, float]]:
        """Median and 99th percentile in milliseconds of every stage that has happened lately."""
        return {name: found for name in self._samples if (found := self._quantiles(name))}

    def rate(self, stage: str) -> float:
        """How often a stage happened per second lately."""
        times = [at for at, _ in list(self._samples[stage]) if at > time.monotonic() - WINDOW_S]
        return round((len(times) - 1) / (times[-1] - times[0]), 1) if len(times) > 1 and times[-1] > times[0] else 0.0

    def _quantiles(self, name: str) -> dict[str, Any]:
        since = time.monotonic() - WINDOW_S
        values = sorted(value for at, value in list(self._samples[name]) if at > since)
        if not values:
            return {}
        last = len(values) - 1
        return {"p50": round(values[last // 2] / 1e6, 2), "p99": round(values[last * 99 // 100] / 1e6, 2)}
