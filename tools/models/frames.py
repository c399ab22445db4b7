"""Pictures to convert with: from a camera, a clip, a photograph or a folder, and as the tensors of a model."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import CameraSettings
from common.stats import Stats
from services.infer.letterbox import fit, model_size
from services.infer.manifest import InputSpec
from services.infer.preprocess import Preprocess

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"}
STEP = 5  # every fifth frame of a clip or camera: neighbours are alike
SILENT_S = 10.0  # without a frame for so long, a source has none

Picture = tuple[Geometry, list[Plane]]


def pictures(source: str, count: int) -> list[Picture]:
    """At most so many pictures.

    Args:
        source: A folder of pictures (searched through), a picture, a clip, or a camera as in the settings
            (`v4l2:/dev/video0`, `rtsp://...`, `still:photo.jpg?path=pan`).
        count: How many; of a folder they are spread evenly over the sorted names.

    Raises:
        ConfigError: There is no such file, or no picture in the folder.
        DeviceError: The camera or clip gives none.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        names = sorted(item for item in path.rglob("*") if item.suffix.lower() in PICTURES)
        if not names:
            raise ConfigError(f"{source}: no pictures in this folder ({', '.join(sorted(PICTURES))})")
        chosen = [names[int(index)] for index in np.linspace(0, len(names) - 1, min(count, len(names)))]
        return [read_picture(item) for item in chosen]
    if path.is_file() and path.suffix.lower() in PICTURES:
        return [read_picture(path)]
    if path.is_file():
        source = f"file:{path}"
    elif not re.match(r"[\w.]+:", source):
        raise ConfigError(f"{source}: no such file or folder, and not a camera like v4l2:/dev/video0")
    found = list(_frames(source, count))
    if not found:
        raise DeviceError(f"{source}: no picture came")
    return found


def read_picture(path: Path) -> Picture:
    """A photograph, cut to even sides.

    Raises:
        DeviceError: It cannot be read.
    """
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or min(image.shape[:2]) < 2:
        raise DeviceError(f"{path}: not a picture that can be read")
    height, width = (side & ~1 for side in image.shape[:2])
    return Geometry(width, height, PixelFormat.BGR), [np.ascontiguousarray(image[:height, :width])]


def tensor(picture: Picture, spec: InputSpec, size: tuple[int, int] | None, longer: int) -> NDArray[np.float32]:
    """The input of a model for a picture, made as the worker makes it.

    Args:
        picture: Geometry and planes.
        spec: What the model wants.
        size: Width and height of its input; None takes them from the picture's aspect.
        longer: Longer side in that case.

    Returns:
        Shape (1, 3, h, w) or (1, h, w, 3), float32.
    """
    geometry, planes = picture
    size = size or model_size((geometry.width, geometry.height), longer, spec.multiple)
    shape = (1, 3, size[1], size[0]) if spec.layout == "nchw" else (1, size[1], size[0], 3)
    made = np.zeros(shape, np.float32)
    Preprocess(geometry, fit((geometry.width, geometry.height), size), spec, made)(planes)
    return made


def bgr(picture: Picture) -> NDArray[np.uint8]:
    """A picture as OpenCV wants it, shape (h, w, 3)."""
    geometry, planes = picture
    if geometry.pixel_format is PixelFormat.BGR:
        return planes[0]
    spec = InputSpec(layout="nhwc", multiple=2)
    made = tensor(picture, spec, (geometry.width, geometry.height), geometry.width)
    image: NDArray[np.uint8] = made[0].astype(np.uint8)
    return image


def _frames(source: str, count: int) -> Iterator[Picture]:
    """Every fifth frame of a camera or clip."""
    from services.capture.source import EndOfStream, make_source

    camera = make_source(CameraSettings(source=source, loop=False), Stats(), paced=False)
    with contextlib.closing(camera), contextlib.suppress(EndOfStream):
        geometry = camera.open()
        number, found, since = 0, 0, time.monotonic()
        while found < count:
            if not camera.wait():
                if time.monotonic() - since > SILENT_S:
                    raise DeviceError(f"{source}: no frame for {SILENT_S:.0f} s")
                continue
            since, number = time.monotonic(), number + 1
            if number % STEP != 1:
                camera.skip()
                continue
            planes = geometry.planes(np.zeros(geometry.frame_bytes, np.uint8))
            if camera.read(planes) is not None:
                found += 1
                yield geometry, planes


def names_and_sizes(items: Sequence[Picture]) -> str:
    """What the pictures are, for messages."""
    sizes = {f"{geometry.width}x{geometry.height}" for geometry, _ in items}
    return f"{len(items)} pictures ({', '.join(sorted(sizes)[:4])}{', ...' if len(sizes) > 4 else ''})"


def demo_clip() -> str:
    """The clip of `vedette demo`, for when the user names no pictures: a real face that moves."""
    from tools.demo.clip import fetch_clip

    return str(fetch_clip(lambda _line: None))
