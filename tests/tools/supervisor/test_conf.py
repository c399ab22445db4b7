"""The rendering of supervisord.conf, and the committed file."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.config import load
from common.errors import ConfigError, DeviceError
from common.fleet import FLEET, members
from common.settings import Settings
from common.supervisor import Supervisor
from tools.supervisor.conf import Plan, committed_plan, plan_for, render

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(delimiters=("=",))
    parser.read_string(text)
    return parser


def plan(settings: Settings) -> Plan:
    return plan_for(settings, Path("/somewhere"), {"VEDETTE_SETTINGS": "/x/settings.json"})


def test_committed_file_is_the_rendering_of_the_default_settings() -> None:
    expected = render(committed_plan(load(ROOT / "vedette.yml")))
    assert (ROOT / "supervisord.conf").read_text() == expected, "run: vedette conf --committed > supervisord.conf"


def test_every_process_of_the_fleet_has_a_program_of_its_own(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(cameras={"door": {"source": "pattern:64x48@30"}}, infer={"workers": 2})
    sections = parsed(render(plan(settings))).sections()
    for member in members(["door"], 2):
        kind = "eventlistener" if member.process.family == "watchdog" else "program"
        assert f"{kind}:{member.program}" in sections


def test_services_are_restarted_unless_their_settings_are_wrong(settings: Settings) -> None:
    conf = parsed(render(plan(settings)))
    for name in conf.sections():
        if name.startswith(("program:", "eventlistener:")):
            assert (conf[name]["autorestart"], conf[name]["exitcodes"]) == ("unexpected", "2")
            assert conf[name]["stdout_logfile"] == "NONE", "heartbeats are no log"
            assert conf[name]["startsecs"] == ("1" if name == "eventlistener:watchdog" else "0"), "no wait after a kill"


def test_only_the_owner_may_talk_to_supervisord(settings: Settings) -> None:
    assert parsed(render(plan(settings)))["unix_http_server"]["chmod"] == "0700"


def test_one_more_worker_adds_one_section_and_changes_none(make_settings: Callable[..., Settings]) -> None:
    one = render(plan(make_settings(infer={"workers": 1})))
    two = render(plan(make_settings(infer={"workers": 2})))
    before, after = parsed(one), parsed(two)
    assert set(after.sections()) - set(before.sections()) == {"program:infer-1"}
    assert all(dict(before[name]) == dict(after[name]) for name in before.sections())


def test_a_replay_tells_nobody_and_shows_nothing(make_settings: Callable[..., Settings]) -> None:
    sections = parsed(render(plan(make_settings(replay=True)))).sections()
    assert not {"program:publish", "program:view"} & set(sections)
    assert "program:track" in sections


def test_a_page_that_is_switched_off_has_no_process(make_settings: Callable[..., Settings]) -> None:
    assert "program:view" not in render(plan(make_settings(view={"enabled": False})))
    assert {"program:view"} <= set(parsed(render(plan(make_settings()))).sections())
    assert "view" in FLEET


def test_percent_signs_in_paths_are_doubled(make_settings: Callable[..., Settings], node_dir: Path) -> None:
    text = render(plan(make_settings(state_dir=str(node_dir / "100%s"))))
    assert "100%%s/logs" in text
    assert "%(ENV_PATH)s" in text


def test_a_path_that_the_format_cannot_hold_is_refused(make_settings: Callable[..., Settings], node_dir: Path) -> None:
    with pytest.raises(ConfigError, match="quotation mark"):
        render(plan(make_settings(state_dir=str(node_dir / 'a"b'))))


def test_plain_supervisord_starts_the_committed_file(node_dir: Path) -> None:
    assert (ROOT / "deploy" / "run" / ".gitignore").is_file(), (
        "the folder for socket and logs is part of the repository"
    )
    for name in ("supervisord.conf", "vedette.yml"):
        shutil.copy(ROOT / name, node_dir)
    (node_dir / "deploy" / "run").mkdir(parents=True)
    for link, to in (("services", ROOT / "services"), ("common", ROOT / "common"), (".venv", Path(sys.prefix))):
        (node_dir / link).symlink_to(to)
    settings = load(node_dir / "vedette.yml", {"runtime_dir": str(node_dir / "deploy" / "run")})
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(node_dir), "VEDETTE__VIEW__ENABLED": "false"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(node_dir / "supervisord.conf")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert "track" in wait_running(Supervisor(settings.runtime_dir), "track")
        Supervisor(settings.runtime_dir).shutdown()
        assert child.wait(DEADLINE_S) == 0
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def wait_running(supervisor: Supervisor, program: str) -> set[str]:
    """Programs that run once `program` does."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            found = {row.program for row in supervisor.programs() if row.state == "RUNNING"}
        except DeviceError:
            found = set()
        if program in found:
            return found
        time.sleep(0.1)  # the pace of looking
    return set()
