"""The switches that users change at run time: kept in the state directory, written by publish alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.settings import Settings
from common.stats import read_json, write_json
from common.wire import CameraControl

MAX_FPS = 1000.0  # as `detect_fps` in the settings


def controls_path(settings: Settings) -> Path:
    """File of the switches."""
    return Path(settings.state_dir) / "controls.json"


def load_controls(settings: Settings) -> dict[str, CameraControl]:
    """The switches of every configured camera: as they were set last, else as the settings say."""
    stored = read_json(controls_path(settings))
    controls = {}
    for name, camera in settings.cameras.items():
        row = stored.get(name)
        row = row if isinstance(row, dict) else {}
        controls[name] = CameraControl(
            name,
            enabled=_switch(row.get("enabled"), camera.enabled),
            detect_fps=_rate(row.get("detect_fps"), camera.detect_fps),
            privacy=_switch(row.get("privacy"), camera.privacy),
        )
    return controls


def save_controls(settings: Settings, controls: Mapping[str, CameraControl]) -> None:
    """Keep the switches over restarts.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_json(controls_path(settings), {name: dataclasses.asdict(row) for name, row in controls.items()})


def _switch(stored: Any, otherwise: bool) -> bool:
    return stored if isinstance(stored, bool) else otherwise


def _rate(stored: Any, otherwise: float) -> float:
    usable = isinstance(stored, int | float) and 0 <= stored <= MAX_FPS  # NaN compares false
    return float(stored if usable else otherwise)
