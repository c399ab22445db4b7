"""A real plug-in provider, onnxruntime-ggml: it runs one graph, refuses another, and takes one that it cannot run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CPU = "CPUExecutionProvider"


@pytest.fixture
def probe(interpreter: Callable[[str], str]) -> Callable[..., dict[str, Any]]:
    python = interpreter("ggml")

    def run(*arguments: str) -> dict[str, Any]:
        script = str(Path(__file__).with_name("plugin_probe.py"))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([python, script, *arguments], capture_output=True, text=True, env=environment, check=True)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    return run


def graph(path: Path, nodes: Callable[[Any], list[Any]], weights: dict[str, np.ndarray], output: list[int]) -> Path:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    made = helper.make_graph(
        nodes(helper),
        "g",
        [helper.make_tensor_value_info("input", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", 1, output)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_claims_are_listed_node_by_node_and_the_result_is_right(probe, tmp_path):
    weights = np.random.default_rng(1).normal(size=(192, 8)).astype(np.float32)
    path = graph(
        tmp_path / "x.onnx",
        lambda helper: [
            helper.make_node("Reshape", ["input", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
            helper.make_node("Relu", ["y"], ["out"]),
        ],
        {"w": weights, "shape": np.array([1, 192], np.int64)},
        [1, 8],
    )
    answer = probe("ggml", str(path))
    assert not answer["fallback"]
    assert answer["nodes"] == {"ggml": 3}
    assert answer["claims"] == [["Reshape", "ggml"], ["MatMul", "ggml"], ["Relu", "ggml"]]
    assert answer["outputs"]["out"] == pytest.approx(weights.sum(axis=0).clip(0), abs=0.05)  # its weights are float16


def test_a_graph_that_it_does_not_take_runs_on_the_cpu_and_says_so(probe, yunet):
    answer = probe("ggml", str(yunet))
    assert answer["nodes"].keys() == {CPU}
    assert answer["fallback"] == "runs on the CPU instead of ggml: it took none of the 106 nodes"


def test_a_graph_that_it_takes_and_cannot_run_falls_back_at_load(probe, tmp_path):
    path = graph(
        tmp_path / "x.onnx",
        lambda helper: [helper.make_node("Conv", ["input", "w"], ["out"])],
        {"w": np.ones((4, 3, 3, 3), np.float32)},
        [1, 4, 6, 6],
    )
    answer = probe("ggml", str(path))
    assert answer["nodes"].keys() == {CPU}
    assert "it fails in its first run" in answer["fallback"]
    assert "conv1d wants 3-D tensors" in answer["fallback"]
    assert answer["outputs"]["out"] == pytest.approx([27] * 8)


@pytest.mark.parametrize(("device", "fine"), [("0", True), ("cpu", True), ("gpu", False), ("7", False)])
def test_devices_are_chosen_by_number_or_kind(probe, yunet, device, fine):
    answer = probe("ggml", str(yunet), device)
    if fine:
        assert "error" not in answer
    else:
        assert answer == {"error": "ConfigError", "text": f"infer.device={device!r}: ggml has 0 (cpu)"}
