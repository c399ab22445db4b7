"""A driver call that never returns, with and without the interpreter's lock: one worker of two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.supervisor import Supervisor, read_watchdog
from tools.bench.patient import Patient, patient
from tools.bench.waiting import until
from tools.supervisor.node import node

pytestmark = pytest.mark.usefixtures("fetched")


@pytest.fixture
def hanging(node_dir: Path, request: pytest.FixtureRequest) -> Iterator[Patient]:
    wishes = {"file": str(node_dir / "hang"), "worker": "1", "how": request.param}
    infer = {"width": 320, "workers": 2, "backend": "tools.bench.hanger:Hanger", "provider_options": {"hang": wishes}}
    with patient(infer=infer) as one:
        yield one


@pytest.mark.parametrize("hanging", ["free", pytest.param("lock", marks=pytest.mark.slow)], indirect=True)
def test_a_worker_that_hangs_is_replaced_while_the_other_serves(hanging: Patient, node_dir: Path) -> None:
    before = hanging.pids()
    trigger = node_dir / "hang"
    trigger.touch()
    until(lambda: not trigger.exists(), what="the worker hangs")
    count = len(hanging.findings.frames)
    until(lambda: len(hanging.findings.frames) > count + 10, what="the other worker serves")
    assert hanging.pids()["infer:1"] == before["infer:1"], "it should not have been noticed yet"
    until(lambda: hanging.pids().get("infer:1", before["infer:1"]) != before["infer:1"], what="a new worker")
    after = hanging.pids()
    assert {**after, "infer:1": 0} == {**before, "infer:1": 0}
    assert "its loop hung" in until(
        lambda: read_watchdog(hanging.settings.runtime_dir).get("infer:1", {}).get("reason")
    )
    log = Path(hanging.settings.state_dir) / "logs" / "infer-1.log"
    until(lambda: "hanger.py" in log.read_text(), what="its stack in its log")

    def told() -> Any:
        stats = json.loads(hanging.outage.witness.newest.get("vedette/vedette/stats", b"{}"))
        return "its loop hung" in stats.get("processes", {}).get("infer:1", {}).get("last_end", "")

    hanging.outage.witness.wait(told, 30)
    assert told(), "said on MQTT"


@pytest.mark.slow
def test_a_crash_loop_backs_off_keeps_trying_and_says_why(make_settings: Callable[..., Any], node_dir: Path) -> None:
    settings = make_settings(
        view={"enabled": False}, mqtt={"port": 1}, infer={"backend": "tools.bench.crasher:Crasher", "max_workers": 1}
    )
    with node(settings, node_dir):
        supervisor = Supervisor(settings.runtime_dir)

        def note() -> dict[str, Any]:
            return read_watchdog(settings.runtime_dir).get("infer:0", {})

        until(lambda: note().get("held"), what="held back")
        until(lambda: supervisor.program("infer-0").state == "STOPPED", what="down")
        assert "crashed on purpose" in note()["reason"]
        assert "next try after 5 s" in note()["reason"]
        until(lambda: "next try after 10 s" in note()["reason"], what="tried again, later")
        others = {name: row for name, row in read_watchdog(settings.runtime_dir).items() if name != "infer:0"}
        assert not any(row["restarts"] for row in others.values())
