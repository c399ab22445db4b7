"""Replaces Resize by ConvTranspose, which more accelerators have, and proves each replacement by itself.

A resize by a whole factor s is a convolution of the picture with s - 1 zeros between its pixels. Nearest is s x s ones.
Bilinear is a triangle over the neighbours; at the border the resize repeats the last pixel, so the picture is padded by
its edge first and the surplus is cut by the convolution's own padding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ModelError
from tools.models import graph
from tools.models.proof import largest_difference, run, session

if TYPE_CHECKING:
    import onnx

EXACT = 2e-7  # most that one replaced operator may differ
NEARLY = 5e-7  # with a factor like 3, whose weights are no binary fractions
PLAIN_OPSET = 11  # from here on Resize and Pad are what this module reads and writes
COORDINATES = {"asymmetric": 0.0, "half_pixel": 0.5, "pytorch_half_pixel": 0.5}  # where in a pixel its value lies


def resize_to_deconv(model: onnx.ModelProto) -> list[str]:
    """Replace every Resize of a model, in place.

    Returns:
        What was done, one line a node, with the difference that was measured.

    Raises:
        ModelError: A Resize cannot be expressed so; the message names it and says why.
    """
    found = [node for node in model.graph.node if node.op_type in {"Resize", "Upsample"}]
    if found and graph.opset(model) < PLAIN_OPSET:
        raise ModelError(f"{graph.label(found[0])}: opset {graph.opset(model)}; raise it first (--opset 13)")
    known, sizes = graph.constants(model), graph.shapes(model)
    return [_replace(model, node, known, sizes) for node in found]


def kernel(mode: str, factor: int, coordinates: str, rounding: str) -> tuple[NDArray[np.float32], int, int]:
    """Weights along one axis for enlarging by a whole factor.

    Args:
        mode: `nearest` or `linear`.
        factor: At least 2.
        coordinates: coordinate_transformation_mode of Resize.
        rounding: nearest_mode of Resize.

    Returns:
        The weights, and how much of the result is cut at its begin and end when the picture was padded by one pixel on
        each side (linear), or not at all (nearest: 0, 0).

    Raises:
        ValueError: It cannot be expressed; with the reason.
    """
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinate_transformation_mode {coordinates}")
    inside = COORDINATES[coordinates]
    places = (np.arange(-2 * factor, 3 * factor) + inside) / factor - inside  # of output pixels, in input pixels
    if mode == "nearest":
        own = _rounded(places[2 * factor : 3 * factor], rounding)
        if any(own):
            raise ValueError(f"nearest_mode {rounding} with {coordinates} at factor {factor} shifts the picture")
        return np.ones(factor, np.float32), 0, 0
    if mode != "linear":
        raise ValueError(f"mode {mode}")
    weights = np.maximum(0.0, 1.0 - np.abs(places))
    first, last = np.flatnonzero(weights > 1e-9)[[0, -1]]
    taps = weights[first : last + 1].astype(np.float32)
    begin = factor + int(2 * factor - first)
    return taps, begin, factor + len(taps) - begin


def _rounded(places: NDArray[np.float64], rounding: str) -> list[int]:
    rules = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda x: math.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    }
    if rounding not in rules:
        raise ValueError(f"nearest_mode {rounding}")
    return [rules[rounding](float(place)) for place in places]


def _replace(
    model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, NDArray[Any]], sizes: dict[str, Any]
) -> str:
    where, values = graph.label(node), graph.attributes(node)
    channels, factors = _geometry(node, known, sizes, where)
    mode = values.get("mode", "nearest")
    if values.get("antialias", 0):
        raise ModelError(f"{where}: antialias has no ConvTranspose that equals it")
    try:
        parts = [
            kernel(
                mode,
                factor,
                values.get("coordinate_transformation_mode", "half_pixel"),
                values.get("nearest_mode", "round_prefer_floor"),
            )
            for factor in factors
        ]
    except ValueError as error:
        raise ModelError(f"{where}: {error} has no ConvTranspose that equals it") from None
    made, constants = _nodes(model, node, channels, factors, parts)
    difference = _prove(model, node, made, constants, channels, where)
    index = list(model.graph.node).index(node)
    model.graph.node.remove(node)
    for offset, new in enumerate(made):
        model.graph.node.insert(index + offset, new)
    for name, value in constants.items():
        graph.add_constant(model, name, value)
    return f"{where} ({mode} x{'x'.join(map(str, factors))}): {difference:.2g}"


def _geometry(
    node: onnx.NodeProto, known: dict[str, NDArray[Any]], sizes: dict[str, Any], where: str
) -> tuple[int, tuple[int, int]]:
    """Channels and the two factors of a Resize."""
    shape = sizes.get(node.input[0])
    if shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        raise ModelError(f"{where}: the shape of {node.input[0]!r} is {shape}; four axes and known channels needed")
    scales = _scales(node, known, shape)
    if scales is None:
        raise ModelError(
            f"{where}: its scale is computed while it runs; fix the input size first (--size WIDTHxHEIGHT)"
        )
    whole = [round(scale) for scale in scales]
    if whole[:2] != [1, 1] or any(abs(a - b) > 1e-6 for a, b in zip(scales, whole, strict=True)):
        raise ModelError(f"{where}: scales {scales}; whole factors of height and width alone can be replaced")
    if min(whole[2:]) < 1 or max(whole[2:]) < 2:
        raise ModelError(f"{where}: scales {scales} do not enlarge")
    return shape[1], (whole[2], whole[3])


def _scales(node: onnx.NodeProto, known: dict[str, NDArray[Any]], shape: tuple[Any, ...]) -> list[float] | None:
    scales = known.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scales is not None and scales.size:
        return [float(value) for value in scales]
    wanted = known.get(node.input[3]) if len(node.input) > 3 else None
    if wanted is None or not all(isinstance(side, int) for side in shape):
        return None
    return [float(new) / old for new, old in zip(wanted, shape, strict=True)]


def _nodes(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    channels: int,
    factors: tuple[int, int],
    parts: list[tuple[NDArray[np.float32], int, int]],
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    helper = graph.library().helper
    name = node.name or node.output[0]
    (rows, top, bottom), (columns, left, right) = parts
    weight = graph.free_name(model, f"{name}_deconv_weight")
    constants: dict[str, NDArray[Any]] = {
        weight: np.tile(np.outer(rows, columns), (channels, 1, 1, 1)).astype(np.float32)
    }
    made, source = [], node.input[0]
    if top or left:
        pads = graph.free_name(model, f"{name}_edge")
        constants[pads] = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        padded = graph.free_name(model, f"{name}_padded")
        made.append(helper.make_node("Pad", [source, pads], [padded], name=f"{name}_pad", mode="edge"))
        source = padded
    deconv = helper.make_node(
        "ConvTranspose",
        [source, weight],
        list(node.output),
        name=f"{name}_deconv",
        group=channels,
        kernel_shape=[len(rows), len(columns)],
        strides=list(factors),
        pads=[top, left, bottom, right],
    )
    return [*made, deconv], constants


def _prove(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    made: list[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    channels: int,
    where: str,
) -> float:
    """Run old and new node alone on noise of several sizes; gives the largest difference."""
    kit = graph.library()
    known = {key: value for key, value in graph.constants(model).items() if key in node.input and value.size}
    scales = np.array([1, 1, *made[-1].attribute[[item.name for item in made[-1].attribute].index("strides")].ints])
    alone = kit.NodeProto()
    alone.CopyFrom(node)
    del alone.input[1:]
    alone.input.extend(["", "scales_of_proof"])
    known = {"scales_of_proof": scales.astype(np.float32)}
    random = np.random.default_rng(5)
    tensors = [random.random((1, channels, rows, columns), np.float32) for rows, columns in ((7, 10), (1, 3), (12, 5))]
    before = session(_alone(model, [alone], known, node))
    after = session(_alone(model, made, constants, node))
    return largest_difference(
        [run(before, {node.input[0]: item}) for item in tensors],
        [run(after, {node.input[0]: item}) for item in tensors],
        where,
        EXACT if all(int(factor) & (int(factor) - 1) == 0 for factor in scales) else NEARLY,
    )


def _alone(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], node: onnx.NodeProto
) -> onnx.ModelProto:
    """A model of these nodes alone."""
    kit = graph.library()
    values = [kit.helper.make_tensor_value_info(name, 1, None) for name in (node.input[0], node.output[0])]
    initial = [kit.numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = kit.helper.make_graph(nodes, "proof", values[:1], values[1:], initial)
    built: onnx.ModelProto = kit.helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    return built
