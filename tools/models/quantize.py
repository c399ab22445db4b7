"""Makes int8 models, calibrated on the user's own frames: by channel, by tensor, or mixed with heads in float.

The quantised graphs carry QuantizeLinear and DequantizeLinear nodes (QDQ), which ONNX Runtime and many
NPU compilers fuse.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, ModelError
from tools.models import graph
from tools.models.adapt import to_opset
from tools.models.proof import runtime_errors
from tools.models.simplify import quiet

if TYPE_CHECKING:
    import onnx

VARIANTS = ("per-channel", "per-tensor", "mixed")
METHODS = ("minmax", "entropy", "percentile")
LOWEST_OPSET = 13  # from here on QuantizeLinear knows channels
WORK = {"Conv", "ConvTranspose", "Gemm", "MatMul"}

Variant = Literal["per-channel", "per-tensor", "mixed"]
Tensor = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to quantise.

    Attributes:
        variant: Scales of the weights by channel or by tensor; mixed is by channel with the heads in float.
        method: How the ranges of the activations follow from the calibration.
        exclude: Names of further nodes that stay float.
        reduced: Weights of 7 bits: for x86 processors without VNNI, whose 16 bit sums would overflow.
    """

    variant: Variant = "per-channel"
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    exclude: tuple[str, ...] = ()
    reduced: bool = False


def quantize(source: Path, out: Path, recipe: Recipe, tensors: Sequence[Tensor]) -> str:
    """Write an int8 model; returns what was done.

    Args:
        source: A float32 model.
        out: The file to write.
        recipe: How.
        tensors: Inputs of the model, for calibration; their sizes may differ.

    Raises:
        ConfigError: No such node, or no tensors.
        ModelError: It is quantised already, or an operator cannot be; the message names it.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if not tensors:
        raise ConfigError("no pictures to calibrate with")
    model = prepared(source)
    heads = float_nodes(model, recipe)
    methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vedette-quantize-") as work:
        ready = Path(work, "ready.onnx")
        graph.write(model, ready)
        try:
            with quiet():
                quantize_static(
                    str(ready),
                    str(out),
                    _Reader(graph.picture(model).name, tensors),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=recipe.variant != "per-tensor",
                    reduce_range=recipe.reduced,
                    nodes_to_exclude=heads,
                    calibrate_method=CalibrationMethod[methods[recipe.method]],
                )
        except (*graph.REFUSALS, *runtime_errors()) as error:
            raise ModelError(f"{source.name} cannot be quantised ({recipe.variant}): {graph.short(error)}") from error
    made = graph.read(out)
    pairs = sum(node.op_type == "QuantizeLinear" for node in made.graph.node)
    return f"{recipe.variant}, {recipe.method}, {len(tensors)} pictures, {pairs} tensors int8, {len(heads)} nodes float"


def prepared(source: Path) -> onnx.ModelProto:
    """A float32 model with names for all nodes and operators that can be quantised.

    Raises:
        ModelError: It is quantised already, or has nothing to quantise.
    """
    model = graph.read(source)
    quantised = [node for node in model.graph.node if "Quant" in node.op_type or "QLinear" in node.op_type]
    if quantised:
        raise ModelError(f"{source.name} is quantised already: {graph.label(quantised[0])}")
    if not any(node.op_type in WORK for node in model.graph.node):
        raise ModelError(f"{source.name} has none of {', '.join(sorted(WORK))}: there is nothing to quantise")
    if graph.opset(model) < LOWEST_OPSET:
        model = to_opset(model, LOWEST_OPSET)
    return _preprocessed(model, source.name)


def float_nodes(model: onnx.ModelProto, recipe: Recipe) -> list[str]:
    """Names of the nodes that stay float.

    Raises:
        ConfigError: A node to exclude is not there.
    """
    names = {node.name for node in model.graph.node}
    missing = [name for name in recipe.exclude if name not in names]
    if missing:
        some = ", ".join(sorted(node.name for node in model.graph.node if node.op_type in WORK)[:8])
        raise ConfigError(f"--exclude {missing[0]!r}: no such node; some there are: {some}")
    heads = head_nodes(model) if recipe.variant == "mixed" else []
    return [*dict.fromkeys([*recipe.exclude, *heads])]


def head_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the last convolutions of every output and of all that comes after them."""
    made = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, None] = {}
    waiting = [item.name for item in model.graph.output]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        found[node.name] = None
        if node.op_type not in WORK:
            waiting += list(node.input)
    return list(found)


def _preprocessed(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Fused and folded as quantisation wants it, every node with a name."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="vedette-quantize-") as work:
        before, after = Path(work, "before.onnx"), Path(work, "after.onnx")
        before.write_bytes(model.SerializeToString())
        try:
            with quiet():
                quant_pre_process(str(before), str(after), skip_symbolic_shape=True)
        except (*graph.REFUSALS, *runtime_errors()) as error:
            raise ModelError(f"{where}: cannot be prepared for quantisation: {graph.short(error)}") from error
        made = graph.read(after)
    for index, node in enumerate(made.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return made


class _Reader:
    """Calibration tensors, as ONNX Runtime reads them."""

    def __init__(self, name: str, tensors: Sequence[Tensor]) -> None:
        self._name, self._tensors = name, tensors
        self._next: Iterator[Tensor] = iter(tensors)

    def get_next(self) -> dict[str, Any] | None:
        """The next input, or None after the last."""
        item = next(self._next, None)
        return None if item is None else {self._name: item}

    def rewind(self) -> None:
        """Begin again."""
        self._next = iter(self._tensors)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        item = self.get_next()
        if item is None:
            raise StopIteration
        return item

    def __len__(self) -> int:
        return len(self._tensors)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with some of them only."""
        self._next = iter(self._tensors[start_index:end_index])
