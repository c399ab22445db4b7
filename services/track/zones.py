"""Zones and masks of a camera: polygons in 0..1 of the frame, tried with one point of a face's box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from common.settings import CameraSettings

Polygon = Sequence[tuple[float, float]]
EDGE = 1e-6  # a box that touches the edge of the picture is inside of a zone that does


class Zones:
    """The named zones of a camera, and the masks in which nothing begins."""

    def __init__(self, camera: CameraSettings, point: Literal["bottom", "centre"] = "bottom") -> None:
        """Take the polygons of a camera.

        Args:
            camera: Its settings.
            point: Which point of a box must lie inside: the middle of its bottom edge, or its centre.
        """
        self._zones = camera.zones
        self._masks = camera.masks
        self._down = 1.0 if point == "bottom" else 0.5

    def at(self, box: tuple[float, float, float, float]) -> tuple[str, ...]:
        """Names of the zones that a box is in, sorted.

        Args:
            box: xywh in 0..1 of the frame.
        """
        x, y = self._point(box)
        return tuple(sorted(name for name, polygon in self._zones.items() if inside(polygon, x, y)))

    def masked(self, box: tuple[float, float, float, float]) -> bool:
        """True when a box (xywh in 0..1) is in a mask."""
        x, y = self._point(box)
        return any(inside(polygon, x, y) for polygon in self._masks)

    def _point(self, box: tuple[float, float, float, float]) -> tuple[float, float]:
        """The point of a box (xywh in 0..1) that counts, within the frame."""
        x, y, w, h = box
        return min(max(x + w / 2, EDGE), 1 - EDGE), min(max(y + self._down * h, EDGE), 1 - EDGE)


def inside(polygon: Polygon, x: float, y: float) -> bool:
    """True when a point is in a polygon: a ray to the right crosses its edges an odd number of times."""
    odd = False
    for edge in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        (x1, y1), (x2, y2) = sorted(edge, key=lambda end: end[1])  # rounding must not depend on the direction
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd
