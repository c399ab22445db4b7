"""The unit that `vedette service install` writes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.settings import Settings
from tools.systemd.unit import render_unit

ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 3.5  # of 10; an ordinary service without hardening has 9.6


@pytest.fixture
def unit(settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "vedette.service"
    path.write_text(render_unit(settings, tmp_path / "vedette.yml", "root"))
    return path


def analyze(*words: str) -> str:
    done = subprocess.run([ANALYZE, "--no-pager", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(unit: Path) -> None:
    assert "vedette.service:" not in analyze("verify", str(unit))


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
def test_the_unit_takes_away_what_a_node_does_not_need(unit: Path) -> None:
    exposure = re.search(
        r"exposure level for vedette.service: ([\d.]+)", analyze("security", "--offline=true", str(unit))
    )
    assert float(exposure[1]) <= MOST_EXPOSED


def test_nothing_is_left_to_fill_in(unit: Path) -> None:
    text = unit.read_text()
    assert not re.search(r"@[A-Z]+@", text)
    assert f"User=root\nWorkingDirectory={unit.parent}\n" in text


def test_a_path_that_a_unit_cannot_hold_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="no quotation mark"):
        render_unit(settings, Path('/etc/a"b/vedette.yml'), "root")
    with pytest.raises(ConfigError, match="no such user"):
        render_unit(settings, Path("/etc/vedette.yml"), "nobody-of-this-name")


def test_directories_that_only_root_can_make_are_made_by_systemd(make_settings: Callable[..., Settings]) -> None:
    node = make_settings(state_dir="/var/lib/vedette", runtime_dir="/run/vedette")
    text = render_unit(node, Path("/etc/vedette.yml"), "root")
    assert "RuntimeDirectory=vedette\nRuntimeDirectoryMode=0700\n" in text
    assert "StateDirectory=vedette\nStateDirectoryMode=0700\n" in text
