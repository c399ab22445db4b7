"""Pixels to JPEG, by OpenCV; the only file here that imports it, when the first picture is taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.pixels import PixelFormat, Plane
from services.publish.bestview import Crop

SHARP_VARIANCE = 100.0  # variance of the Laplacian at which a face counts as half sharp
SHARPNESS_PX = 96  # faces are compared at this height, so that size does not count twice
MOSAIC_COLUMNS = 8  # over the whole picture: about five over the face, from which nobody is known


def sharpness(crop: Crop) -> float:
    """How sharp the face is, in [0, 1).

    Source:
        Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000: variance of the Laplacian.
    """
    import cv2

    face = crop.face
    gray: Any = _gray(crop)[face.y0 : face.y1, face.x0 : face.x1]
    if min(gray.shape) < 4:
        return 0.0
    columns = max(SHARPNESS_PX * gray.shape[1] // gray.shape[0], 4)
    if gray.shape[0] > SHARPNESS_PX:
        gray = cv2.resize(gray, (columns, SHARPNESS_PX), interpolation=cv2.INTER_AREA)
    variance = float(cv2.Laplacian(np.ascontiguousarray(gray), cv2.CV_32F).var())
    return variance / (variance + SHARP_VARIANCE)


def jpeg(crop: Crop, height: int, quality: int, *, covered: bool) -> bytes:
    """The picture of a crop.

    Args:
        crop: Its pixels.
        height: Rows of the picture at most.
        quality: Of the JPEG, 1 to 100.
        covered: Nobody can be recognised in it.
    """
    import cv2

    picture = _bgr(crop)
    rows, columns = picture.shape[:2]
    if rows > height:
        columns = max(columns * height // rows, 1)
        picture = cv2.resize(picture, (columns, height), interpolation=cv2.INTER_AREA)
        rows = height
    if covered:
        coarse = (MOSAIC_COLUMNS, max(MOSAIC_COLUMNS * rows // columns, 1))
        small = cv2.resize(picture, coarse, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_NEAREST)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def _gray(crop: Crop) -> Plane:
    first = crop.planes[0]
    match crop.pixel_format:
        case PixelFormat.BGR:
            return first[..., 1]  # green is most of the brightness
        case PixelFormat.YUYV:
            return first[..., 0]
    return first


def _bgr(crop: Crop) -> Any:
    import cv2

    planes = crop.planes
    match crop.pixel_format:
        case PixelFormat.BGR:
            return planes[0]
        case PixelFormat.NV12:
            return cv2.cvtColorTwoPlane(planes[0], planes[1], cv2.COLOR_YUV2BGR_NV12)
        case PixelFormat.I420:
            return cv2.cvtColorTwoPlane(planes[0], np.dstack(planes[1:]), cv2.COLOR_YUV2BGR_NV12)
        case PixelFormat.YUYV:
            return cv2.cvtColor(planes[0], cv2.COLOR_YUV2BGR_YUY2)
        case PixelFormat.GRAY:
            return cv2.cvtColor(planes[0], cv2.COLOR_GRAY2BGR)
