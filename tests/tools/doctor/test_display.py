"""What the doctor says of the display."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.settings import Settings
from tools.doctor.display import screen


def test_no_screen_is_asked_for_and_nothing_is_said(settings: Settings) -> None:
    assert list(screen(settings)) == []


def test_machine_without_a_card_is_told(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    finding = next(screen(make_settings(screen={"output": "kms"}), tmp_path))
    assert finding.result == "fail"
    assert "no graphics card" in finding.text


def test_what_is_no_card_is_told(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "card0").write_bytes(b"")
    finding = next(screen(make_settings(screen={"output": "kms"}), tmp_path))
    assert finding.result == "fail"
    assert "drives no display" in finding.text


def test_missing_library_of_the_window_is_told(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    finding = next(screen(make_settings(screen={"output": "window"})))
    assert (finding.result, finding.hint) == ("fail", 'pip install "vedette[window]"')
