"""Reads, checks and writes ONNX files; what is wrong with one is said in a line that names the tensor or operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, DeviceError, ModelError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

NEED = "needs the package {}: pip install 'vedette[models]'"
REFUSALS = (
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    AttributeError,
)  # what libraries raise for a damaged graph
LINE = 300  # characters of a library's message that are passed on


def library() -> Any:
    """The package onnx.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import onnx
        import onnx.shape_inference
        import onnx.version_converter
    except ModuleNotFoundError as error:
        raise ConfigError(f"this command {NEED.format('onnx')}") from error
    return onnx


def read(path: Path) -> onnx.ModelProto:
    """A model that was checked: complete, known operators, shapes that fit each other.

    Raises:
        ConfigError: No such file, or the library is missing.
        ModelError: It is damaged, cut short, or contradicts itself; the message names the node.
    """
    kit = library()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        model: onnx.ModelProto = kit.load(str(path))
    except (DecodeError, OSError, *REFUSALS) as error:
        raise ModelError(f"{path}: not an ONNX model, or cut short: {short(error)}") from error
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model: there is no operator in it")
    check(model, str(path))
    return model


def check(model: onnx.ModelProto, where: str) -> None:
    """See that a model is sound.

    Raises:
        ModelError: It is not; the message names the node.
    """
    kit = library()
    try:
        kit.checker.check_model(model)
        kit.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (kit.checker.ValidationError, kit.shape_inference.InferenceError, *REFUSALS) as error:
        raise ModelError(f"{where}: {short(error)}") from error


def write(model: onnx.ModelProto, path: Path) -> None:
    """Check and write a model, whole or not at all.

    Raises:
        ModelError: The model is not sound.
        DeviceError: It cannot be written.
    """
    check(model, path.name)
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(model.SerializeToString())
        fresh.replace(path)
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error


def short(error: BaseException) -> str:
    """A library's message in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LINE else f"{text[:LINE]} ..."


def label(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    return f"{node.op_type} {node.name or node.output[0]!r}"


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators."""
    return next((int(item.version) for item in model.opset_import if item.domain in {"", "ai.onnx"}), 0)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node as plain values, texts decoded."""
    kit = library()
    values = {item.name: kit.helper.get_attribute_value(item) for item in node.attribute}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """All constant tensors by name: initialisers, Constant nodes, and their plain copies."""
    from onnx import numpy_helper

    found = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str | None, ...]]:
    """Shape of every tensor that is known: a number, the name of a free size, or None for each axis."""
    kit = library()
    known = kit.shape_inference.infer_shapes(model, data_prop=True).graph
    found: dict[str, tuple[int | str | None, ...]] = {item.name: tuple(item.dims) for item in model.graph.initializer}
    for item in (*known.input, *known.value_info, *known.output):
        if item.type.tensor_type.HasField("shape"):
            found[item.name] = tuple(_size(dim) for dim in item.type.tensor_type.shape.dim)
    return found


def picture(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The only input that is no constant.

    Raises:
        ModelError: There are none or several.
    """
    fixed = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in fixed]
    if len(inputs) != 1:
        raise ModelError(f"inputs {', '.join(item.name for item in inputs) or 'none'}: one expected")
    only: onnx.ValueInfoProto = inputs[0]
    return only


def readers(model: onnx.ModelProto) -> Mapping[str, list[onnx.NodeProto]]:
    """Nodes by the tensors that they read."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def free_name(model: onnx.ModelProto, wish: str) -> str:
    """A tensor name that is not taken."""
    taken = set(_names(model))
    return wish if wish not in taken else next(n for i in range(len(taken) + 1) if (n := f"{wish}_{i}") not in taken)


def _names(model: onnx.ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        yield from (*node.input, *node.output, node.name)
    yield from (item.name for item in (*model.graph.initializer, *model.graph.input))


def add_constant(model: onnx.ModelProto, name: str, value: NDArray[np.generic]) -> None:
    """Add an initialiser; the name must be free."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(value, name))


def sort(model: onnx.ModelProto) -> None:
    """Put the nodes into an order in which each comes after those that it reads, else as they are."""
    made = {name for node in model.graph.node for name in node.output}
    waiting, ready, seen = list(model.graph.node), [], set[str]()
    while waiting:
        now = [node for node in waiting if all(name in seen or name not in made for name in node.input)]
        if not now:
            raise ModelError(f"{label(waiting[0])} waits for its own result")
        taken = {id(node) for node in now}
        waiting = [node for node in waiting if id(node) not in taken]
        seen.update(name for node in now for name in node.output)
        ready += now
    copies = [type(node)() for node in ready]
    for copy, node in zip(copies, ready, strict=True):
        copy.CopyFrom(node)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _size(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) if dim.HasField("dim_param") else None
