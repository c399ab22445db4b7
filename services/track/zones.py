"""Zones and masks of a camera: polygons in 0..1 of the frame, tried with the point where a face's box stands."""

from __future__ import annotations

from collections.abc import Sequence

from common.settings import CameraSettings

Polygon = Sequence[tuple[float, float]]
EDGE = 1e-6  # a box that touches the edge of the picture is inside of a zone that does


class Zones:
    """The named zones of a camera, and the masks in which nothing begins."""

    def __init__(self, camera: CameraSettings) -> None:
        self._zones = camera.zones
        self._masks = camera.masks

    def at(self, box: tuple[float, float, float, float]) -> tuple[str, ...]:
        """Names of the zones that the bottom centre of a box is in, sorted.

        Args:
            box: xywh in 0..1 of the frame.
        """
        x, y = foot(box)
        return tuple(sorted(name for name, polygon in self._zones.items() if inside(polygon, x, y)))

    def masked(self, box: tuple[float, float, float, float]) -> bool:
        """True when the bottom centre of a box (xywh in 0..1) is in a mask."""
        x, y = foot(box)
        return any(inside(polygon, x, y) for polygon in self._masks)


def foot(box: tuple[float, float, float, float]) -> tuple[float, float]:
    """Bottom centre of a box (xywh in 0..1), within the frame."""
    x, y, w, h = box
    return min(max(x + w / 2, EDGE), 1 - EDGE), min(max(y + h, EDGE), 1 - EDGE)


def inside(polygon: Polygon, x: float, y: float) -> bool:
    """True when a point is in a polygon: a ray to the right crosses its edges an odd number of times."""
    odd = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd
