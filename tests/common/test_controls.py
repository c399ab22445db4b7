"""Switches over restarts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from common.controls import controls_path, load_controls, save_controls
from common.settings import Settings


def test_settings_are_the_start_and_what_was_set_wins(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(cameras={"door": {"source": "x:", "privacy": True}, "yard": {"source": "x:"}})
    controls = load_controls(settings)
    assert [row.privacy for row in controls.values()] == [True, False]
    controls["yard"] = dataclasses.replace(controls["yard"], enabled=False, detect_fps=5.0)
    save_controls(settings, controls)
    assert load_controls(settings) == controls


def test_a_damaged_file_falls_back_to_the_settings(settings: Settings) -> None:
    rates = ('"x"', "1e999", "-1e999", "NaN", "-1", "9" * 400)
    odd = [f'{{"door": 5, "yard": {{"detect_fps": {rate}, "enabled": "no"}}}}' for rate in rates]
    for text in ("", "{", '{"door":' * 2000, *odd):
        controls_path(settings).parent.mkdir(exist_ok=True)
        controls_path(settings).write_text(text)
        assert all(row.enabled and row.detect_fps == 0 for row in load_controls(settings).values())
