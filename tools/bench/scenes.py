"""The situations in which trackers of faces differ: who moves how, in front of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from common.errors import ConfigError
from tools.bench.scenery import LEAST_PX, SURE, Boxes, Picture, Piece, Place, Scene, Still, cut

SIZE = (1280, 720)
Path = Callable[[float], Place | None]


@dataclass(frozen=True, slots=True)
class Stock:
    """What scenes are made of.

    Attributes:
        stills: Photographs with faces.
        plain: Photographs without.
        random: Source of everything that a seed decides.
    """

    stills: Sequence[Still]
    plain: Sequence[Picture]
    random: np.random.Generator

    def heads(self, paths: Sequence[Path]) -> tuple[Piece, ...]:
        """A different head for each path, as far as there are enough."""
        best = [
            (still, row)
            for still in self.stills
            for row in range(len(still.scores))
            if still.scores[row] >= SURE and still.boxes[row, 2] - still.boxes[row, 0] >= LEAST_PX
        ]
        if not best:
            raise ConfigError(f"the stills have no face of score {SURE} and {LEAST_PX} pixels of 1280")
        order = self.random.permutation(len(best))
        return tuple(Piece(*cut(*best[order[k % len(best)]]), path) for k, path in enumerate(paths))

    def groups(self) -> list[Still]:
        """Stills with several faces, most first."""
        groups = [still for still in self.stills if len(still.scores) >= 3]
        return sorted(groups, key=lambda still: -len(still.scores))

    def wall(self) -> Picture:
        """A background without faces: soft patches of colour."""
        patches = self.random.uniform(30, 220, (6, 10, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(patches, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def steady(_: float) -> Place:
    """A camera that looks at all of a background of the clip's size."""
    return SIZE[0] / 2, SIZE[1] / 2, 1.0


def pan(stock: Stock, fps: float, frames: int) -> Scene:
    """A camera that pans and zooms over a group."""
    groups = stock.groups()
    still = groups[int(stock.random.integers(len(groups)))]
    height, width = still.picture.shape[:2]
    fit = max(SIZE[0] / width, SIZE[1] / height) * 1.25
    middle = float(still.boxes[:, [1, 3]].mean())
    turn = stock.random.uniform(0.9, 1.3, 3)

    def camera(time_s: float) -> Place:
        scale = fit * (1.0 + 0.15 * math.sin(turn[0] * time_s))
        room, half = (width - SIZE[0] / scale) / 2, SIZE[1] / scale / 2
        x = width / 2 + room * math.sin(turn[1] * time_s)
        y = middle + 0.2 * half * math.sin(1.7 * turn[2] * time_s)
        return x, min(max(y, half), height - half), scale

    return Scene(still.picture, still.boxes, (), camera, fps, frames)


def tour(stock: Stock) -> Scene:
    """A camera that pans along several groups and back: faces are away for seconds."""
    parts, boxes, left = [], [], 0
    for still in stock.groups()[:4]:
        scale = SIZE[1] / still.picture.shape[0]
        part = cv2.resize(still.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes.append(still.boxes * scale + [left, 0, left, 0])
        left += part.shape[1]
        parts.append(part)
    room = (left - SIZE[0]) / 2
    turn = stock.random.uniform(0.3, 0.4)
    fixed = np.concatenate(boxes)
    return Scene(
        np.asarray(np.hstack(parts), np.uint8),
        fixed,
        (),
        lambda t: (left / 2 + room * math.sin(turn * t), SIZE[1] / 2, 1.0),
        frames=600,
    )


def wandering(stock: Stock, count: int, widths: tuple[float, float], speed: tuple[float, float]) -> list[Path]:
    """Paths all over the picture, each a sum of two waves a direction.

    Args:
        stock: Random source.
        count: How many.
        widths: Smallest and largest face, px.
        speed: Smallest and largest mean speed, px a second.
    """

    def path() -> Path:
        r = stock.random
        width = r.uniform(*widths)
        rate = r.uniform(*speed) * math.sqrt(2) / (0.3 * (SIZE[0] + SIZE[1]) / 2)
        rates, phases = rate * r.uniform(0.6, 1.4, (2, 2)), r.uniform(0, 2 * math.pi, (2, 2))

        def place(time_s: float) -> Place:
            wave = (0.7 * np.sin(rates[0] * time_s + phases[0]) + 0.3 * np.sin(2.3 * rates[1] * time_s + phases[1])) / 2
            x, y = np.array(SIZE) / 2 + wave * (np.array(SIZE) - 1.6 * width)
            return float(x), float(y), float(width)

        return place

    return [path() for _ in range(count)]


def own(stock: Stock, speed: tuple[float, float]) -> Scene:
    """Faces that move on their own, at five frames a second; speeds in pixels a second."""
    paths = wandering(stock, 6, (70, 120), speed)
    return Scene(stock.wall(), NOBODY, stock.heads(paths), steady, 5.0, 150)


def leaving(stock: Stock, away_s: tuple[float, float], frames: int) -> Scene:
    """Faces that go out at a side and come back after a while."""

    def path(row: int) -> Path:
        r = stock.random
        width, away, speed = r.uniform(70, 110), r.uniform(*away_s), r.uniform(90, 200)
        inside = r.uniform(1.5, 3.0)
        period, start = away + inside, r.uniform(0, 3)
        y, left = 90 + 540 * row / 5, row % 2 == 0

        def place(time_s: float) -> Place | None:
            phase = (time_s + start) % period
            if phase >= inside:
                return None
            depth = speed * min(phase, inside - phase) - 0.4 * width
            return (depth if left else SIZE[0] - depth), y + 12 * math.sin(1.3 * time_s + row), width

        return place

    return Scene(stock.wall(), NOBODY, stock.heads([path(row) for row in range(6)]), steady, frames=frames)


def crossing(stock: Stock) -> Scene:
    """Faces that walk past each other and behind pillars, hidden for 9 to 50 frames."""

    def path(row: int) -> Path:
        r = stock.random
        width, speed, phase = r.uniform(70, 110), r.uniform(0.35, 0.8), r.uniform(0, 2 * math.pi)
        y = 160 + 400 * (row // 2) / 3 + r.uniform(-25, 25)

        def place(time_s: float) -> Place:
            x = SIZE[0] / 2 + 540 * math.sin(speed * time_s + phase)
            return x, y + 18 * math.sin(2.1 * time_s + row), width

        return place

    heads = stock.heads([path(row) for row in range(8)])
    pillars = tuple(_pillar(stock, SIZE[0] * (k + 1) / 4, stock.random.uniform(90, 190)) for k in range(3))
    return Scene(stock.wall(), NOBODY, heads + pillars, steady, frames=450)


def small(stock: Stock, speed: tuple[float, float]) -> Scene:
    """Small faces; speeds in pixels a second."""
    return Scene(stock.wall(), NOBODY, stock.heads(wandering(stock, 8, (16, 28), speed)), steady)


def far(stock: Stock, count: int, near: int = 0) -> Scene:
    """Faces so far away that they are 10 to 20 pixels wide, and perhaps some that are near."""
    paths = wandering(stock, count, (10, 20), (30, 120)) + wandering(stock, near, (60, 110), (60, 160))
    return Scene(stock.wall(), NOBODY, stock.heads(paths), steady)


def dark(stock: Stock) -> Scene:
    """Darkness and noise."""
    heads = stock.heads(wandering(stock, 5, (60, 110), (40, 120)))
    return Scene(stock.wall(), NOBODY, heads, steady, gain=0.16, noise=9.0)


def empty(stock: Stock) -> Scene:
    """Nobody, but things that look like faces."""
    if not stock.plain:
        raise ConfigError("the scene 'empty' needs --plain: photographs without faces")
    parts = [cv2.resize(part, (640, 480)) for part in stock.plain]
    picture = np.asarray(np.hstack(parts), np.uint8)
    room = (picture.shape[1] - SIZE[0] / 1.5) / 2
    turn = stock.random.uniform(0.3, 0.5)
    return Scene(
        picture,
        NOBODY,
        (),
        lambda t: (picture.shape[1] / 2 + room * math.sin(turn * t), 240 + 10 * math.sin(3 * t), 1.5),
        frames=600,
    )


def crowd(stock: Stock) -> Scene:
    """Thirty-seven faces, close together."""
    spots = [(110 + 130 * (k % 9) + 40 * (k // 9 % 2), 110 + 140 * (k // 9)) for k in range(37)]

    def path(spot: tuple[float, float]) -> Path:
        r = stock.random
        width, rates, phases = r.uniform(42, 72), r.uniform(0.3, 0.9, 2), r.uniform(0, 2 * math.pi, 2)

        def place(time_s: float) -> Place:
            x, y = np.array(spot) + (85.0, 45.0) * np.sin(rates * time_s + phases)
            return float(x), float(y), float(width)

        return place

    return Scene(stock.wall(), NOBODY, stock.heads([path(spot) for spot in spots]), steady)


def mosaic(stock: Stock) -> Scene:
    """A camera that pans and zooms over a wall of photographs with all their faces, small."""
    tiles, boxes = [], []
    for k, still in enumerate(stock.stills[:16]):
        scale = min(560 / still.picture.shape[1], 400 / still.picture.shape[0])
        tile = np.zeros((400, 560, 3), np.uint8)
        part = cv2.resize(still.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tile[: part.shape[0], : part.shape[1]] = part
        tiles.append(tile)
        boxes.append(still.boxes * scale + np.tile([560 * (k % 4), 400 * (k // 4)], 2))
    tiles += [np.zeros((400, 560, 3), np.uint8)] * (-len(tiles) % 4)
    rows = [np.hstack(tiles[k : k + 4]) for k in range(0, len(tiles), 4)]
    wall = np.asarray(np.vstack(rows), np.uint8)
    turn = stock.random.uniform(0.7, 1.1, 2)
    x, y = wall.shape[1] / 2, wall.shape[0] / 2

    def camera(t: float) -> Place:
        return x + 300 * math.sin(turn[0] * t), y + 180 * math.sin(1.4 * turn[1] * t), 0.75 + 0.1 * math.sin(0.9 * t)

    return Scene(wall, np.concatenate(boxes), (), camera)


def _pillar(stock: Stock, x: float, width: float) -> Piece:
    """Something upright that hides whoever is behind it."""
    grey = stock.random.uniform(40, 160)
    picture = np.full((SIZE[1], int(width), 3), grey, np.uint8)
    picture[:, ::16] = int(grey * 0.8)
    box = np.array([0.0, 0.0, int(width), SIZE[1]])
    return Piece(picture, np.ones(picture.shape[:2], np.float32), box, lambda _: (x, SIZE[1] / 2, int(width)), False)


NOBODY: Boxes = np.empty((0, 4))
SCENES: dict[str, Callable[[Stock], Scene]] = {
    "pan30": lambda stock: pan(stock, 30.0, 300),
    "pan5": lambda stock: pan(stock, 5.0, 150),
    "tour": tour,
    "own5": lambda stock: own(stock, (120, 300)),
    "ownfast5": lambda stock: own(stock, (300, 600)),
    "return1": lambda stock: leaving(stock, (0.3, 0.9), 450),
    "return4": lambda stock: leaving(stock, (1.2, 4.0), 600),
    "crossing": crossing,
    "small": lambda stock: small(stock, (90, 240)),
    "smallfast": lambda stock: small(stock, (360, 900)),
    "far1": lambda stock: far(stock, 1),
    "far4": lambda stock: far(stock, 4),
    "far8": lambda stock: far(stock, 8),
    "farnear": lambda stock: far(stock, 3, 2),
    "dark": dark,
    "empty": empty,
    "crowd": crowd,
    "mosaic": mosaic,
}
