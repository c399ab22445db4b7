"""What every backend asks of a model's input: one picture of three channels, in a batch of one."""

from __future__ import annotations

from collections.abc import Sequence

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


def tensor_shape(size: tuple[int, int], layout: str) -> tuple[int, int, int, int]:
    """Shape of the input for a width and height."""
    width, height = size
    return (1, 3, height, width) if layout == "nchw" else (1, height, width, 3)


def check_size(name: str, tensor: str, fixed: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """A model of fixed size takes no other.

    Raises:
        ModelError: Another was asked for.
    """
    if fixed not in {None, size}:
        raise ModelError(f"{name}: input {tensor!r} is fixed to {fixed}, not {size}")
