"""How frames of one size are looked at when small faces are searched: the whole frame, and tiles beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.infer.tiles import Size, Tile

TILES = 3  # with the whole frame they fill the four quarters of the model's input
FINER = 3.0  # times the usual picture: a face needs 20 pixels to be found for sure, so those of 7 there are
USEFUL_PX = 1.4  # pixels of the camera for one of the usual picture; below it tiles show hardly more
SMALL_PX = 22.0  # in the low picture: smaller faces are seen better in a tile
TINY_PX = 20.0  # in the usual picture: smaller faces are seen better in a tile even so
MIDDLING_PX = 40.0  # in the low picture: smaller faces are seen better in the usual one
HOPELESS_PX = 12.0  # in the low picture: smaller faces are not found in it, so that the search has to

Place = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """How frames of one size are looked at.

    Attributes:
        frame: Width and height, pixels.
        model: The model's input.
        low: Where the whole frame goes in it: left, top, width, height.
        fine: Where the tiles go.
        tile: Width and height of a tile, pixels of the frame.
        small_px: Longer side below which a face is told by tiles, pixels of the frame.
        tiny_px: The same where the choice is between a tile and the usual picture.
        middling_px: The same where the choice is between the usual picture and the low one.
        spots: Tiles that cover the frame; a face that the low picture cannot show lies whole in one of them.
    """

    frame: Size
    model: Size
    low: Place
    fine: tuple[Place, ...]
    tile: Size
    small_px: float
    tiny_px: float
    middling_px: float
    spots: tuple[Tile, ...]


def lay_out(frame: Size, usual: Size, spare: int) -> Layout | None:
    """The layout for the time of the usual picture; None when tiles would not show more than it.

    Args:
        frame: Of the camera.
        usual: Model's input for it.
        spare: Rows or columns by which the shorter side of the input is made smaller: four pictures take a little
            longer to prepare than one. 0 when the model is of fixed size.
    """
    scale = max(frame[0] / usual[0], frame[1] / usual[1])
    model = (usual[0], usual[1] - spare) if usual[0] >= usual[1] else (usual[0] - spare, usual[1])
    width, height = even(model[0] / 2), even(model[1] / 2)
    if scale < USEFUL_PX or min(width, height) < 2:
        return None
    low_scale = max(frame[0] / width, frame[1] / height)
    tile = (even(min(width * scale / FINER, frame[0])), even(min(height * scale / FINER, frame[1])))
    small_px, overlap = SMALL_PX * low_scale, HOPELESS_PX * low_scale
    if min(tile) < small_px:
        return None
    starts = [_starts(all_px, part, overlap) for all_px, part in zip(frame, tile, strict=True)]
    spots = _scattered([(x, y, *tile) for y in starts[1] for x in starts[0]])
    low, *fine = _quarters(model, (width, height))
    return Layout(frame, model, low, tuple(fine), tile, small_px, TINY_PX * scale, MIDDLING_PX * low_scale, spots)


def even(value: float) -> int:
    """The next even number below: chroma has half the rows and columns."""
    return int(value) & ~1


def _quarters(model: Size, first: Size) -> list[Place]:
    """The four quarters of an input, of which the last ones are larger where a side is no multiple of four."""
    sides = [((0, half), (half, whole - half)) for whole, half in zip(model, first, strict=True)]
    return [(x, y, width, height) for y, height in sides[1] for x, width in sides[0]]


def _starts(whole: int, part: int, overlap: float) -> list[int]:
    """Where parts begin that cover a side and overlap so much."""
    count = max(1, math.ceil((whole - overlap) / (part - overlap)))
    return [even(k * (whole - part) / max(1, count - 1)) for k in range(count)]


def _scattered(spots: list[Tile]) -> tuple[Tile, ...]:
    """In an order that soon has looked at every part of the frame."""
    count = len(spots)
    step = next(step for step in range(max(1, int(count * 0.382)), count + 1) if math.gcd(step, count) == 1)
    return tuple(spots[k * step % count] for k in range(count))
