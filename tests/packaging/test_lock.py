"""requirements.lock and constraints.txt tell the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {canonical(name): version for name, version in PIN.findall((ROOT / file).read_text())}


def test_versions_agree() -> None:
    lock, constraints = pins("requirements.lock"), pins("constraints.txt")
    assert {name: version for name, version in lock.items() if constraints.get(name, version) != version} == {}


def test_every_dependency_is_locked_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonical(re.split(r"[<>=\[ ;]", row)[0]) for row in project["dependencies"]}
    assert wanted <= set(pins("requirements.lock"))
    text = (ROOT / "requirements.lock").read_text()
    packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(packages) == len(pins("requirements.lock"))
    assert all("--hash=sha256:" in package for package in packages)
