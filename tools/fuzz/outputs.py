"""What a model may give: any numbers in outputs of the right shapes, and any detections for the trackers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.infer.decoders.table import load_decoder
from services.infer.nms import suppress
from services.track.face import FaceTracker
from services.track.sort import Sort
from tools.fuzz.targets import Target

Shapes = dict[str, tuple[int, ...]]
SIZE = (64, 32)  # 8x4, 4x2 and 2x1 cells
CELLS = {8: 32, 16: 8, 32: 2}
TOTAL = sum(CELLS.values())
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, 1e38, -1e38, 1e-45, 0.5], np.float32)


def _strides(*columns: tuple[str, int], anchors: int = 1) -> Shapes:
    return {f"{name}_{stride}": (1, anchors * count, n) for name, n in columns for stride, count in CELLS.items()}


SHAPES: dict[str, Shapes] = {
    "yunet": _strides(("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)),
    "centerface": {"537": (1, 1, 8, 16), "538": (1, 2, 8, 16), "539": (1, 2, 8, 16), "540": (1, 10, 8, 16)},
    "retinaface": {"loc": (1, 2 * TOTAL, 4), "conf": (1, 2 * TOTAL, 2), "landmarks": (1, 2 * TOTAL, 10)},
    "ulfg": {"scores": (1, 119, 2), "boxes": (1, 119, 4)},
    "scrfd": _strides(("score", 1), ("bbox", 4), ("kps", 10), anchors=2),
    "yolov5-face": {f"stride_{s}": (1, 3, 32 // s, 64 // s, 16) for s in CELLS},
    "yolov4": {"boxes": (1, 42, 1, 4), "confs": (1, 42, 3)},
    "yolov5": {"output0": (1, 3 * TOTAL, 7)},
    "yolov8": {"output0": (1, 6, TOTAL)},
}


def _numbers(data: bytes, count: int) -> NDArray[np.float32]:
    """Float32 numbers of any bytes, odd ones among them, repeated to `count`."""
    raw = np.frombuffer(data[: len(data) // 4 * 4] or b"\0\0\0\0", np.float32).copy()
    kinds = np.frombuffer(data[: len(raw)].ljust(len(raw), b"\0"), np.uint8)
    raw[kinds >= 240] = ODD[kinds[kinds >= 240] % len(ODD)]
    tame = (kinds & 1) == 0  # half of them in the range that models really give
    raw[tame] = (kinds[tame] / 255.0).astype(np.float32)
    return np.resize(raw, count)


def outputs(family: str) -> Target:
    """One family of decoders, and the suppression behind it: finite scores and boxes come out, or nothing."""
    shapes = SHAPES[family]
    decoder = load_decoder(family, SIZE, shapes, {})
    total = sum(int(np.prod(shape)) for shape in shapes.values())

    def feed(data: bytes) -> None:
        numbers, made, at = _numbers(data, total), {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            made[name] = numbers[at : at + size].reshape(shape)
            at += size
        with np.errstate(all="ignore"):
            found = decoder.decode(made, 0.5)
            rows = suppress(found.boxes, found.scores, 0.4)
        assert len(found.boxes) == len(found.scores)
        assert len(found.landmarks) in {0, len(found.boxes)}
        assert not np.isnan(found.scores[rows]).any()

    seed = np.random.default_rng(1).random(total, np.float32)
    return Target(feed, [seed.tobytes(), bytes(range(256)), b"\xf0" * 64])


def detections() -> Target:
    """Both trackers on any detections: rows that are no boxes are counted, what is shown is finite."""

    def feed(data: bytes) -> None:
        trackers = FaceTracker(), Sort(max_age=30)
        with np.errstate(all="ignore"):
            numbers = _numbers(data, 5 * 12).astype(np.float64) * 500
        for tracker in trackers:
            for frame in np.split(numbers.reshape(12, 5), 3):
                with np.errstate(all="ignore"):
                    shown = tracker.update(frame, 1.0 + len(data) % 3)
                assert np.isfinite(shown).all()
                assert len(set(shown[:, 4])) == len(shown)

    return Target(feed, [np.array([0.1, 0.1, 0.3, 0.4, 0.9] * 3, np.float32).tobytes(), bytes(range(64))])
