"""vedette.yml explains every key and tells the truth about its default."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from common.config import check
from common.settings import CameraSettings, ProcessSettings, Settings

REFERENCE = Path(__file__).parents[2] / "vedette.yml"
EXAMPLE = {"cameras", "cameras.door.source"}  # have no default


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        here = f"{path}.{field.name}".lstrip(".")
        below = getattr(value, field.name)
        if dataclasses.is_dataclass(below):
            yield from leaves(below, here)
        elif field.name == "cameras":
            yield from leaves(below["door"], "cameras.door")
        else:
            yield here, below


def at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        assert key in tree, f"{path} is not in {REFERENCE.name}"
        tree = tree[key]
    return tree


def defaults() -> Settings:
    return Settings(cameras={"door": CameraSettings(source="v4l2:/dev/video0")})


def test_every_key_stands_there_with_its_default() -> None:
    tree = yaml.safe_load(REFERENCE.read_text())
    for path, value in leaves(defaults()):
        if path not in EXAMPLE:
            assert at(tree, path) == value, path


def test_every_key_is_explained() -> None:
    lines = [line for line in REFERENCE.read_text().splitlines() if re.match(r"\s*[a-z0-9_]+:", line)]
    sections = {"cameras", "door", "processes"} | {field.name for field in dataclasses.fields(Settings)}
    bare = [line for line in lines if "# " not in line and line.split(":")[0].strip() not in sections]
    assert bare == []


def test_the_fields_of_a_process_are_explained() -> None:
    text = REFERENCE.read_text()
    comment = text[text.index("# --- Where processes run") :]
    assert all(field.name in comment for field in dataclasses.fields(ProcessSettings))


def test_the_reference_is_a_valid_file() -> None:
    assert list(check(yaml.safe_load(REFERENCE.read_text())).cameras) == ["door"]
