"""Reads the values of options that are more than a word or a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.errors import ConfigError


def parse_size(text: str) -> tuple[int, int]:
    """`640x384` as numbers."""
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise ConfigError(f"--size {text!r}: WIDTHxHEIGHT expected, like 320x256") from None
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise ConfigError(f"--size {text}: 16 to 8192 expected")
    return width, height


def parse_onnx_name(path: Path) -> Path:
    """The name of an .onnx file."""
    if path.suffix != ".onnx":
        raise ConfigError(f"--out {path}: a name that ends in .onnx expected")
    return path


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--arguments {text!r}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f'--arguments {text!r}: an object like {{"width": 64}} expected')
    return value


def parse_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """A value that is one of those allowed."""
    if value not in allowed:
        raise ConfigError(f"--{name} {value!r}: choose one of {', '.join(allowed)}")
    return value


def parse_choices(name: str, value: str, allowed: tuple[str, ...]) -> frozenset[str]:
    """Values with commas between them, each one of those allowed."""
    return frozenset(parse_choice(name, item, allowed) for item in value.split(","))
