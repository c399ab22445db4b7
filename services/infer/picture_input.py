"""What every backend asks of a model's input and outputs: pictures of three channels, in a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from common.errors import ModelError

AXES = {"nchw": ("batch", "channels", "height", "width"), "nhwc": ("batch", "height", "width", "channels")}


def fixed_size(where: str, shape: Sequence[object], layout: str) -> tuple[int, int] | None:
    """Width and height that an input is fixed to; None when it takes any.

    Args:
        where: File, name and type of the input, for messages.
        shape: Its axes; what is not a positive number is free.
        layout: Order of the axes, `nchw` or `nhwc`.

    Raises:
        ModelError: It is no picture.
    """
    axes = AXES[layout]
    if len(shape) != 4:
        raise ModelError(f"{where}; four axes ({', '.join(axes)}) expected")
    sizes = {axis: size if isinstance(size, int) and size > 0 else 0 for axis, size in zip(axes, shape, strict=True)}
    if sizes["channels"] not in {0, 3}:
        raise ModelError(f"{where}; 3 channels on axis {axes.index('channels')} expected (layout {layout})")
    if sizes["batch"] not in {0, 1}:
        raise ModelError(f"{where}; a batch of 1 expected")
    return (sizes["width"], sizes["height"]) if sizes["width"] and sizes["height"] else None


def tensor_shape(size: tuple[int, int], layout: str, batch: int = 1) -> tuple[int, int, int, int]:
    """Shape of the input for a width and height, and so many pictures."""
    width, height = size
    return (batch, 3, height, width) if layout == "nchw" else (batch, height, width, 3)


def check_batch(where: str, shape: Sequence[object], batch: int) -> None:
    """A model whose batch axis is fixed takes one picture at a time.

    Args:
        where: File and name of the input, for messages.
        shape: Its axes, the batch first; what is not a positive number is free.
        batch: Pictures in one run that were asked for.

    Raises:
        ModelError: More than one, of a model that takes one.
    """
    first = shape[0] if shape else None
    if batch > 1 and isinstance(first, int) and first > 0:
        raise ModelError(
            f"{where} has a batch axis that is fixed to {first}, so infer.max_batch={batch} cannot be: set it to 1, or "
            "use a file whose batch axis is free (`vedette models pull NAME --force` fetches a known model anew)"
        )


def check_outputs(name: str, outputs: Mapping[str, NDArray[Any]], batch: int) -> None:
    """Outputs of several pictures have one row for each.

    Raises:
        ModelError: One has not: somewhere inside, the graph is made for a single picture.
    """
    for key, value in outputs.items():
        if batch > 1 and (not value.ndim or value.shape[0] != batch):
            raise ModelError(
                f"{name}: output {key!r} has shape {value.shape} for {batch} pictures, so it takes one at a time: "
                "set infer.max_batch to 1"
            )


def check_size(name: str, tensor: str, fixed: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """A model of fixed size takes no other.

    Raises:
        ModelError: Another was asked for.
    """
    if fixed not in {None, size}:
        raise ModelError(f"{name}: input {tensor!r} is fixed to {fixed}, not {size}")
