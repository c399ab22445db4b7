"""The wheel: it holds exactly the three packages with their data, and runs from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked tree, so that nothing is left in the checkout."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in ("common", "services", "tools", "deploy", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(work),
        str(source),
    ]
    subprocess.run(command, check=True, cwd=work)
    return next(work.glob("vedette-*.whl"))


def test_wheel_holds_the_three_packages_and_their_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name and ".data/" not in name}
    assert tops == {"common", "services", "tools"}
    assert [name for name in names if name.endswith("share/vedette/vedette.service")]
    for member in ("services/infer/models.toml", "services/view/static/index.html"):
        assert member in names
    assert not [name for name in names if name.endswith((".onnx", ".mp4"))]


def test_installed_wheel_runs_from_the_root_directory(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
    code = "import sys; sys.argv = ['vedette', '--version']; from tools.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("vedette ")
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import common.fleet; print(common.fleet.__file__)"],
        cwd="/", env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(target))
