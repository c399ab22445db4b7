"""Where the picture lies in the model's input, and the exact way back to the camera's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A picture of `source` size, scaled to `inner` size, at (left, top) of a model input of `model` size.

    Sizes are (width, height) in pixels. The inner size is even, so that subsampled chroma planes fit it; the two axes
    therefore have scales of their own, and the way back uses those.
    """

    source: tuple[int, int]
    model: tuple[int, int]
    inner: tuple[int, int]
    left: int
    top: int

    def to_source(self, points: Points) -> Points:
        """Model coordinates as coordinates of the camera's picture.

        Args:
            points: Shape (N, 2 * k), x and y in turn, pixels of the model input.

        Returns:
            Same shape, pixels of the source, not clipped.
        """
        shift, scale = self._affine(points.shape[1])
        moved: Points = (points - shift) / scale
        return moved

    def to_model(self, points: Points) -> Points:
        """The other way round, same shapes."""
        shift, scale = self._affine(points.shape[1])
        moved: Points = points * scale + shift
        return moved

    def _affine(self, columns: int) -> tuple[Points, Points]:
        pairs = columns // 2
        scale = (self.inner[0] / self.source[0], self.inner[1] / self.source[1])
        return np.array((self.left, self.top) * pairs, np.float32), np.array(scale * pairs, np.float32)


def model_size(source: tuple[int, int], longer: int, multiple: int) -> tuple[int, int]:
    """Input size for a camera: its aspect at the wished size, rounded up to what the model takes.

    Args:
        source: Width and height of the camera's picture.
        longer: Wished size of the longer side (`infer.width`), pixels.
        multiple: Both sides are multiples of this.

    Returns:
        Width and height: 1280x720 at 640 gives 640x384.
    """
    scale = longer / max(source)
    width, height = (max(multiple, -(-round(side * scale) // multiple) * multiple) for side in source)
    return width, height


def fit(source: tuple[int, int], model: tuple[int, int]) -> Letterbox:
    """The largest picture of the source's aspect in the middle of the model's input."""
    scale = min(model[0] / source[0], model[1] / source[1])
    width, height = (
        min(room - room % 2, max(2, 2 * round(side * scale / 2))) for side, room in zip(source, model, strict=True)
    )
    return Letterbox(source, model, (width, height), (model[0] - width) // 2, (model[1] - height) // 2)
