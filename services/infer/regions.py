"""Small faces for the cost of one picture: the whole frame at half the size, and tiles near the camera's own pixels.

The four lie beside each other in one input of the model, so that a frame is one run, whatever the backend and its fixed
size. Tiles lie where small faces were last seen, and those that are left search: every spot of the frame is looked at
within a bounded number of frames. Where more small faces stand than the tiles can hold, the tiles take turns. Middling
faces are shown well neither by the small picture of the frame nor by a tile: where there are any, the usual picture is
run, and tiles now and then.

A worker goes by what it found itself: that needs no other process, and a replayed clip gives the same answer again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.pixels import Geometry, Plane
from services.infer.detector import Detections, Detector, Part
from services.infer.region_layout import TILES, Layout, even, lay_out
from services.infer.tiles import Tile, crop, longer, merge, moved, whole, within

Boxes = NDArray[np.float32]

TURNS = 2  # frames: so often tiles are looked at where there are small faces and middling ones
LIKELY = 0.5  # least score of a middling face that is worth the usual picture
NEVER = 1_000_000  # runs that a still picture waits for
FORGET = 3  # looks in vain after which a small face is given up
ROOM = 0.5  # of its size, that a face needs on each side in a tile: it moves
SEARCH_EVERY = 4  # frames: so often a tile searches though small faces want all of them
SPARE = 1  # multiples of the input's sides by which it is smaller than the usual: four pictures are prepared, not one
MOST_KNOWN = 16  # small faces whose tiles are worked out; in a crowd the rest has to wait

log = logging.getLogger(__name__)


class Look(NamedTuple):
    """What the model is given of one frame: the usual picture, or the low one and these tiles."""

    usual: bool
    tiles: list[Tile]


class Chooser:
    """Where the small faces of one camera are, and what the next frame's look is.

    Attributes:
        sweep: Frames that a search of the whole frame takes while faces stay where they are; None when the last look
            was one between others of another kind, whose answer is not like theirs.
    """

    def __init__(self, layout: Layout) -> None:
        """Know nobody yet."""
        self._layout = layout
        self._known: Boxes = np.empty((0, 4), np.float32)
        self._missed = np.empty(0, np.int64)  # looks in vain
        self._waited = np.empty(0, np.int64)  # frames without a look
        self._turn = self._next = 0
        self.sweep: int | None = 1

    def choose(self) -> Look:
        """The look at the next frame."""
        self._turn += 1
        tiny = longer(self._known) < self._layout.tiny_px
        groups = self._groups(self._known[tiny], self._waited[tiny])
        all_spots = len(self._layout.spots)
        if tiny.all():
            count = TILES - min(len(groups), TILES)
            self.sweep = math.ceil(all_spots / (count or 1 / SEARCH_EVERY))
            return self._look(groups[: TILES - (self._turn % SEARCH_EVERY == 0)])
        if self._turn % (TURNS if groups else SEARCH_EVERY):
            self.sweep = NEVER if groups else SEARCH_EVERY * math.ceil(all_spots / TILES)
            return Look(True, [])
        self.sweep = NEVER if groups else None
        return self._look(groups[:TILES])

    def learn(self, found: Detections, look: Look) -> None:
        """Take what was found with a look: smaller faces are known from now on, until looks at them are in vain."""
        layout, sides = self._layout, longer(found.boxes)
        middling = (sides < layout.middling_px) & (found.scores >= LIKELY)
        fresh = found.boxes[(sides < layout.tiny_px) | middling]
        sides = longer(self._known)
        looked = (sides >= layout.tiny_px) & look.usual
        for tile in look.tiles:
            looked |= within(self._known, tile) & (sides < layout.small_px)
        missed, waited = self._missed + looked, np.where(looked, 0, self._waited + 1)
        stay = (missed < FORGET) & ~_met(self._known, fresh)
        self._known = np.concatenate((fresh, self._known[stay]))
        self._missed, self._waited = (
            np.concatenate((np.zeros(len(fresh), np.int64), kept[stay])) for kept in (missed, waited)
        )

    def _look(self, tiles: list[Tile]) -> Look:
        """These tiles; those that are left search."""
        spots, count = self._layout.spots, TILES - len(tiles)
        search = [spots[(self._next + k) % len(spots)] for k in range(count)]
        self._next = (self._next + count) % len(spots)
        return Look(False, tiles + search)

    def _groups(self, faces: Boxes, waited: NDArray[np.int64]) -> list[Tile]:
        """Tiles that hold these faces with some room, those that have waited longest first."""
        left = faces[np.lexsort((longer(faces), -waited))[:MOST_KNOWN]]
        tiles = []
        while len(left):
            rows, tile = _gather(left.tolist(), self._layout)
            tiles.append(tile)
            left = np.delete(left, rows, axis=0)
        return tiles


class Regions:
    """The small faces of one camera, in one worker; takes the detector's place for it."""

    def __init__(self, detector: Detector) -> None:
        """Take a detector."""
        self._detector = detector
        self._geometry: Geometry | None = None
        self._layout: Layout | None = None
        self._chooser: Chooser | None = None

    @property
    def sweep(self) -> int | None:
        """Runs that must agree before nothing is left to be found in a still picture; None: the last does not count."""
        return 0 if self._chooser is None else self._chooser.sweep

    def prepare(self, geometry: Geometry) -> None:
        """Make buffers for a geometry, as `Detector.prepare`, for all looks."""
        self._detector.prepare(geometry)
        layout = self._lay_out(geometry)
        if layout is None:
            source = f"{geometry.width}x{geometry.height}"
            width, height = self._detector.input_size(geometry)
            log.warning("regions change nothing frame=%s model=%dx%d: see docs/models.md", source, width, height)
            return
        tile = Geometry(*layout.tile, geometry.pixel_format)
        self._detector.prepare_parts([(geometry, layout.low), *((tile, place) for place in layout.fine)], layout.model)

    def detect(self, planes: Sequence[Plane], geometry: Geometry) -> Detections:
        """Faces in the next frame of the camera.

        Args:
            planes: Views of the frame's planes.
            geometry: Of the frame.

        Raises:
            ModelError: As `Detector.prepare`.
            DeviceError: The accelerator failed.
        """
        if geometry != self._geometry:
            self._geometry, self._layout = geometry, self._lay_out(geometry)
            self._chooser = None if self._layout is None else Chooser(self._layout)
        if self._layout is None or self._chooser is None:
            return self._detector.detect(planes, geometry)
        look = self._chooser.choose()
        if look.usual:
            found = self._detector.detect(planes, geometry)
        else:
            found = self._look(self._layout, planes, geometry, look.tiles)
        self._chooser.learn(found, look)
        return found

    def _look(self, layout: Layout, planes: Sequence[Plane], geometry: Geometry, tiles: list[Tile]) -> Detections:
        """The whole frame and tiles by one run, as one answer."""
        tile = Geometry(*layout.tile, geometry.pixel_format)
        parts = [Part(planes, geometry, layout.low)]
        parts += [Part(crop(planes, at), tile, place) for at, place in zip(tiles, layout.fine, strict=True)]
        low, *fine = self._detector.detect_parts(parts, layout.model)
        pairs = zip(fine, tiles, strict=True)
        return merge(low, [whole(moved(found, at), at, layout.frame, layout.small_px) for found, at in pairs])

    def _lay_out(self, geometry: Geometry) -> Layout | None:
        detector = self._detector
        spare = 0 if detector.fixed_size else SPARE * detector.multiple
        return lay_out((geometry.width, geometry.height), detector.input_size(geometry), spare)


def _gather(faces: list[list[float]], layout: Layout) -> tuple[list[int], Tile]:
    """Rows of the faces that fit with some room into a tile with the first one, nearest first, and that tile."""
    first, (width, height), rows = faces[0], layout.tile, [0]
    hull = _roomy(first, layout)
    for row in sorted(range(1, len(faces)), key=lambda k: abs(faces[k][0] - first[0]) + abs(faces[k][1] - first[1])):
        x1, y1, x2, y2 = _roomy(faces[row], layout)
        wider = min(hull[0], x1), min(hull[1], y1), max(hull[2], x2), max(hull[3], y2)
        if wider[2] - wider[0] <= width and wider[3] - wider[1] <= height:
            rows.append(row)
            hull = wider
    x = min(max((hull[0] + hull[2] - width) / 2, 0), layout.frame[0] - width)
    y = min(max((hull[1] + hull[3] - height) / 2, 0), layout.frame[1] - height)
    return rows, (even(x), even(y), width, height)


def _roomy(face: list[float], layout: Layout) -> tuple[float, float, float, float]:
    """A face and some room around it, in the frame."""
    x1, y1, x2, y2 = face
    room = ROOM * max(x2 - x1, y2 - y1)
    return max(x1 - room, 0), max(y1 - room, 0), min(x2 + room, layout.frame[0]), min(y2 + room, layout.frame[1])


def _met(known: Boxes, found: Boxes) -> NDArray[np.bool_]:
    """Which of the known boxes are a face that was found, perhaps a little further."""
    away = np.abs((known[:, None, :2] + known[:, None, 2:]) - (found[None, :, :2] + found[None, :, 2:])) / 2
    near: NDArray[np.bool_] = np.all(away <= 2 * longer(known)[:, None, None], axis=2)
    return np.asarray(near.any(axis=1))
