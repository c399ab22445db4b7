"""Cuts a model in two at the cheapest place: a backbone that the accelerator runs whole, and a head for the CPU.

A node may be in the backbone only if the target runs it and everything before it is there too. Among all such cuts the
cheapest is a minimum cut: a node costs its multiplications at the speed of its side, a tensor that crosses costs its
bytes at the speed of the link. So a cut may come before the first operator that the target lacks, when a smaller tensor
is to be had there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, ModelError
from services.infer.manifest import InputSpec
from tools.models import graph
from tools.models.adapt import fixed_size, guess_input, outputs
from tools.models.frames import Picture, tensor
from tools.models.lint import Target, lint, unsupported
from tools.models.proof import Step, largest_difference, run, session

if TYPE_CHECKING:
    import onnx

CPU_GMACS = 20.0  # 10^9 multiplications a second of one core; only weighs where a cut is cheapest
NODE_S = 2e-6  # what any node costs on the CPU beside them
SAME = 1e-6  # the parts compute what the whole does
USUAL = (320, 256)  # size to weigh a model with that takes any


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a model is cut.

    Attributes:
        tensors: Names of those that cross.
        backbone: Number of nodes before the cut.
        head: Number of nodes after it.
        macs: Multiplications before and after it.
        crossing_bytes: Of one picture.
    """

    tensors: tuple[str, ...]
    backbone: int
    head: int
    macs: tuple[int, int]
    crossing_bytes: int

    def line(self) -> str:
        """The cut for people."""
        share = 100 * self.macs[0] / max(1, sum(self.macs))
        return (
            f"{self.backbone} operators with {share:.1f} % of the multiplications before, {self.head} after; "
            f"{', '.join(self.tensors)} cross ({self.crossing_bytes:,} bytes a picture)"
        )


def find_cut(model: onnx.ModelProto, target: Target, size: tuple[int, int] | None = None) -> Cut:
    """The cheapest cut for a target.

    Raises:
        ConfigError: networkx is not installed.
        ModelError: The target runs nothing or everything.
    """
    sized = _at_size(model, size)
    shapes = graph.shapes(sized)
    nodes = _work_nodes(sized)
    bad = unsupported(sized, target)
    macs = {node.output[0]: _macs(node, shapes) for node in nodes}
    before = _minimum_cut(sized, nodes, bad, macs, shapes, target)
    if not before:
        first = next(node for node in nodes if node.output[0] in bad)
        why = next(item.reason for item in lint(sized, target) if item.operator == first.op_type)
        raise ModelError(f"{target.name} can run no part that is worth the way: {graph.label(first)}: {why}")
    if len(before) == len(nodes):
        raise ModelError(f"{target.name} can run all {len(nodes)} operators: there is nothing to split")
    crossing = _crossing(sized, nodes, before)
    return Cut(
        tuple(crossing),
        len(before),
        len(nodes) - len(before),
        (sum(macs[name] for name in before), sum(value for name, value in macs.items() if name not in before)),
        sum(_bytes(shapes, name) for name in crossing),
    )


def split(
    source: Path, out: Path, tensors: Sequence[str], spec: InputSpec | None, pictures: Sequence[Picture]
) -> list[Step]:
    """Write both parts beside `out` and prove that together they compute what the whole does.

    Args:
        source: The whole model.
        out: The name; the parts are OUT-backbone.onnx and OUT-head.onnx.
        tensors: Names of those that cross.
        spec: What the model wants at its input.
        pictures: To prove it with.

    Raises:
        ModelError: The tensors do not cut the graph, or the parts differ from the whole; the message names the tensor.
    """
    model = graph.read(source)
    spec = spec or guess_input(model)
    backbone, head = cut_at(model, tensors)
    size = fixed_size(model, spec.layout)
    inputs = [tensor(item, spec, size, max(USUAL)) for item in pictures]
    whole = outputs(model, inputs)
    first, second = session(backbone), session(head)
    name = graph.picture(model).name
    joined = [run(second, {**run(first, {name: item}), name: item}) for item in inputs]
    difference = largest_difference(whole, joined, "split", SAME)
    steps = []
    for part, made in (("backbone", backbone), ("head", head)):
        path = part_path(out, part)
        graph.write(made, path)
        steps.append(Step(part, f"{len(made.graph.node)} operators", path=path))
    return [*steps, Step("joined", "both parts against the whole", difference, SAME, len(inputs))]


def part_path(out: Path, part: str) -> Path:
    """File of a part."""
    return out.with_name(f"{out.stem}-{part}.onnx")


def cut_at(model: onnx.ModelProto, tensors: Sequence[str]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Both parts of a model that is cut at these tensors.

    Raises:
        ConfigError: There is no such tensor.
        ModelError: Some way from the input to an output goes round them.
    """
    kit = graph.library()
    made = {name for node in model.graph.node for name in node.output}
    for name in tensors:
        if name not in made:
            raise ConfigError(f"--at {name!r}: no such tensor in the model")
    inferred = kit.shape_inference.infer_shapes(model)
    picture = graph.picture(model).name
    names = [item.name for item in model.graph.output]
    extractor = kit.utils.Extractor(inferred)
    try:
        backbone: onnx.ModelProto = extractor.extract_model([picture], list(tensors))
        head: onnx.ModelProto = extractor.extract_model(list(tensors), names)
    except graph.REFUSALS as error:
        raise ModelError(f"cut at {', '.join(tensors)}: {graph.short(error)}") from error
    loose = _missing(head)
    if loose:
        raise ModelError(
            f"cut at {', '.join(tensors)}: the head still needs {loose[0]!r}, which is made before the cut"
        )
    return backbone, head


def _missing(model: onnx.ModelProto) -> list[str]:
    known = {item.name for item in (*model.graph.input, *model.graph.initializer)}
    known |= {name for node in model.graph.node for name in node.output} | {""}
    return [name for node in model.graph.node for name in node.input if name not in known]


def _minimum_cut(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    bad: set[str],
    macs: dict[str, int],
    shapes: dict[str, Any],
    target: Target,
) -> set[str]:
    """First outputs of the nodes in the backbone."""
    try:
        import networkx as nx
    except ModuleNotFoundError as error:
        raise ConfigError(f"split {graph.NEED.format('networkx')}") from error
    net = nx.DiGraph()
    owner = {name: node.output[0] for node in nodes for name in node.output}
    finals = {item.name for item in model.graph.output}
    for node in nodes:
        own = node.output[0]
        net.add_edge("backbone", own, capacity=macs[own] / (CPU_GMACS * 1e9) + NODE_S)  # paid when it is in the head
        if own in bad:
            net.add_edge(own, "head")  # no capacity: must never be cut
        else:
            net.add_edge(own, "head", capacity=macs[own] / (target.gmacs * 1e9))
        for name in node.input:
            if name in owner:
                net.add_edge(own, owner[name])  # what it reads is on its side, or before it
                crossing = f"crossing {name}"
                net.add_edge(owner[name], crossing, capacity=_bytes(shapes, name) / (target.link_gb * 1e9))
                net.add_edge(crossing, own)
        for name in node.output:
            if name in finals:
                net.add_edge(own, f"crossing {name}", capacity=_bytes(shapes, name) / (target.link_gb * 1e9))
                net.add_edge(f"crossing {name}", "head")
    _, (kept, _) = nx.minimum_cut(net, "backbone", "head")
    return {node.output[0] for node in nodes if node.output[0] in kept}


def _crossing(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], before: set[str]) -> list[str]:
    """Tensors that are made before the cut and read after it, or are results already."""
    read = {name for node in nodes if node.output[0] not in before for name in node.input}
    read |= {item.name for item in model.graph.output}
    return [name for node in nodes if node.output[0] in before for name in node.output if name in read]


def _work_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes that depend on the picture."""
    live, found = {graph.picture(model).name}, []
    for node in model.graph.node:
        if any(name in live for name in node.input):
            live.update(node.output)
            found.append(node)
    return found


def _at_size(model: onnx.ModelProto, size: tuple[int, int] | None) -> onnx.ModelProto:
    """A copy with all shapes known, nodes and names as they are."""
    kit = graph.library()
    made: onnx.ModelProto = kit.ModelProto()
    made.CopyFrom(model)
    layout = guess_input(made).layout
    width, height = fixed_size(made, layout) or size or USUAL
    dims = graph.picture(made).type.tensor_type.shape.dim
    places = (2, 3) if layout == "nchw" else (1, 2)
    for axis, value in ((0, 1), (places[0], height), (places[1], width)):
        dims[axis].dim_value = value
    del made.graph.value_info[:]
    for item in made.graph.output:
        item.type.tensor_type.ClearField("shape")
    sized: onnx.ModelProto = kit.shape_inference.infer_shapes(made, data_prop=True)
    return sized


def _macs(node: onnx.NodeProto, shapes: dict[str, Any]) -> int:
    """Multiplications of a node."""
    made, weights = _count(shapes, node.output[0]), shapes.get(node.input[1]) if len(node.input) > 1 else None
    if weights is None or not all(isinstance(side, int) for side in weights):
        return made
    rules: dict[str, Callable[[], float]] = {
        "Conv": lambda: made * np.prod(weights[1:]),
        "ConvTranspose": lambda: _count(shapes, node.input[0]) * np.prod(weights[1:]),
        "Gemm": lambda: made * weights[0] * weights[1] / max(1, shapes[node.output[0]][-1]),
        "MatMul": lambda: made * weights[0],
    }
    return int(rules[node.op_type]()) if node.op_type in rules else made


def _count(shapes: dict[str, Any], name: str) -> int:
    shape = shapes.get(name) or ()
    return int(np.prod([side for side in shape if isinstance(side, int)])) if shape else 1


def _bytes(shapes: dict[str, Any], name: str) -> int:
    return 4 * _count(shapes, name)
