"""The switches that users change at run time: kept in the state directory, written by publish alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from common.settings import Settings
from common.stats import read_json, write_json
from common.wire import CameraControl


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
        detect_fps = row.get("detect_fps")
        controls[name] = CameraControl(
            name,
            enabled=bool(row.get("enabled", camera.enabled)),
            detect_fps=float(detect_fps if isinstance(detect_fps, int | float) else camera.detect_fps),
            privacy=bool(row.get("privacy", camera.privacy)),
        )
    return controls


def save_controls(settings: Settings, controls: Mapping[str, CameraControl]) -> None:
    """Keep the switches over restarts.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_json(controls_path(settings), {name: dataclasses.asdict(row) for name, row in controls.items()})
