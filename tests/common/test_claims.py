"""The claims file."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from common.claims import NUMBERS, Claims, claim_distance
from common.settings import Settings
from common.shm import SHM, segment_name

MS = 1_000_000


def test_a_frame_is_claimed_once_and_never_an_older_one(settings: Settings) -> None:
    with Claims(settings) as one, Claims(settings) as two:
        claim = one.take("door", 100 * MS, 0)
        assert claim is not None
        assert (claim.owner, claim.previous_owner, claim.previous_captured_ms) == (0, -1, 0)
        assert two.take("door", 100 * MS, 1) is None
        assert two.take("door", 90 * MS, 1) is None
        later = two.take("door", 133 * MS, 1)
        assert later is not None
        assert (later.number - claim.number, later.previous_owner, later.previous_captured_ms) == (1, 0, 100)
        assert later.claims_id == claim.claims_id


def test_cameras_do_not_meet(settings: Settings) -> None:
    with Claims(settings) as claims:
        assert claims.take("door", 100 * MS, 0)
        assert claims.take("yard", 100 * MS, 0)
        assert claims.served_ns("door") < claims.served_ns("yard")
        assert claims.newest_ns("door") == 100 * MS


def test_detect_fps_keeps_claims_apart(settings: Settings) -> None:
    with Claims(settings) as claims:
        assert claims.take("door", 1000 * MS, 0, 90 * MS)
        assert claims.take("door", 1080 * MS, 0, 90 * MS) is None
        assert claims.take("door", 1090 * MS, 0, 90 * MS)


def test_numbers_go_on_in_a_new_worker_and_begin_again_for_other_cameras(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    with Claims(settings) as claims:
        first = claims.take("door", 100 * MS, 0)
    with Claims(settings) as claims:
        second = claims.take("door", 200 * MS, 1)
        assert first is not None
        assert second is not None
        assert second.number == first.number + 1
    with Claims(make_settings(cameras={"porch": {"source": "x:"}})) as claims:
        assert claims.claims_id != first.claims_id


def test_a_file_from_before_a_reboot_is_replaced(settings: Settings) -> None:
    with Claims(settings) as claims:
        assert claims.take("door", 10**6 * MS, 0)
        before = claims.claims_id
    path = SHM / segment_name(settings.runtime_dir, "claims")
    data = bytearray(path.read_bytes())
    data[16] ^= 255  # the boot's part of the header
    path.write_bytes(data)
    with Claims(settings) as claims:
        assert claims.claims_id != before
        assert claims.take("door", 5 * MS, 0) is not None


@given(st.integers(0, NUMBERS - 1), st.integers(-1000, 1000))
def test_distance_survives_the_wrap(number: int, step: int) -> None:
    assert claim_distance((number + step) % NUMBERS, number) == step


CLAIMER = """
import sys, time
from common.claims import Claims
from common.config import check
settings = check({"cameras": {"door": {"source": "x:"}}, "runtime_dir": sys.argv[1]})
claims = Claims(settings)
worker, end = int(sys.argv[2]), time.monotonic() + 1.5
print("ready", flush=True)
sys.stdin.readline()
while time.monotonic() < end:
    now = time.monotonic_ns()
    claim = claims.take("door", now, worker)
    if claim:
        print(now // 10**6, claim.number)
"""


def test_no_frame_and_no_number_is_taken_twice_by_four_processes(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, settings.runtime_dir, str(worker)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for worker in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    outputs = [child.communicate()[0] for child in children]
    rows = [tuple(map(int, line.split())) for output in outputs for line in output.splitlines()]
    frames, numbers = Counter(frame for frame, _ in rows), sorted(number for _, number in rows)
    assert len(rows) > 100
    assert max(frames.values()) == 1
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
