from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("tvm")
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from services.infer.tvm_compile import RASPBERRY_PI_5, Target, this_machine
from services.infer.tvm_schedule import Registers, lowered, registers_of, scheduled

SHAPE = (1, 3, 26, 38)
AVX512, AVX2, NEON = Registers(16, 32), Registers(8, 16), Registers(4, 32)


@pytest.fixture(scope="module")
def network():
    """A small detector: a strided convolution, depthwise and pointwise ones, pools, a head of odd width, a softmax."""
    dice = np.random.default_rng(3)
    nodes, weights = [], []

    def convolve(source, name, inputs, outputs, kernel, **more):
        shape = (outputs, inputs // more.get("group", 1), kernel, kernel)
        for part, form in (("w", shape), ("b", (outputs,))):
            values = dice.normal(size=form, scale=0.1).astype(np.float32)
            weights.append(numpy_helper.from_array(values, name + part))
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [source, name + "w", name + "b"], [name], pads=pads, **more))

    def apply(operator, sources, name, **more):
        nodes.append(helper.make_node(operator, sources, [name], **more))

    convolve("input", "stem", 3, 16, 3, strides=[2, 2])
    apply("Relu", ["stem"], "one")
    convolve("one", "point", 16, 48, 1)
    convolve("point", "depth", 48, 48, 3, group=48)
    apply("Relu", ["depth"], "two")
    apply("MaxPool", ["two"], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    convolve("pooled", "wide", 48, 40, 5, strides=[1, 2])
    apply("Sigmoid", ["wide"], "gate")
    apply("Mul", ["wide", "gate"], "three")
    convolve("three", "head", 40, 10, 1)
    convolve("three", "single", 40, 1, 1)
    apply("Softmax", ["head"], "share", axis=1)
    apply("GlobalAveragePool", ["three"], "mean")
    shapes = {"single": [1, 1, 7, 5], "share": [1, 10, 7, 5], "mean": [1, 40, 1, 1], "head": [1, 10, 7, 5]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    given = [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(SHAPE))]
    made = helper.make_model(
        helper.make_graph(nodes, "net", given, outputs, weights), opset_imports=[helper.make_opsetid("", 13)]
    )
    made.ir_version = 8
    return made


def llvm(target: Target):
    described = {"kind": "llvm", "mcpu": target.cpu}
    return tvm.target.Target({**described, "mtriple": target.triple} if target.triple else described)


def functions(module):
    return {name.name_hint: f for name, f in module.functions_items() if isinstance(f, tvm.tirx.PrimFunc)}


@pytest.mark.parametrize("registers", [AVX512, AVX2, NEON], ids=["16x32", "8x16", "4x32"])
def test_same_numbers_as_onnx_runtime_for_every_kind_of_processor(network, registers, monkeypatch):
    monkeypatch.setattr("services.infer.tvm_schedule.registers_of", lambda _: registers)
    target = llvm(this_machine())
    module = from_onnx(network, shape_dict={"input": list(SHAPE)}, keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(lowered(module, target), target=target), tvm.cpu())
    picture = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    mine = [value.numpy() for value in machine["main"](tvm.runtime.tensor(picture, tvm.cpu()))]
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    for found, expected in zip(mine, session.run(None, {"input": picture}), strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 2e-6 * max(1.0, np.abs(expected).max())


def test_every_convolution_of_more_than_one_channel_is_computed_in_vectors(network):
    module = from_onnx(network, shape_dict={"input": list(SHAPE)}, keep_params_in_input=False)
    made = functions(lowered(module, llvm(this_machine())))
    plain = {name for name, f in made.items() if "conv2d" in name and "T.vectorized" not in f.script()}
    convolutions = [name for name in made if "conv2d" in name]
    assert len(convolutions) == 6
    assert len(plain) == 1  # the head of one channel


def test_functions_of_unknown_form_keep_their_loops(network):
    module = from_onnx(network, shape_dict={"input": list(SHAPE)}, keep_params_in_input=False)
    softmax = functions(relax.transform.LegalizeOps()(module))["softmax"]
    assert scheduled(softmax, AVX512).same_as(softmax)


def test_registers_are_those_of_the_processor():
    assert registers_of(llvm(Target("znver4"))) == AVX512
    assert registers_of(llvm(Target("haswell"))) == AVX2
    assert registers_of(llvm(Target("nehalem"))) == Registers(4, 16)
    assert registers_of(llvm(RASPBERRY_PI_5)) == NEON
