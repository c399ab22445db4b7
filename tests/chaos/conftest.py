"""What the tests of ill-treatment share: a small node that needs no model and no broker, and small file systems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import VedetteError
from common.settings import Settings
from tools.bench.private import demo_clip
from tools.models.pull import pull
from tools.supervisor.node import stop


@pytest.fixture(scope="session")
def fetched() -> None:
    """The model and the clip of the demo are in the cache."""
    try:
        pull("yunet")
        demo_clip()
    except VedetteError as error:
        pytest.skip(f"model or clip cannot be fetched: {error}")


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """A node that needs no model, broker or clip; infer waits for a model that is not there."""
    settings = make_settings(view={"enabled": False}, mqtt={"port": 1}, infer={"max_workers": 2})
    yield settings
    stop(settings)


@pytest.fixture
def tmpfs(node_dir: Path) -> Iterator[Callable[[str, int], Path]]:
    """Mounts a file system of so many bytes in a folder of the test's directory."""
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def mount(name: str, size: int) -> Path:
        path = node_dir / name
        path.mkdir(mode=0o700, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True)
