from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.pixels import Geometry, PixelFormat
from services.infer.letterbox import fit, model_size
from services.infer.manifest import InputSpec
from services.infer.preprocess import Preprocess


def smooth_scene(width: int, height: int) -> np.ndarray:
    """A picture with gradients and soft edges in all three channels, without detail that resampling would alias."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = [
        128 + 100 * np.sin(x / width * 9 + 1) * np.cos(y / height * 5),
        128 + 90 * np.cos(x / width * 7 - y / height * 6),
        128 + 80 * np.sin(y / height * 8),
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def as_format(bgr: np.ndarray, pixel_format: PixelFormat) -> np.ndarray:
    """The picture as a camera of this format would deliver it, one flat array."""
    if pixel_format is PixelFormat.BGR:
        return bgr.reshape(-1)
    if pixel_format is PixelFormat.GRAY:
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).reshape(-1)
    height, width = bgr.shape[:2]
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, chroma = i420[: width * height], i420[width * height :].reshape(2, height // 2, width // 2)
    if pixel_format is PixelFormat.I420:
        return i420
    if pixel_format is PixelFormat.NV12:
        return np.concatenate((luma, chroma.transpose(1, 2, 0).reshape(-1)))
    full = np.repeat(chroma, 2, axis=1)
    yuyv = np.empty((height, width // 2, 4), np.uint8)
    yuyv[..., 0::2] = luma.reshape(height, width // 2, 2)
    yuyv[..., 1], yuyv[..., 3] = full[0], full[1]
    return yuyv.reshape(-1)


def tensor_of(bgr: np.ndarray, pixel_format: PixelFormat, spec: InputSpec, longer: int = 320) -> np.ndarray:
    height, width = bgr.shape[:2]
    geometry = Geometry(width, height, pixel_format)
    size = model_size((width, height), longer, 32)
    shape = (1, 3, size[1], size[0]) if spec.layout == "nchw" else (1, size[1], size[0], 3)
    tensor = np.full(shape, -1, np.float32)
    fill = Preprocess(geometry, fit((width, height), size), spec, tensor)
    flat = as_format(bgr, pixel_format)
    flat.flags.writeable = False  # the ring is mapped read-only
    fill(geometry.planes(flat))
    return tensor


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420, PixelFormat.YUYV])
@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (320, 240), (702, 396)])
def test_every_colour_format_agrees_with_bgr(pixel_format, size):
    scene = smooth_scene(*size)
    difference = np.abs(tensor_of(scene, pixel_format, InputSpec()) - tensor_of(scene, PixelFormat.BGR, InputSpec()))
    assert difference.mean() < 1.5
    assert difference.max() < 12


def test_gray_camera_gives_three_equal_channels():
    scene = smooth_scene(640, 480)
    tensor = tensor_of(scene, PixelFormat.GRAY, InputSpec())
    assert (tensor[0, 0] == tensor[0, 1]).all()
    assert (tensor[0, 0] == tensor[0, 2]).all()
    gray = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)
    box = fit((640, 480), (320, 256))
    picture = tensor[0, 0, box.top : box.top + box.inner[1], box.left : box.left + box.inner[0]]
    assert np.abs(picture - cv2.resize(gray, box.inner)).max() <= 1


def test_yuyv_luma_keeps_its_horizontal_detail():
    bars = np.zeros((64, 128, 3), np.uint8)
    bars[:, 65:] = 255  # an edge in the middle of a pixel pair
    difference = tensor_of(bars, PixelFormat.YUYV, InputSpec(), 128) - tensor_of(
        bars, PixelFormat.I420, InputSpec(), 128
    )
    assert np.abs(difference).max() <= 2


def test_letterbox_border_holds_the_pad_after_every_frame():
    spec = InputSpec(pad=114)
    scene = np.full((720, 1280, 3), 250, np.uint8)
    tensor = tensor_of(scene, PixelFormat.BGR, spec)
    assert tensor.shape == (1, 3, 192, 320)
    assert (tensor[:, :, :6] == 114).all()
    assert (tensor[:, :, -6:] == 114).all()
    assert (tensor[:, :, 6:-6] == 250).all()


def test_rgb_order_mean_and_scale_are_applied():
    scene = np.zeros((64, 64, 3), np.uint8)
    scene[:] = (10, 20, 30)
    spec = InputSpec(colour="rgb", mean=(1.0, 2.0, 3.0), scale=0.5)
    tensor = tensor_of(scene, PixelFormat.BGR, spec, 64)
    np.testing.assert_allclose(tensor[0, :, 5, 5], [(30 - 1) / 2, (20 - 2) / 2, (10 - 3) / 2])


def test_nhwc_layout_is_the_same_picture():
    scene = smooth_scene(320, 192)
    plain = tensor_of(scene, PixelFormat.BGR, InputSpec())
    last = tensor_of(scene, PixelFormat.BGR, InputSpec(layout="nhwc"))
    assert (last.transpose(0, 3, 1, 2) == plain).all()
