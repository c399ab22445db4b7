from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, DeviceError
from tools.cli.main import app
from tools.models.pull import pull


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    try:
        pull("yunet")
    except DeviceError as error:
        pytest.skip(f"model yunet: {error}")
    path = tmp_path / "vedette.yml"
    path.write_text('cameras: {door: {source: "pattern:64x48@30"}}\ninfer: {width: 64}\n')
    return path


def test_claims_lists_every_node(settings_file: Path) -> None:
    done = CliRunner().invoke(app, ["-c", str(settings_file), "models", "claims", "--json"])
    told = json.loads(done.stdout)
    assert not told["fallback"]
    assert {"node": "Conv_0", "operator": "Conv", "provider": "CPUExecutionProvider"} in told["nodes"]
    assert len(told["nodes"]) > 100
    table = CliRunner().invoke(app, ["-c", str(settings_file), "models", "claims"]).stdout
    assert "MaxPool" in table
    assert f"{len(told['nodes'])} nodes" in table


def test_compile_says_what_it_lacks(settings_file: Path) -> None:
    wanted = r"--size='64': as 640x384" if importlib.util.find_spec("tvm") else r"vedette\[tvm\]"
    with pytest.raises(ConfigError, match=wanted):
        CliRunner().invoke(app, ["models", "compile", "yunet", "--size", "64"], catch_exceptions=False)
