from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime as ort
import pytest

from common.errors import ConfigError, ModelError
from common.settings import InferSettings
from services.infer.backends import load_backend
from services.infer.detector import build_detector
from services.infer.manifest import find_model, known_model, read_sidecar
from tools.models import graph
from tools.models.frames import demo_clip, pictures
from tools.models.lint import find_target
from tools.models.sidecar import write_sidecar
from tools.models.split import cut_at, find_cut, part_path, split

pytest.importorskip("onnx")
pytest.importorskip("networkx")


def written(source, out, tensors, photos, count=2):
    steps = split(source, out, tensors, read_sidecar(source).input, pictures(str(photos), count))
    parts = {part: part_path(out, part).name for part in ("backbone", "head")}
    return steps, write_sidecar(read_sidecar(source), out, {"split": parts})


def test_cut_keeps_all_that_the_target_runs_and_no_more(pyramid):
    target = find_target("hailo8")
    cut = find_cut(graph.read(pyramid(size=(32, 64))), target)
    assert cut.tensors == ("c3",)  # Transpose is the first that it lacks
    assert (cut.backbone, cut.head) == (6, 3)


def test_cut_moves_up_to_a_smaller_tensor_when_the_link_is_slow():
    import onnx
    from onnx import helper, numpy_helper

    weights = [np.ones((2, 3, 3, 3), np.float32), np.ones((16, 2, 1, 1), np.float32)]
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["narrow"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["narrow", "w1"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["out"], perm=[0, 2, 3, 1]),
    ]
    values = [
        helper.make_tensor_value_info("input", 1, [1, 3, 64, 64]),
        helper.make_tensor_value_info("out", 1, [1, 64, 64, 16]),
    ]
    constants = [numpy_helper.from_array(value, f"w{index}") for index, value in enumerate(weights)]
    made = helper.make_graph(nodes, "narrow", values[:1], values[1:], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    target = find_target("hailo8")
    assert find_cut(model, dataclasses.replace(target, link_gb=1000.0)).tensors == ("wide",)
    slow = find_cut(model, dataclasses.replace(target, link_gb=10.0))
    assert slow.tensors == ("narrow",)
    assert slow.crossing_bytes == 2 * 64 * 64 * 4


def test_target_that_runs_everything_or_nothing_is_told(pyramid):
    model = graph.read(pyramid(size=(32, 64)))
    everything = {name: {} for name in ("Conv", "Relu", "Resize", "Add", "Transpose", "Reshape", "Sigmoid")}
    with pytest.raises(ModelError, match="nothing to split"):
        find_cut(model, dataclasses.replace(find_target("hailo8"), operators=everything))
    with pytest.raises(ModelError, match="Conv 'conv1': Conv is not among its operators"):
        find_cut(model, dataclasses.replace(find_target("hailo8"), operators={"Add": {}}))


def test_parts_compute_what_the_whole_does_and_run_as_one_model(pyramid, photos, tmp_path):
    source = pyramid()
    steps, sidecar = written(source, tmp_path / "cut", ("r1", "up"), photos)
    assert [step.name for step in steps] == ["backbone", "head", "joined"]
    assert steps[-1].difference == 0
    spec, path = find_model(str(sidecar), tmp_path)
    assert spec.split and path == sidecar
    backend = load_backend(path, InferSettings(model=str(path)), spec.input.layout)
    bound = backend.bind((64, 32))
    bound.tensor[:] = np.random.default_rng(1).random(bound.tensor.shape, np.float32)
    bound.run()
    whole = ort.InferenceSession(str(source)).run(None, {"input": bound.tensor})[0]
    np.testing.assert_allclose(bound.outputs["scores"], whole, atol=1e-6)
    assert sum(backend.placement.nodes.values()) > 3


def test_parts_take_several_pictures_when_both_have_a_free_batch_axis(pyramid, photos, tmp_path):
    source = pyramid(batch="batch")
    _, sidecar = written(source, tmp_path / "cut", ("r1", "up"), photos)
    bound = load_backend(sidecar, InferSettings(max_batch=3), "nchw").bind((64, 32), 3)
    whole = ort.InferenceSession(str(source))
    for count in (3, 1, 2, None):
        bound.tensor[:] = np.random.default_rng(count).random(bound.tensor.shape, np.float32)
        bound.run(count)
        for row in range(count or 3):
            alone = whole.run(None, {"input": bound.tensor[row : row + 1]})[0]
            np.testing.assert_allclose(bound.outputs["scores"][row], alone[0], atol=1e-6)


def test_head_of_one_picture_is_refused_for_batches(pyramid, photos, tmp_path):
    _, sidecar = written(pyramid(batch="batch"), tmp_path / "free", ("r1", "up"), photos)
    written(pyramid("other"), tmp_path / "fixed", ("r1", "up"), photos)
    part_path(tmp_path / "fixed", "head").replace(part_path(tmp_path / "free", "head"))
    backend = load_backend(sidecar, InferSettings(max_batch=2), "nchw")
    with pytest.raises(ModelError, match=r"free.toml: the head's input 'r1' has a batch axis that is fixed to 1"):
        backend.bind((64, 32), 2)


class Renewing:
    """A backbone that gives new arrays with each run, as some runtimes do."""

    def __init__(self, bound):
        self._bound, self.tensor, self.outputs = bound, bound.tensor, dict(bound.outputs)

    def run(self):
        self._bound.run()
        self.outputs = {key: value.copy() for key, value in self._bound.outputs.items()}


def test_head_follows_a_backbone_that_gives_new_arrays(pyramid, photos, tmp_path):
    _, sidecar = written(pyramid(), tmp_path / "cut", ("r1", "up"), photos)
    backend = load_backend(sidecar, InferSettings(), "nchw")
    bind, plain = backend._backbone.bind, backend.bind((64, 32))
    backend._backbone.bind = lambda size: Renewing(bind(size))
    renewing, random = backend.bind((64, 32)), np.random.default_rng(4)
    for _ in range(3):
        plain.tensor[:] = renewing.tensor[:] = random.random(plain.tensor.shape, np.float32)
        plain.run()
        renewing.run()
        np.testing.assert_array_equal(plain.outputs["scores"], renewing.outputs["scores"])


def test_tensors_that_leave_a_way_round_are_refused(pyramid):
    with pytest.raises(ModelError, match="the head still needs 'input'"):
        cut_at(graph.read(pyramid()), ["up"])
    with pytest.raises(ConfigError, match="--at 'nope': no such tensor"):
        cut_at(graph.read(pyramid()), ["nope"])


def test_parts_of_different_cuts_name_the_tensor(pyramid, photos, tmp_path):
    _, one = written(pyramid(), tmp_path / "one", ("r1", "up"), photos)
    written(pyramid("other"), tmp_path / "two", ("c3",), photos)
    part_path(tmp_path / "two", "head").replace(part_path(tmp_path / "one", "head"))
    backend = load_backend(one, InferSettings(), "nchw")
    with pytest.raises(ModelError, match="the head reads 'c3', the backbone has r1, up"):
        backend.bind((64, 32))


def test_damaged_head_is_named(pyramid, photos, tmp_path):
    _, sidecar = written(pyramid(), tmp_path / "one", ("c3",), photos)
    part_path(tmp_path / "one", "head").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"one-head.onnx: .* cannot load the head"):
        load_backend(sidecar, InferSettings(), "nchw")


def test_sidecar_without_split_is_a_wrong_setting(pyramid, tmp_path):
    with pytest.raises(ConfigError, match=r"no \[split\] in it"):
        find_model(str(pyramid().with_suffix(".toml")), tmp_path)


def test_split_detector_finds_the_same_faces(yunet, tmp_path):
    shots, spec = pictures(demo_clip(), 2), known_model("yunet")
    cut = find_cut(graph.read(yunet), find_target("hailo8"))
    split(yunet, tmp_path / "y", cut.tensors, spec.input, shots)
    parts = {part: part_path(tmp_path / "y", part).name for part in ("backbone", "head")}
    sidecar = write_sidecar(spec, tmp_path / "y", {"split": parts})
    geometry, planes = shots[1]
    whole = build_detector(InferSettings(model="yunet"), geometry).detect(planes, geometry)
    both = build_detector(InferSettings(model=str(sidecar)), geometry).detect(planes, geometry)
    assert len(whole.scores) == 1
    np.testing.assert_allclose(both.boxes, whole.boxes, atol=1e-3)
    np.testing.assert_allclose(both.scores, whole.scores, atol=1e-5)
