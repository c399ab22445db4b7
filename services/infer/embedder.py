"""What tells one face from another: a vector of each face, alike for pictures of one person.

Source:
    Deng et al. 2019, arXiv:1801.07698 (five points of the face laid on a template of 112x112); Zhong et al. 2022,
    arXiv:2205.12010 (SFace, the model that `vedette models pull sface` gets).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from common.config import cache_dir
from common.drawing.picture import shrink
from common.errors import ModelError
from common.pixels import Geometry, Plane
from common.settings import InferSettings
from services.infer.backends import load_backend
from services.infer.manifest import find_model
from services.infer.plugin import load_class

Vector = NDArray[np.float32]

SIDE: Final = 112  # pixels of an aligned face
TEMPLATE: Final = np.array(  # where eyes, nose and mouth corners come to lie
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
DECODER: Final = "embedding"  # of the manifest's rows that are no detectors


class Embedder(Protocol):
    """A plug-in: `infer.embedder: module:Class`, made with the settings of infer."""

    def embed(self, face: Plane) -> Vector:
        """The vector of a face.

        Args:
            face: Aligned, shape (112, 112, 3), BGR.

        Returns:
            Shape (d,), float32, d always the same; compared by the cosine of the angle between two.

        Raises:
            DeviceError: The accelerator failed.
        """


class OnnxEmbedder:
    """A recognition model run by the backend of the settings."""

    def __init__(self, settings: InferSettings) -> None:
        """Load it.

        Raises:
            ConfigError: A wrong name.
            DeviceError: The model file is not there; the message says how to get it.
            ModelError: The file cannot be run, or gives no vector.
        """
        spec, path = find_model(settings.embedder or "", cache_dir() / "models", "infer.embedder")
        if spec.decoder != DECODER:
            raise ModelError(f"its decoder is {spec.decoder!r}, {DECODER!r} expected")
        self._input = spec.input
        alone = dataclasses.replace(settings, max_batch=1)
        self._bound = load_backend(Path(path), alone, spec.input.layout).bind((SIDE, SIDE))
        outputs = list(self._bound.outputs.values())
        if len(outputs) != 1 or outputs[0].size != outputs[0].shape[-1]:
            raise ModelError(f"outputs {[output.shape for output in outputs]}, one vector expected")
        self._output = outputs[0]

    def embed(self, face: Plane) -> Vector:
        """See `Embedder`."""
        pixels = face[..., ::-1] if self._input.colour == "rgb" else face
        values = (pixels.astype(np.float32) - np.array(self._input.mean, np.float32)) * np.float32(self._input.scale)
        chw = values.transpose(2, 0, 1)[None] if self._input.layout == "nchw" else values[None]
        self._bound.tensor[...] = chw
        self._bound.run()
        return self._output.reshape(-1).astype(np.float32)


def load_embedder(settings: InferSettings) -> Embedder:
    """The embedder of `infer.embedder`: a model by name or path, or a class of somebody else.

    Raises:
        ConfigError: No such name or class.
        DeviceError: The model file is not there.
        ModelError: It cannot be run.
    """
    name = settings.embedder or ""
    made: Any = load_class(name, {}, "infer.embedder") if ":" in name else OnnxEmbedder
    embedder: Embedder = made(settings)
    return embedder


def align(planes: Sequence[Plane], geometry: Geometry, landmarks: NDArray[np.float32]) -> Plane | None:
    """A face turned upright and scaled, cut out of a frame.

    Args:
        planes: Of the frame, only read.
        geometry: Of the frame.
        landmarks: x and y of eyes, nose and mouth corners in pixels of the frame, shape (10,).

    Returns:
        Shape (112, 112, 3), BGR; None when the points are no face, or it lies outside.
    """
    matrix = _similarity(landmarks.reshape(5, 2).astype(np.float64), TEMPLATE)
    if matrix is None:
        return None
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) - matrix[:, 2]
    around = corners @ np.linalg.inv(matrix[:, :2]).T
    size = np.array([geometry.width, geometry.height])
    x0, y0 = (np.clip(around.min(axis=0), 0, size).astype(int) // 2 * 2).tolist()
    x1, y1 = (np.clip(np.ceil(around.max(axis=0)) + 1, 0, size).astype(int) // 2 * 2).tolist()
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    part = Geometry(x1 - x0, y1 - y0, geometry.pixel_format)
    cut = [
        plane[y0 * plane.shape[0] // geometry.height : y1 * plane.shape[0] // geometry.height,
              x0 * plane.shape[1] // geometry.width : x1 * plane.shape[1] // geometry.width]
        for plane in planes
    ]  # fmt: skip
    picture = shrink([np.ascontiguousarray(plane) for plane in cut], part, (part.width, part.height))
    matrix[:, 2] += matrix[:, :2] @ (x0, y0)
    return np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)


def _similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Turn, scale and shift that bring points nearest to others, shape (2, 3); None when they are one point.

    Source:
        Umeyama 1991, "Least-squares estimation of transformation parameters"; in the plane, complex numbers do it.
    """
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    spread = float((a * a).sum())
    if not np.isfinite(spread) or spread < 1.0:
        return None
    re = float((a * b).sum()) / spread
    im = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[re, -im], [im, re]])
    return np.column_stack((turn, target.mean(axis=0) - turn @ source.mean(axis=0)))
