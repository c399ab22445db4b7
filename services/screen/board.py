"""The picture that stands on the screen: one camera, or all of them in a grid, each in its place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from common.drawing import draw, picture
from common.drawing.scene import Condition, Scene
from common.pixels import Geometry, PixelFormat, Plane

GAP_PX = 4  # between two pictures of a grid


class Board:
    """Fills its picture from the scenes; only what has changed is drawn anew."""

    def __init__(self, scenes: Sequence[Scene], size: tuple[int, int]) -> None:
        """Lay the scenes out, black.

        Args:
            scenes: One for each camera that is shown.
            size: Width and height of the screen.
        """
        width, height = size
        self.picture: Plane = np.zeros((height, width, 3), np.uint8)
        places = layout(len(scenes), size)
        named = len(scenes) > 1
        self._cells = [
            Cell(scene, self.picture[y : y + h, x : x + w], named=named)
            for scene, (x, y, w, h) in zip(scenes, places, strict=True)
        ]

    def update(self) -> list[int] | None:
        """Draw what is new.

        Returns:
            Capture times of the frames that came in, monotonic; None when nothing has changed.
        """
        drawn = [captured_ns for cell in self._cells if (captured_ns := cell.update()) is not None]
        return [captured_ns for captured_ns in drawn if captured_ns] if drawn else None

    def close(self) -> None:
        """Follow the scenes no more."""
        for cell in self._cells:
            cell.close()


class Cell:
    """One camera's part of the picture."""

    def __init__(self, scene: Scene, area: Plane, *, named: bool) -> None:
        self._scene, self._area, self._named = scene, area, named
        self._drawn_ns = 0
        self._stood: Condition | None = None
        self._withdrawn = False
        scene.on_privacy.append(self._withdraw)

    def update(self) -> int | None:
        """Draw the next picture, letterboxed, or why there is none.

        Returns:
            Capture time of the frame, 0 for something else; None when nothing has changed.
        """
        why = self._scene.standing()
        if why is not None:
            return self._stand(why)
        height, width = self._area.shape[:2]
        shown = self._scene.render((width, height), self._drawn_ns)
        if shown is None:
            return self._blank() if self._withdrawn else None
        self._put(shown.pixels)
        self._drawn_ns, self._stood, self._withdrawn = shown.captured_ns, None, False
        return shown.captured_ns

    def close(self) -> None:
        """Follow the scene no more."""
        self._scene.on_privacy.remove(self._withdraw)

    def _stand(self, why: Condition) -> int | None:
        if _same(why, self._stood):
            return None
        height, width = self._area.shape[:2]
        self._area[:] = draw.placeholder((width, height), self._scene.name, why.status, why.reason)
        self._drawn_ns, self._stood, self._withdrawn = 0, why, False
        return 0

    def _withdraw(self) -> None:
        """Privacy was switched on: what stands here must not be seen until a covered picture comes."""
        self._drawn_ns, self._withdrawn = 0, True

    def _blank(self) -> int:
        self._area[:] = 0
        self._withdrawn = False
        return 0

    def _put(self, pixels: Plane) -> None:
        height, width = self._area.shape[:2]
        rows, columns = pixels.shape[:2]
        top, left = (height - rows) // 2, (width - columns) // 2
        self._area[:top], self._area[top + rows :] = 0, 0
        self._area[:, :left], self._area[:, left + columns :] = 0, 0
        inner = self._area[top : top + rows, left : left + columns]
        inner[:] = pixels
        if self._named:
            draw.caption(inner, self._scene.name)


def warm_up() -> None:
    """Load what drawing needs: the first picture of a process costs seconds where files come from a slow card."""
    frame = np.zeros((36, 64, 3), np.uint8)
    for size in ((128, 72), (32, 18)):
        pixels = picture.shrink([frame], Geometry(64, 36, PixelFormat.BGR), size)
    draw.badge(pixels, " ")


def layout(count: int, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Places (x, y, width, height) for so many pictures, as square a grid as can be, of even sizes."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    gap = GAP_PX if count > 1 else 0
    width, height = ((side - gap * (n - 1)) // n // 2 * 2 for side, n in zip(size, (columns, rows), strict=True))
    return [(column * (width + gap), row * (height + gap), width, height)
            for row, column in (divmod(index, columns) for index in range(count))]  # fmt: skip


def _same(why: Condition, before: Condition | None) -> bool:
    """True when the words are the same but for numbers, which may count on for hours."""
    plain = [
        (condition.status, "".join(sign for sign in condition.reason if not sign.isdigit()))
        for condition in (why, before)
        if condition is not None
    ]
    return len(plain) == 2 and plain[0] == plain[1]
