from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from common.config import check


def vedette(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.cli.main", *arguments]
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )


def test_advice_is_measured_and_can_be_used_as_it_is(yunet: None, tmp_path: Path) -> None:
    target = tmp_path / "advice.yml"
    done = vedette(
        "advise",
        "--source",
        "pattern:128x96@30",
        "--seconds",
        "2",
        "--cameras",
        "3",
        "--write",
        str(target),
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(way["whole_ms"] is not None or way["problem"] for way in told["ways"])
    assert {way["name"] for way in told["ways"]} >= {"CPU, 1 thread"}
    assert told["crews"]
    share = -(-3 // told["settings"]["infer"]["workers"])
    assert [row["count"] for row in told["batches"]] == [count for count in (1, 2, 3) if count <= share and share > 1]
    assert told["settings"]["infer"].get("max_batch", 1) <= share
    assert any("no face was seen" in reason for reason in told["reasons"])
    written = yaml.safe_load(target.read_text())
    assert written == told["settings"]
    check({**written, "cameras": {"door": {"source": "pattern:64x48@30"}}})


def test_without_settings_and_source_it_says_what_is_missing(tmp_path: Path) -> None:
    done = vedette("advise", cwd=tmp_path)
    assert done.returncode == 2
    assert "vedette:" in done.stderr
