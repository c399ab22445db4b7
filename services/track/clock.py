"""Time of one camera: frames of several rates, silence and replays turned into nominal frames and nanoseconds."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

from common.wire import FrameHandle

DEFAULT_FPS = 30.0  # until the camera or its frames have told
LEAST_FPS, MOST_FPS = 0.1, 1000.0  # beyond these an announced rate is a mistake
SAMPLES = 31
STEPS = 5  # results whose usual distance is taken: one pause does not change it, a new detect_fps does soon
LEAST_SILENCE_NS = 500_000_000
SECOND_NS = 1_000_000_000
USUAL_STEPS = 3  # so many usual distances between results are no silence yet


@dataclass(frozen=True, slots=True)
class Step:
    """How far a frame is from the one before.

    Attributes:
        at_ns: Time of the frame (monotonic; in a replay the media time on top of the first frame's).
        dt: Nominal frames since the time before, 0 or more.
        broken: There was a silence in between, longer than faces live.
    """

    at_ns: int
    dt: float
    broken: bool


class CameraClock:
    """The time of one camera.

    Attributes:
        at_ns: Time of the newest frame, or up to which silence was counted; 0 before the first frame.
    """

    def __init__(self, max_age: float, *, replay: bool) -> None:
        """Begin without a frame.

        Args:
            max_age: How long a face lives unseen, in nominal frames.
            replay: Go by the time stamps of the clip.
        """
        self._max_age, self._replay = max_age, replay
        self.at_ns = 0
        self._base_ns = 0  # what a replay's media time is counted from
        self._epoch = self._seq = 0
        self._announced_fps = 0.0
        self._periods_ns: deque[float] = deque(maxlen=SAMPLES)
        self._steps_ns: deque[int] = deque(maxlen=STEPS)
        self._heard_ns = self._heard_at_ns = 0

    @property
    def fps(self) -> float:
        """Nominal frames a second: as announced, else as measured."""
        if self._announced_fps:
            return self._announced_fps
        return SECOND_NS / statistics.median(self._periods_ns) if self._periods_ns else DEFAULT_FPS

    @property
    def period_ns(self) -> int:
        """One nominal frame."""
        return int(SECOND_NS / self.fps)

    def announce(self, fps: float) -> None:
        """Take the rate that the camera says it has; 0 means that it does not know."""
        self._announced_fps = fps if LEAST_FPS <= fps <= MOST_FPS else 0.0

    def is_last(self, epoch: int, seq: int) -> bool:
        """True for the frame that was followed last."""
        return epoch == self._epoch and seq == self._seq

    def knows(self, frame: FrameHandle) -> bool:
        """True for a frame that was followed already, or one before it."""
        return frame.epoch == self._epoch and frame.seq <= self._seq

    def advance(self, frame: FrameHandle, now_ns: int) -> Step:
        """Go on to a frame that came at `now_ns`."""
        first = not self.at_ns
        if first:
            self._base_ns = frame.captured_ns - frame.media_ns
            self.at_ns = frame.captured_ns
        time_ns = self._base_ns + frame.media_ns if self._replay else frame.captured_ns
        passed_ns = max(time_ns - self.at_ns, 0)
        broken = passed_ns > self._silence_ns(patient=True)
        self._measure(frame, passed_ns)
        self.at_ns += passed_ns
        self._epoch, self._seq = frame.epoch, frame.seq
        self._hear(now_ns)
        return Step(self.at_ns, 1.0 if first else passed_ns * self.fps / SECOND_NS, broken)

    def pass_silence(self, now_ns: int, *, patient: bool) -> Step | None:
        """Go on to the present when no frame has come for longer than faces live; None when it is too early.

        Args:
            now_ns: Time now.
            patient: Results still come, however slowly: wait for a few usual distances between them at least.
        """
        if now_ns - self._heard_ns <= self._silence_ns(patient=patient):
            return None
        passed_ns = max(self.now_ns(now_ns) - self.at_ns, 0)
        self.at_ns += passed_ns
        return Step(self.at_ns, passed_ns * self.fps / SECOND_NS, broken=True)

    def now_ns(self, now_ns: int) -> int:
        """The camera's time now: frames that are still on their way do not count as silence."""
        return max(self.at_ns, self._heard_at_ns + now_ns - self._heard_ns)

    def state(self) -> list[Any]:
        """What a restart needs."""
        return [self.at_ns, self._base_ns, self._epoch, self._seq, self.fps]

    def restore(self, state: list[Any], now_ns: int) -> None:
        """Go on from `state()`; the time in between counts when the next frame says so, or none comes."""
        self.at_ns, self._base_ns, self._epoch, self._seq = map(int, state[:4])
        self._periods_ns.append(SECOND_NS / float(state[4]))
        self._hear(now_ns)

    def _hear(self, now_ns: int) -> None:
        self._heard_ns, self._heard_at_ns = now_ns, self.at_ns

    def _measure(self, frame: FrameHandle, passed_ns: int) -> None:
        frames = frame.seq - self._seq
        if frame.epoch == self._epoch and frames > 0 and passed_ns > 0:
            self._periods_ns.append(min(max(passed_ns / frames, SECOND_NS / MOST_FPS), SECOND_NS / LEAST_FPS))
            self._steps_ns.append(passed_ns)

    def _silence_ns(self, *, patient: bool) -> float:
        """How long no frame may come before that ends every face."""
        age_ns = self._max_age * SECOND_NS / self.fps
        if not patient:
            return age_ns
        usual_ns = statistics.median(self._steps_ns) if self._steps_ns else 0
        return max(age_ns, USUAL_STEPS * usual_ns, LEAST_SILENCE_NS)
