"""What is held against a silent process: its own waiting and computing, never the want of a core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.heartbeat import Beat, beat_path, read_beat
from common.silence import ACCOUNTED_S, Sample, Silence, samples_of, starved_ns, waits_for_a_thread

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys, time
from pathlib import Path
from common.heartbeat import Heartbeat
Heartbeat(Path(sys.argv[1]), "track").beat(4.0)
{work}
"""
SPIN = "while True: pass"

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    children: list[subprocess.Popen[bytes]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


def watched(node_dir: Path, own_s: float, silent_s: float, *, starting: bool = False) -> tuple[float, float]:
    """Look until one of the two is reached; its own silence and the whole of it."""
    silence, end = Silence(), time.monotonic() + 60
    while time.monotonic() < end:
        beat = read_beat(beat_path(node_dir, "track"))
        own = silence.look(beat, starting=starting) if beat is not None else 0.0
        if beat is not None and (own > own_s or beat.silent_s > silent_s):
            return own, beat.silent_s
        time.sleep(0.1)  # the pace of looking
    pytest.fail("deadline passed")


@pytest.mark.parametrize("work", ["time.sleep(60)", SPIN], ids=["waits", "computes"])
def test_a_process_that_does_not_come_round_is_silent(begin: Begin, node_dir: Path, work: str) -> None:
    begin(SCRIPT.format(work=work), str(node_dir))
    own, _ = watched(node_dir, 3.0, 60.0)
    assert own > 3.0


def test_a_process_that_gets_no_core_is_not(begin: Begin, node_dir: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    pinned = f"os.sched_setaffinity(0, {core}); os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); {SPIN}"
    begin(f"import os; os.sched_setaffinity(0, {core})\n{SPIN}")  # has 300 times the weight
    begin(SCRIPT.format(work=pinned.replace("; while", "\nwhile")), str(node_dir))
    own, silent = watched(node_dir, 3.0, 6.0)
    assert silent > 6.0
    assert own < 3.0


def test_a_process_that_shares_its_core_and_computes_on_is_silent(begin: Begin, node_dir: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    begin(f"import os; os.sched_setaffinity(0, {core})\n{SPIN}")
    begin(SCRIPT.format(work=f"os.sched_setaffinity(0, {core})\n{SPIN}"), str(node_dir))
    own, silent = watched(node_dir, 3.0, 60.0)
    assert own == pytest.approx(silent, abs=0.2)


def test_a_start_that_computes_is_given_the_time_that_others_took_its_core(begin: Begin, node_dir: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    begin(f"import os; os.sched_setaffinity(0, {core})\n{SPIN}")
    begin(SCRIPT.format(work=f"os.sched_setaffinity(0, {core})\n{SPIN}"), str(node_dir))
    own, silent = watched(node_dir, 60.0, 6.0, starting=True)
    assert 1.0 < own < silent - 1.0


def test_a_new_sign_of_life_ends_the_silence() -> None:
    silence, now_ns = Silence(), time.monotonic_ns()
    assert silence.look(Beat(os.getpid(), now_ns - 5_000_000_000, 4.0)) == pytest.approx(5.0, abs=0.5)
    assert silence.look(Beat(os.getpid(), time.monotonic_ns(), 4.0)) < ACCOUNTED_S


@pytest.mark.parametrize(
    ("after", "starved_s"),
    [
        (Sample(2_000_000_000, 0, 0, runnable=True), 2.0),  # ready all the time, and not once on a core
        (Sample(2_000_000_000, 500_000_000, 0, runnable=True), 1.5),
        (Sample(2_000_000_000, 2_000_000_000, 0, runnable=True), 0.0),  # computed
        (Sample(2_000_000_000, 0, 0, runnable=False), 0.0),  # waited for something
        (Sample(2_000_000_000, 0, 700_000_000, runnable=False), 0.7),
        (Sample(2_000_000_000, 0, 9_000_000_000, runnable=False), 2.0),  # counted late
    ],
)
def test_time_without_a_core(after: Sample, starved_s: float) -> None:
    assert starved_ns(Sample(0, 0, 0, runnable=False), after) == pytest.approx(starved_s * 1e9)


@pytest.mark.parametrize(
    ("after", "waits"),
    [
        (Sample(1_000_000_000, 0, 0, runnable=False, slices=0), False),  # inside a call that does not return
        (Sample(1_000_000_000, 0, 0, runnable=False, slices=10), False),
        (Sample(1_000_000_000, 0, 0, runnable=False, slices=190), True),
        (Sample(1_000_000_000, 0, 0, runnable=False, blocked=True), True),
    ],
)
def test_who_waits_for_a_thread(after: Sample, waits: bool) -> None:
    assert waits_for_a_thread(Sample(0, 0, 0, runnable=False), after) == waits


HELD = """import ctypes, threading  # neither call lets the interpreter's lock go
def hold():
    os.sched_setaffinity(0, {core}); os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    {call}
threading.Thread(target=hold, daemon=True).start()
while True: time.sleep(0.001)
"""


def test_a_lock_that_is_held_by_a_thread_without_a_core_is_no_fault(begin: Begin, node_dir: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    begin(f"import os; os.sched_setaffinity(0, {core})\n{SPIN}")
    begin(SCRIPT.format(work=HELD.format(core=core, call="sum(iter(int, 1))")), str(node_dir))
    own, silent = watched(node_dir, 3.0, 6.0)
    assert silent > 6.0
    assert own < 3.0


def test_a_thread_that_sleeps_with_the_lock_is_one(begin: Begin, node_dir: Path) -> None:
    begin(
        SCRIPT.format(work=HELD.format(core=os.sched_getaffinity(0), call="ctypes.PyDLL(None).sleep(60)")),
        str(node_dir),
    )
    own, _ = watched(node_dir, 4.0, 60.0)
    assert own > 4.0


def test_the_kernel_tells_of_this_process_and_of_none_that_is_gone() -> None:
    before = samples_of(os.getpid())[os.getpid()]
    while samples_of(os.getpid())[os.getpid()].ran_ns == before.ran_ns:
        pass
    assert samples_of(2**22 + 1) == {}
