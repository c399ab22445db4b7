"""Checks of a model's outputs against what a decoder reads, and the grids that go with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.errors import ModelError
from services.infer.decoders.table import Shapes


def need(shapes: Shapes, name: str, expected: tuple[int, ...], decoder: str) -> None:
    """The output must be there in this shape.

    Raises:
        ModelError: It is not; the message names it.
    """
    if name not in shapes:
        raise ModelError(f"decoder {decoder}: output {name!r} is missing; the model has {', '.join(shapes)}")
    if tuple(shapes[name]) != expected:
        raise ModelError(f"decoder {decoder}: output {name!r} has shape {tuple(shapes[name])}, {expected} expected")


def only(shapes: Shapes, count: int, decoder: str) -> list[str]:
    """Names of the outputs, which must be so many.

    Raises:
        ModelError: More or fewer.
    """
    if len(shapes) != count:
        raise ModelError(f"decoder {decoder}: outputs {', '.join(shapes)}; {count} expected")
    return list(shapes)


def cells(size: tuple[int, int], stride: int, repeat: int = 1) -> NDArray[np.float32]:
    """Column and row of each cell of a feature map, row by row.

    Args:
        size: Width and height of the model input.
        stride: Pixels a cell.
        repeat: Rows of the output a cell (its anchors).

    Returns:
        Shape (rows * columns * repeat, 2), x before y, float32.
    """
    columns, rows = -(-size[0] // stride), -(-size[1] // stride)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    return np.repeat(grid, repeat, axis=0).astype(np.float32)
