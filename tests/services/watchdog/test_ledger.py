"""What the watchdog keeps of each process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from common.service import EXIT_CONFIG, EXIT_FAILED, EXIT_STOPPED, record_exit
from common.supervisor import read_watchdog
from services.watchdog.ledger import FIRST_S, KILLED, LONGEST_S, Ledger


def test_restarts_are_counted_and_the_first_start_is_none(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.started("track", "STOPPED")
    ledger.started("track", "EXITED")
    ledger.started("track", "STOPPED")
    assert read_watchdog(node_dir)["track"]["restarts"] == 2


def test_the_note_of_the_process_is_its_reason(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.started("track", "STOPPED")
    record_exit(node_dir, "track", EXIT_FAILED, "RuntimeError: broken")
    assert ledger.ended("track", "unknown") == "RuntimeError: broken"
    assert read_watchdog(node_dir)["track"]["reason"] == "RuntimeError: broken"


def test_of_two_ends_that_are_heard_of_together_each_has_its_own_reason(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.started("track", "STOPPED")
    record_exit(node_dir, "track", EXIT_CONFIG, "no such mode")  # by the second process, this one
    assert ledger.ended("track", KILLED, os.getpid() + 1) == KILLED
    ledger.started("track", "EXITED")
    assert ledger.ended("track", KILLED, os.getpid()) == "wrong settings: no such mode"
    assert ledger.gave_up("track") is None


def test_a_note_counts_once_and_also_when_start_and_end_are_heard_of_late(node_dir: Path) -> None:
    record_exit(node_dir, "track", EXIT_FAILED, "at once")
    ledger = Ledger(node_dir)
    ledger.started("track", "STOPPED")
    assert ledger.ended("track", KILLED) == "at once"
    ledger.started("track", "EXITED")
    assert ledger.ended("track", KILLED) == KILLED


def test_the_note_of_a_wished_end_is_no_reason_for_a_later_one(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    record_exit(node_dir, "track", 0, "stopped")
    ledger.stopped("track")
    assert ledger.ended("track", KILLED) == KILLED


def test_what_we_did_ourselves_is_the_reason_once(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.blame("track", "no heartbeat for 5.0 s, killed")
    assert ledger.ended("track", "x") == "no heartbeat for 5.0 s, killed"
    assert ledger.ended("track", "x") == "x"


def test_back_off_of_revivals_grows_to_its_cap(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    delays = [ledger.gave_up("track") for _ in range(20)]
    assert delays[:4] == [FIRST_S, FIRST_S * 2, FIRST_S * 4, FIRST_S * 8]
    assert delays[-1] == LONGEST_S


def test_a_postponed_revival_is_due_again_soon_and_held_meanwhile(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.postpone("track")
    assert ledger.held("track")
    assert ledger.take_due() == []
    assert 0 < ledger.due["track"] - time.monotonic() < 1
    assert ledger.gave_up("track") == 5.0


def test_an_end_that_is_heard_of_late_leaves_word_of_the_next_try(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.gave_up("track")
    assert ledger.ended("track", "ended without a word").endswith(
        "ended without a word; fails again and again, next try after 5 s"
    )


def test_wrong_settings_are_not_revived(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.started("track", "STOPPED")
    record_exit(node_dir, "track", EXIT_CONFIG, "infer.model='x'")
    assert ledger.ended("track", "") == "wrong settings: infer.model='x'"
    assert ledger.gave_up("track") is None
    assert ledger.due == {}


def test_counts_outlive_the_watchdog_but_not_the_supervisor(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.started("track", "EXITED")
    again = Ledger(node_dir)
    again.started("track", "EXITED")
    notes = read_watchdog(node_dir)
    assert (notes["track"]["restarts"], notes["watchdog"]["restarts"]) == (2, 1)
    text = (node_dir / "watchdog.json").read_text()
    (node_dir / "watchdog.json").write_text(text.replace('"supervisor_pid": ', '"supervisor_pid": 9'))
    Ledger(node_dir)
    assert read_watchdog(node_dir) == {}


def test_four_crashes_soon_after_a_start_are_a_loop_and_then_each_is(node_dir: Path) -> None:
    ledger = Ledger(node_dir)

    def crash() -> bool:
        ledger.started("track", "EXITED")
        record_exit(node_dir, "track", EXIT_FAILED, "broken")
        ledger.ended("track", "")
        return ledger.loops("track")

    assert [crash() for _ in range(6)] == [False, False, False, True, True, True]
    ledger.gave_up("track")
    assert read_watchdog(node_dir)["track"]["reason"] == "broken; fails again and again, next try after 5 s"


@pytest.mark.parametrize("wished", [False, True])
def test_kills_and_wished_ends_take_longer_to_count_as_a_loop(node_dir: Path, wished: bool) -> None:
    ledger = Ledger(node_dir)
    for kills in range(1, 11):
        ledger.started("track", "EXITED")
        if wished:
            record_exit(node_dir, "track", EXIT_STOPPED, "stopped")
        ledger.ended("track", KILLED)
        assert ledger.loops("track") == (kills == 10)


def test_a_held_process_is_known_to_the_next_watchdog(node_dir: Path) -> None:
    ledger = Ledger(node_dir)
    ledger.gave_up("track")
    assert Ledger(node_dir).held("track")
    ledger.started("track", "EXITED")  # supervisord was faster than we
    assert Ledger(node_dir).held("track")
    ledger.running("track")
    assert not Ledger(node_dir).held("track")
