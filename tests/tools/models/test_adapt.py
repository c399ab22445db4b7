from __future__ import annotations

import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from common.pixels import Geometry, PixelFormat
from services.infer.manifest import InputSpec, read_sidecar
from tools.models import graph
from tools.models.adapt import Wishes, adapt, to_opset
from tools.models.frames import pictures
from tools.models.proof import largest_difference, run, session
from tools.models.resize import kernel, resize_to_deconv
from tools.models.sidecar import write_sidecar

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def resize(factor, size=("h", "w"), **attributes):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="up", **attributes)
    scales = numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "s")
    values = [helper.make_tensor_value_info(name, 1, [1, 5, *size] if name == "x" else None) for name in "xy"]
    made = helper.make_graph([node], "resize", values[:1], values[1:], [scales])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"},
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    ],
)
def test_resize_becomes_a_deconvolution_that_is_equal_up_to_the_border(factor, attributes):
    model, random = resize(factor, **attributes), np.random.default_rng(2)
    before = session(model)
    resize_to_deconv(model)
    assert [node.op_type for node in model.graph.node][-1] == "ConvTranspose"
    after, tensors = session(model), [random.random((1, 5, 6, 9), np.float32), random.random((1, 5, 1, 2), np.float32)]
    limit = 5e-7 if factor == 3 else 2e-7
    difference = largest_difference(
        [run(before, {"x": item}) for item in tensors], [run(after, {"x": item}) for item in tensors], "here", limit
    )
    assert attributes["mode"] == "linear" or difference == 0


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, "align_corners"),
        ({"mode": "cubic"}, "mode cubic"),
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, "shifts"),
    ],
)
def test_resize_that_no_deconvolution_equals_is_named_with_the_reason(attributes, reason):
    with pytest.raises(ModelError, match=f"Resize 'up': .*{reason}"):
        resize_to_deconv(resize(2, **attributes))


def test_broken_fraction_of_enlargement_is_refused():
    with pytest.raises(ModelError, match=r"Resize 'up': scales .* whole factors"):
        resize_to_deconv(resize(1.5, mode="linear"))


def test_bilinear_kernel_by_two_is_the_known_one():
    weights, begin, end = kernel("linear", 2, "half_pixel", "")
    assert weights.tolist() == [0.25, 0.75, 0.75, 0.25]
    assert (begin, end) == (3, 3)


def test_every_step_is_written_proven_and_kept(pyramid, photos, tmp_path):
    source, out, seen = pyramid(), tmp_path / "out.onnx", []
    wishes = Wishes(opset=17, size=(64, 32), deconv=True, float16=True)
    steps = adapt(source, out, wishes, read_sidecar(source).input, pictures(str(photos), 2), seen.append)
    assert (
        [step.name for step in steps]
        == ["opset", "fixed size", "deconv", "simplified", "float16"]
        == [step.name for step in seen]
    )
    assert all(step.difference is not None and step.pictures == 2 for step in steps)
    assert steps[2].difference == 0
    made = graph.read(out)
    kinds = {node.op_type for node in made.graph.node}
    assert "ConvTranspose" in kinds and "Resize" not in kinds and "Cast" in kinds
    assert graph.opset(made) == 17 and graph.shapes(made)["input"] == (1, 3, 32, 64)
    assert all(item.data_type != 1 for item in made.graph.initializer if item.name.startswith("w"))


def test_deconvolution_in_a_model_changes_no_output_bit(pyramid, photos, tmp_path):
    source = pyramid()
    (step,) = adapt(source, tmp_path / "o.onnx", Wishes(deconv=True, simplify=False), None, pictures(str(photos), 2))
    assert step.difference == 0 and "Resize 'upsample' (nearest x2x2): 0" in step.detail


def test_size_that_contradicts_the_graph_names_the_input(pyramid, photos, tmp_path):
    source = pyramid(size=(32, 64))
    with pytest.raises(ModelError, match=r"input 'input' is fixed to \(64, 32\) already"):
        adapt(source, tmp_path / "o.onnx", Wishes(size=(96, 32)), None, pictures(str(photos), 1))


def test_size_that_is_no_multiple_is_a_usage_error(pyramid, photos, tmp_path):
    source = pyramid()
    spec = read_sidecar(source).input
    with pytest.raises(ConfigError, match="multiples of 4"):
        adapt(source, tmp_path / "o.onnx", Wishes(size=(66, 32)), spec, pictures(str(photos), 1))


def test_opset_that_does_not_exist_is_a_usage_error(pyramid):
    with pytest.raises(ConfigError, match="--opset 99: 7 to"):
        to_opset(graph.read(pyramid()), 99)


def test_cut_and_foreign_files_are_one_clear_error(pyramid, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(pyramid().read_bytes()[:700])
    with pytest.raises(ModelError, match=r"cut.onnx: not an ONNX model, or cut short"):
        graph.read(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="there is no operator in it"):
        graph.read(path)
    with pytest.raises(ConfigError, match="no such file"):
        graph.read(tmp_path / "nowhere.onnx")


def test_shapes_that_contradict_each_other_name_the_operator(pyramid, tmp_path):
    model = onnx.load(pyramid())
    weight = next(item for item in model.graph.initializer if item.name == "w2")
    weight.CopyFrom(numpy_helper.from_array(np.zeros((8, 7, 3, 3, 3), np.float32), "w2"))
    path = tmp_path / "wrong.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="conv2"):
        graph.read(path)


def test_operator_whose_name_is_no_text_is_one_clear_error(pyramid, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(pyramid().read_bytes().replace(b"Sigmoid", b"Sig\xff\xfeid"))
    with pytest.raises(ModelError, match=r"broken.onnx: "):
        graph.read(path)


def test_operator_that_fails_while_it_runs_is_named(pyramid, tmp_path):
    source, size = pyramid(), Geometry(320, 6, PixelFormat.BGR)  # 6 rows become 3, then 2, and 4 again: no sum with 3
    with pytest.raises(ModelError, match=r"does not run with input \(1, 3, 6, 320\): .*Name:'add'"):
        adapt(
            source,
            tmp_path / "o.onnx",
            Wishes(opset=15),
            InputSpec(multiple=2),
            [(size, [np.zeros((6, 320, 3), np.uint8)])],
        )


def test_unknown_operator_is_named(pyramid, tmp_path):
    model = onnx.load(pyramid())
    model.graph.node[1].op_type = "Reluu"
    path = tmp_path / "wrong.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="Reluu"):
        graph.read(path)


def test_wrong_result_names_output_and_difference():
    one, two = {"cls_8": np.zeros((1, 4))}, {"cls_8": np.full((1, 4), 0.5)}
    with pytest.raises(ModelError, match=r"step: output 'cls_8' differs by 0.5, at most 0.1"):
        largest_difference([one], [two], "step", 0.1)
    with pytest.raises(ModelError, match="output 'cls_8' has shape"):
        largest_difference([one], [{"cls_8": np.zeros((1, 5))}], "step", 0.1)
    with pytest.raises(ModelError, match="differs by nan"):
        largest_difference([one], [{"cls_8": np.full((1, 4), np.nan)}], "step", 0.1)


def test_sidecar_is_read_back_as_it_was(pyramid, tmp_path):
    spec = read_sidecar(pyramid())
    write_sidecar(spec, tmp_path / "copy.onnx")
    copy = read_sidecar(tmp_path / "copy.onnx")
    assert copy.input == spec.input and copy.decoder == spec.decoder and copy.nms_iou == spec.nms_iou
