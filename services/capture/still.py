"""`still:photo.jpg`: a virtual camera that pans and zooms over a photograph; where each pixel went is known exactly."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.capture.numbered import NumberedSource

PATHS = ("still", "pan", "zoom", "shake")
PERIOD_S = 8.0  # of one pan or zoom, there and back


class StillSource(NumberedSource):
    """Views of a photograph: `still:photo.jpg?size=1280x720&fps=30&path=pan&frames=300`."""

    def __init__(self, address: str, settings: CameraSettings, stats: Stats, paced: bool) -> None:
        name, _, query = address.partition("?")
        wishes = dict(parse_qsl(query, keep_blank_values=True))
        unknown = set(wishes) - {"size", "fps", "path", "frames"}
        if not name or unknown or wishes.get("path", "pan") not in PATHS:
            example = "still:photo.jpg?size=1280x720&fps=30&path=pan"
            raise ConfigError(f"source 'still:{address}': like {example}; paths are {', '.join(PATHS)}")
        try:
            width, height = (int(part) & ~1 for part in wishes.get("size", "1280x720").split("x"))
            fps = settings.fps or float(wishes.get("fps", "30"))
            last = int(wishes.get("frames", "0"))
        except ValueError as error:
            raise ConfigError(f"source 'still:{address}': {error}") from None
        if width < 16 or height < 16 or fps <= 0:
            raise ConfigError(f"source 'still:{address}': {width}x{height} at {fps} fps is too small")
        super().__init__(stats, fps, last or None, paced=paced)
        self._path, self._way = Path(name).expanduser(), wishes.get("path", "pan")
        self._geometry = Geometry(width, height, PixelFormat.BGR)

    def open(self) -> Geometry:
        """Load the photograph."""
        photo = cv2.imread(str(self._path), cv2.IMREAD_COLOR) if self._path.is_file() else None
        if photo is None:
            raise DeviceError(f"{self._path}: no picture that can be read")
        self._photo = photo
        self.restart()
        return self._geometry

    def draw(self, planes: list[Plane], number: int) -> None:
        """Draw the view."""
        size = (self._geometry.width, self._geometry.height)
        cv2.warpAffine(
            self._photo, self.matrix(number), size, dst=planes[0], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )

    def matrix(self, number: int) -> NDArray[np.float64]:
        """Affine map from the photograph to view `number`, shape (2, 3): exact ground truth for boxes."""
        height, width = self._photo.shape[:2]
        return view_matrix(self._way, number / self.nominal_fps, (width, height), self._geometry)


def view_matrix(way: str, time_s: float, photo: tuple[int, int], view: Geometry) -> NDArray[np.float64]:
    """Affine map from a photograph to the view at a time.

    Args:
        way: One of PATHS.
        time_s: Seconds from the start.
        photo: Width and height of the photograph in pixels.
        view: Geometry of the view.

    Returns:
        Shape (2, 3): view pixel = matrix @ (x, y, 1).
    """
    width, height = photo
    fit = max(view.width / width, view.height / height)
    phase = math.sin(2 * math.pi * time_s / PERIOD_S)
    zoom = {"still": 1.0, "pan": 1.25, "zoom": 1.3 + 0.3 * phase, "shake": 1.25}[way]
    scale = fit * zoom
    room_x, room_y = (width * scale - view.width) / 2, (height * scale - view.height) / 2
    x, y = {
        "still": (0.0, 0.0),
        "pan": (phase, 0.6 * math.sin(4 * math.pi * time_s / PERIOD_S)),
        "zoom": (0.0, 0.0),
        "shake": (0.5 * math.sin(17.3 * time_s) * math.sin(5.1 * time_s), 0.5 * math.sin(23.7 * time_s)),
    }[way]
    return np.array([[scale, 0, -room_x * (1 + x)], [0, scale, -room_y * (1 + y)]])
