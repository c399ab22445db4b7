from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from services.infer.manifest import read_sidecar
from tools.models import graph
from tools.models.frames import demo_clip, pictures, tensor
from tools.models.proof import run, session
from tools.models.quantize import Recipe, head_nodes, prepared, quantize
from tools.models.trial import Trial, recommend

pytest.importorskip("onnx")


def calibration(source, photos):
    spec = read_sidecar(source).input
    return [tensor(item, spec, None, 64) for item in pictures(str(photos), 2)]


def weights(path):
    """Constant scales of the weights, by their shapes."""
    known = graph.constants(graph.read(path))
    model = graph.read(path)
    return [
        known[node.input[1]].size
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in known and known[node.input[0]].ndim == 4
    ]


@pytest.mark.parametrize("variant", ["per-channel", "per-tensor", "mixed"])
def test_int8_model_is_close_to_the_float_one(pyramid, photos, tmp_path, variant):
    source, out = pyramid(), tmp_path / "int8.onnx"
    tensors = calibration(source, photos)
    assert variant in quantize(source, out, Recipe(variant=variant), tensors)
    for item in tensors:
        before, after = run(session(source), {"input": item}), run(session(out), {"input": item})
        assert np.abs(before["scores"] - after["scores"]).max() < 0.1
    assert weights(out) == {"per-channel": [8, 8, 4], "per-tensor": [1, 1, 1], "mixed": [8, 8]}[variant]


def test_heads_are_the_last_convolutions_and_what_follows(pyramid):
    assert set(head_nodes(graph.read(pyramid()))) == {"head", "transpose", "reshape", "sigmoid"}


def test_excluded_node_stays_float_and_unknown_one_is_a_usage_error(pyramid, photos, tmp_path):
    source, out = pyramid(), tmp_path / "int8.onnx"
    tensors = calibration(source, photos)
    quantize(source, out, Recipe(exclude=("conv1",)), tensors)
    assert weights(out) == [8, 4]
    with pytest.raises(ConfigError, match=r"--exclude 'conv9': no such node; some there are: .*conv1"):
        quantize(source, out, Recipe(exclude=("conv9",)), tensors)


def test_model_that_is_int8_already_names_the_operator(pyramid, photos, tmp_path):
    source, out = pyramid(), tmp_path / "int8.onnx"
    quantize(source, out, Recipe(), calibration(source, photos))
    with pytest.raises(ModelError, match="is quantised already: QuantizeLinear"):
        prepared(out)


def test_old_operators_are_raised_first(pyramid, photos, tmp_path):
    source = pyramid(opset=11)
    out = tmp_path / "int8.onnx"
    quantize(source, out, Recipe(), calibration(source, photos))
    assert graph.opset(graph.read(out)) >= 13


def trial(name, speedup, loss):
    return Trial(name, Path(name), 10 / speedup, 9 / speedup, speedup, 0.9 - loss, loss)


def test_recommendation_weighs_speed_and_accuracy():
    first = trial("float32", 1.0, 0.0)
    assert recommend([first, trial("a", 1.8, 0.05), trial("b", 1.5, 0.004)], 0.01)[0].name == "b"
    slow, why = recommend([first, trial("a", 0.6, 0.0)], 0.01)
    assert slow is first and "not faster here (a: 0.60x)" in why
    bad, why = recommend([first, trial("a", 1.8, 0.05)], 0.01)
    assert bad is first and "loses more than 0.01 (the least: a, 0.050)" in why


def test_command_measures_and_recommends(yunet, tmp_path, capsys):
    from tools.cli.quantize import run as command

    out = tmp_path / "yunet.onnx"
    command(
        "yunet", out, ("per-channel",), "minmax", (), reduced=False, pictures=pictures(demo_clip(), 3),
        labels=None, limit=0, width=160, threads=1, max_loss=0.5, as_json=True,
    )  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in said["models"]] == ["float32", "per-channel"]
    assert said["models"][0]["ap"] == 1.0 and said["models"][1]["bytes"] < said["models"][0]["bytes"]
    assert Path(said["path"]).is_file() and said["recommended"] in {"float32", "per-channel"}
    assert (tmp_path / "yunet-per-channel.toml").is_file()
