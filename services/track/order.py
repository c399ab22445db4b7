"""Puts the results of several workers in order, camera by camera, by claim number.

A result that has come before an earlier one waits for it only if that can still come in time, and at most one frame
period. Whatever comes after a later one was let go is late: it is counted and dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.claims import NUMBERS, claim_distance
from common.wire import DetectionResult

SMOOTHING = 1 / 8  # weight of the newest work time
MS = 1_000_000


@dataclass(slots=True)
class _Held:
    result: DetectionResult
    deadline_ns: int


@dataclass(slots=True)
class _Line:
    """The results of one camera.

    Attributes:
        claims_id: Which claims file the numbers belong to.
        expected: Claim number that is to be let go next.
        last: Newest result that was let go.
        held: What waits, by claim number.
    """

    claims_id: int
    expected: int
    last: DetectionResult | None = None
    held: dict[int, _Held] = field(default_factory=dict)


class Order:
    """Takes results as they come and lets them go in the order of their claims.

    Attributes:
        late: Results dropped so far because a later one was let go before.
    """

    def __init__(self) -> None:
        self.late = 0
        self._lines: dict[str, _Line] = {}
        self._work_ns: dict[int, float] = {}
        self._claimed_ns: dict[int, int] = {}

    def push(self, result: DetectionResult, now_ns: int, period_ns: int) -> list[DetectionResult]:
        """Take a result.

        Args:
            result: As it came from a worker.
            now_ns: Time now.
            period_ns: One frame period of its camera: the longest that it waits for an earlier one.

        Returns:
            Results to be followed now, in order, of any camera: that a worker has gone on may end the wait of another.
        """
        self._learn(result)
        claim, frame = result.claim, result.frame
        line = self._lines.get(frame.camera)
        if line is not None and (claim.number in line.held or _is_late(line, result)):
            self.late += 1
            return self.due(now_ns)
        ready: list[DetectionResult] = []
        if line is None or line.claims_id != claim.claims_id or claim_distance(claim.number, line.expected) < 0:
            ready = _pop(line, NUMBERS) if line else []  # of another file, or after so long that the numbers wrapped
            line = self._lines[frame.camera] = _Line(claim.claims_id, claim.number, line.last if line else None)
        if claim.number == line.expected and not line.held:  # as nearly always: nothing to put in order
            line.last, line.expected = result, (claim.number + 1) % NUMBERS
            return [*ready, result, *self.due(now_ns)]
        line.held[claim.number] = _Held(result, now_ns + period_ns)
        return ready + self.due(now_ns)

    def due(self, now_ns: int) -> list[DetectionResult]:
        """Results that need not or must not wait any longer, in order."""
        return [result for line in self._lines.values() if line.held for result in self._release(line, now_ns)]

    def deadline_ns(self) -> int | None:
        """When `due` will have something next; None when nothing waits."""
        return min((held.deadline_ns for line in self._lines.values() for held in line.held.values()), default=None)

    def _learn(self, result: DetectionResult) -> None:
        """Keep the running work time of the worker, and which claim it has got to."""
        claim = result.claim
        work = float(max(result.finished_ns - claim.claimed_ns, 0))
        known = self._work_ns.get(claim.owner, work)
        self._work_ns[claim.owner] = known + SMOOTHING * (work - known)
        self._claimed_ns[claim.owner] = max(claim.claimed_ns, self._claimed_ns.get(claim.owner, 0))

    def _release(self, line: _Line, now_ns: int) -> list[DetectionResult]:
        upto, before, blocked = -1, -1, False
        for distance, held in _by_distance(line):
            if held.deadline_ns <= now_ns:
                upto, blocked = distance, False
            elif not blocked and (distance == before + 1 or not self._can_come(held)):
                upto = distance
            else:
                blocked = True
            before = distance
        return _pop(line, upto)

    def _can_come(self, held: _Held) -> bool:
        """True when the result of the claim before can still arrive in time."""
        claim = held.result.claim
        owner = claim.previous_owner
        if owner < 0 or self._claimed_ns.get(owner, -1) >= claim.claimed_ns:
            return False  # a worker's results come in order, and it has sent one that it claimed later
        return claim.previous_captured_ms * MS + self._work_ns.get(owner, 0.0) <= held.deadline_ns


def _is_late(line: _Line, result: DetectionResult) -> bool:
    """True when a frame as new as this one was let go before; claims are made in the order of captured time."""
    last, frame = line.last, result.frame
    if last is None:
        return False
    behind = frame.epoch == last.frame.epoch and frame.seq < last.frame.seq  # the same one is an offer to answer again
    return behind or frame.captured_ns <= last.frame.captured_ns


def _by_distance(line: _Line) -> list[tuple[int, _Held]]:
    """What waits, in order, with its distance from the expected number."""
    rows = ((claim_distance(number, line.expected), held) for number, held in line.held.items())
    return sorted(rows, key=lambda row: row[0])


def _pop(line: _Line, upto: int) -> list[DetectionResult]:
    """Let go of everything up to this distance from the expected number."""
    ready = [held.result for distance, held in _by_distance(line) if distance <= upto]
    for result in ready:
        del line.held[result.claim.number]
    if ready:
        line.last = ready[-1]
        line.expected = (line.last.claim.number + 1) % NUMBERS
    return ready
