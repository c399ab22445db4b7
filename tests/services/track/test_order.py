"""The order of results, with a clock of the test's own."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.claims import NUMBERS
from common.wire import Claim, DetectionResult, FrameHandle
from services.track.order import Order

MS = 1_000_000
PERIOD = 33 * MS
START = 1_000 * MS


def result(
    number: int,
    *,
    owner: int = 0,
    previous: int = 1,
    work_ms: float = 25,
    step: int | None = None,
    camera: str = "door",
    claims_id: int = 1,
) -> DetectionResult:
    """Result of the frame at step x 33 ms, claimed at once."""
    step = number if step is None else step
    captured = START + step * PERIOD
    handle = FrameHandle(camera, 9, 0, 1, step + 1, captured, 0, captured)
    claim = Claim(claims_id, number % NUMBERS, owner, previous, (captured - PERIOD) // MS, captured)
    boxes = np.empty((0, 4), np.float32)
    finished = captured + int(work_ms * MS)
    return DetectionResult(handle, claim, 64, 48, finished, boxes, boxes[:, 0], np.empty((0, 10), np.float32))


def push(order: Order, one: DetectionResult, now_ns: int | None = None) -> list[int]:
    return numbers(order.push(one, one.finished_ns if now_ns is None else now_ns, PERIOD))


def numbers(results: list[DetectionResult]) -> list[int]:
    return [one.claim.number for one in results]


def taught() -> Order:
    """An order that knows the work time of a fast worker 0 and 1 and a slow worker 2; 3 comes next."""
    order = Order()
    assert push(order, result(0, owner=0, work_ms=25)) == [0]
    assert push(order, result(1, owner=1, work_ms=25)) == [1]
    assert push(order, result(2, owner=2, work_ms=250)) == [2]
    return order


def test_the_first_number_is_taken_for_the_expected_one() -> None:
    order = Order()
    assert push(order, result(500, owner=0)) == [500]
    assert push(order, result(501, owner=1)) == [501]
    assert order.deadline_ns() is None


def test_a_result_waits_for_an_earlier_one_that_can_still_come() -> None:
    order = taught()
    ahead = result(4, owner=1, previous=0, work_ms=20)
    assert push(order, ahead) == []
    assert order.deadline_ns() == ahead.finished_ns + PERIOD
    assert push(order, result(3, owner=0, previous=2), ahead.finished_ns + MS) == [3, 4]
    assert order.late == 0


def test_it_waits_one_frame_period_at_most_and_the_late_one_is_dropped() -> None:
    order = taught()
    ahead = result(4, owner=1, previous=0)
    assert push(order, ahead) == []
    assert order.due(ahead.finished_ns + PERIOD - 1) == []
    assert numbers(order.due(ahead.finished_ns + PERIOD)) == [4]
    assert push(order, result(3, owner=0), ahead.finished_ns + PERIOD + 1) == []
    assert order.late == 1


def test_it_does_not_wait_for_a_worker_that_is_too_slow() -> None:
    order = taught()
    assert push(order, result(4, owner=1, previous=2)) == [4]
    assert push(order, result(3, owner=2, work_ms=250)) == []
    assert order.late == 1


def test_it_waits_for_a_slow_worker_whose_result_is_due() -> None:
    order = taught()
    ahead = result(4, owner=1, previous=2)
    late_ns = ahead.finished_ns + 230 * MS  # the slow one began 33 ms before it and is about to be ready
    assert push(order, ahead, late_ns) == []
    assert push(order, result(3, owner=2, work_ms=250), late_ns + MS) == [3, 4]


def test_an_unknown_worker_is_given_the_whole_wait() -> None:
    order = taught()
    assert push(order, result(4, owner=1, previous=7)) == []


def test_it_does_not_wait_for_a_worker_that_has_gone_on() -> None:
    order = taught()
    assert push(order, result(4, owner=0, previous=0)) == [4]  # its own earlier result would have come before
    assert push(order, result(6, owner=1, previous=0)) == []
    other = result(0, owner=0, camera="yard", step=8)  # worker 0 has done a later frame of another camera
    assert {one.frame.camera for one in order.push(other, START, PERIOD)} == {"yard", "door"}
    assert order.deadline_ns() is None


def test_each_held_result_has_its_own_deadline() -> None:
    order = taught()
    first, second = result(4, owner=1, previous=0), result(6, owner=3, previous=7)
    first_ns = first.finished_ns
    second_ns = first_ns + 10 * MS
    assert push(order, first, first_ns) == []
    assert push(order, second, second_ns) == []
    assert numbers(order.due(first_ns + PERIOD)) == [4]
    assert order.deadline_ns() == second_ns + PERIOD
    assert numbers(order.due(second_ns + PERIOD)) == [6]


def test_a_hopeless_gap_does_not_cut_the_wait_of_an_earlier_result_short() -> None:
    order = taught()
    assert push(order, result(4, owner=1, previous=0)) == []  # 3 can still come
    assert push(order, result(6, owner=3, previous=2), START + 4 * PERIOD + 26 * MS) == []  # 5 cannot
    assert push(order, result(3, owner=0), START + 4 * PERIOD + 27 * MS) == [3, 4, 6]


def test_numbers_wrap_at_20_bits() -> None:
    order = Order()
    assert push(order, result(NUMBERS - 2, owner=0, step=1)) == [NUMBERS - 2]
    assert push(order, result(NUMBERS, owner=1, previous=0, step=3)) == []
    assert push(order, result(NUMBERS - 1, owner=0, step=2)) == [NUMBERS - 1, 0]
    assert push(order, result(NUMBERS + 1, owner=0, step=4)) == [1]
    assert push(order, result(NUMBERS - 1, owner=0, step=2)) == []
    assert order.late == 1


def test_another_claims_file_starts_the_numbers_anew() -> None:
    order = taught()
    assert push(order, result(9, owner=1, previous=0)) == []
    assert push(order, result(1, owner=0, claims_id=2, step=20)) == [9, 1]
    assert push(order, result(2, owner=1, claims_id=2, step=21)) == [2]
    assert push(order, result(10, owner=0, claims_id=1, step=10)) == []  # still on its way from the old one
    assert push(order, result(3, owner=0, claims_id=2, step=22)) == [3]
    assert order.late == 1


def test_half_a_round_of_numbers_without_a_result_is_no_lateness() -> None:
    order = taught()
    assert push(order, result(NUMBERS // 2 + 500, owner=0, step=100)) == [NUMBERS // 2 + 500]
    assert order.late == 0


def test_a_number_twice_is_dropped() -> None:
    order = taught()
    assert push(order, result(4, owner=1, previous=0)) == []
    assert push(order, result(4, owner=1, previous=0)) == []
    assert push(order, result(3, owner=0)) == [3, 4]
    assert push(order, result(4, owner=1, previous=0)) == []
    assert order.late == 2


def test_cameras_do_not_wait_for_each_other() -> None:
    order = taught()
    assert push(order, result(4, owner=1, previous=0)) == []
    assert push(order, result(70, owner=3, camera="yard", step=4)) == [70]
    assert push(order, result(72, owner=4, camera="yard", step=6, previous=5), START + 5 * PERIOD) == []
    assert [(one.frame.camera, one.claim.number) for one in order.due(2**62)] == [("door", 4), ("yard", 72)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 2**20 - 1),
)
def test_whatever_comes_it_goes_out_in_order_once_and_in_time(frames: list[tuple[int, int, bool]], first: int) -> None:
    """Frames are claimed one after another; each worker takes its time, and some results never come."""
    arrivals = []
    previous = -1
    for step, (owner, work_ms, arrives) in enumerate(frames):
        one = result(first + step, owner=owner, previous=previous, work_ms=work_ms, step=step)
        previous = owner
        if arrives:
            arrivals.append(one)
    arrivals.sort(key=lambda one: one.finished_ns)
    order, out, came_ns = Order(), [], {}
    for one in arrivals:
        now = one.finished_ns
        while (deadline := order.deadline_ns()) is not None and deadline <= now:
            for done in order.due(deadline):
                assert deadline - came_ns[done.frame.seq] <= PERIOD
                out.append(done)
        came_ns[one.frame.seq] = now
        out += order.push(one, now, PERIOD)
    while (deadline := order.deadline_ns()) is not None:
        out += order.due(deadline)
    seqs = [one.frame.seq for one in out]
    assert seqs == sorted(set(seqs))
    assert len(out) + order.late == len(arrivals)


@pytest.mark.parametrize("seed", range(3))
def test_with_alike_workers_nothing_is_late(seed: int) -> None:
    """Work of 40 ms x 0.5 to 1.75 on two workers: the wait of one period is enough."""
    chance = random.Random(seed)
    free_ns, arrivals, previous = [START, START], [], -1
    for step in range(300):
        captured = START + step * PERIOD
        owner = free_ns.index(min(free_ns))
        begun = max(captured, free_ns[owner])
        if begun > captured + PERIOD:
            continue
        one = result(len(arrivals), owner=owner, previous=previous, step=step)
        free_ns[owner] = begun + int(40 * MS * chance.uniform(0.5, 1.75))
        before = arrivals[-1].frame.captured_ns // MS if arrivals else 0
        claim = one.claim._replace(claimed_ns=begun, previous_captured_ms=before)
        arrivals.append(one._replace(claim=claim, finished_ns=free_ns[owner]))
        previous = owner
    order, out = Order(), 0
    for one in sorted(arrivals, key=lambda one: one.finished_ns):
        while (deadline := order.deadline_ns()) is not None and deadline <= one.finished_ns:
            out += len(order.due(deadline))
        out += len(order.push(one, one.finished_ns, PERIOD))
    out += len(order.due(2**62))
    assert (order.late, out) == (0, len(arrivals))
