from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from common.settings import InferSettings
from tools.bench import backends
from tools.bench.backend_rows import rows
from tools.bench.sensors import PowerMeter


def test_the_table_of_this_machine(yunet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, picture = tmp_path / "table.json", tmp_path / "table.png"
    arguments = ["--source", "pattern:192x128@30", "--width", "96", "--seconds", "0.1", "--repetitions", "2"]
    arguments += ["--only", "openvino", "--only", "int8", "--json", str(target), "--plot", str(picture)]
    assert backends.main(arguments) == 0
    table = {row["way"]: row for row in json.loads(target.read_text())["rows"]}
    assert table["ONNX Runtime fp32"]["p50 ms"] <= table["ONNX Runtime fp32"]["p99 ms"]
    assert table["ONNX Runtime fp32"]["same faces"] in {1, ""}
    assert picture.read_bytes().startswith(b"\x89PNG")
    if "ONNX Runtime INT8" not in table:
        assert "ONNX Runtime INT8: absent: vedette models quantize yunet" in capsys.readouterr().out


def test_rows_that_are_absent_say_what_to_install(yunet: Path) -> None:
    found = {row.name: row for row in rows(InferSettings(), "/no/such/python", None)}
    assert "vedette[export]" in found["PyTorch eager"].missing
    assert "vedette[export]" in found["TorchScript"].missing
    assert not found["ONNX Runtime fp32"].missing
    other = {row.name: row.missing for row in rows(InferSettings(model="centerface"), sys.executable, None)}
    assert "no PyTorch form of centerface" in other["PyTorch eager"] or "pull" in other["PyTorch eager"]


def test_a_row_that_fails_is_told_and_the_others_go_on(yunet: Path, tmp_path: Path) -> None:
    frames = backends.frames_of("pattern:64x32@30", 2, tmp_path)
    good, bad = InferSettings(width=64), InferSettings(width=64, backend="no_such_backend")
    wanted = [backends.Row("good", good), backends.Row("bad", bad)]
    runs = {run.row.name: run for run in backends.measure(wanted, frames, 1, 0.05, 0)}
    assert runs["good"].samples
    assert "choose one of" in runs["bad"].problem
    assert backends.figures([runs["bad"]])[0]["absent"].startswith("fails: infer.backend")


def test_energy_counters_give_mean_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.sensors.power_w", lambda: None)
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.parent.mkdir()
    counter.write_text("1000000\n")
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("tools.bench.sensors.time.monotonic", lambda: next(clock))
    meter = PowerMeter(tmp_path, tmp_path)
    counter.write_text("9000000\n")
    assert meter.source == "rapl"
    assert meter.watts() == 4.0


def test_a_machine_without_sensors_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.sensors.power_w", lambda: None)
    meter = PowerMeter(tmp_path, tmp_path)
    assert meter.source == ""
    assert meter.watts() is None


def test_settings_of_a_row_are_those_asked_for(yunet: Path) -> None:
    asked = dataclasses.replace(InferSettings(), width=320, threads=2, workers=3)
    for row in rows(asked, sys.executable, None):
        assert (row.infer.width, row.infer.threads, row.infer.workers) == (320, 2, 1)
