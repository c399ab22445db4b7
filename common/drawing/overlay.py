"""What is laid over a frame before people see it: mosaics first, then boxes, then a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.drawing import draw, picture, planar
from common.drawing.marks import Ints, Mark
from common.pixels import Plane


@dataclass(frozen=True, slots=True)
class Overlay:
    """Of one picture.

    Attributes:
        marks: Boxes to draw, in pixels of the picture.
        covered: What no one may see, shape (N, 4), xyxy in pixels of the picture.
        note: For the upper right corner; none when empty.
    """

    marks: Sequence[Mark]
    covered: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    note: str = ""

    def put(self, pixels: Plane) -> None:
        """Draw on a picture, in place: BGR, or I420 as `planar` has it."""
        if pixels.ndim == 3:
            self._draw(pixels)
        else:
            planar.paint(pixels, self._area(planar.size_of(pixels)), self._draw)

    def _draw(self, canvas: Plane) -> None:
        picture.cover(canvas, self.covered)
        draw.draw(canvas, self.marks)
        if self.note:
            draw.badge(canvas, self.note)

    def _area(self, size: tuple[int, int]) -> planar.Box:
        """All that is touched, within the picture."""
        boxes = [*self.covered.tolist(), *(draw.reach(mark, size) for mark in self.marks)]
        if self.note:
            boxes.append(draw.badge_reach(self.note, size))
        if not boxes:
            return 0, 0, 0, 0
        edges = np.array(boxes)
        low, high = np.maximum(edges[:, :2].min(axis=0), 0), np.minimum(edges[:, 2:].max(axis=0), size)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])
