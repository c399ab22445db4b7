"""The worker's stages, and its preprocessing beside the usual way: CPU time of one thread, interleaved medians."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from common.config import cache_dir
from common.pixels import Geometry, PixelFormat, Plane
from common.settings import InferSettings
from services.infer.backends import Backend, load_backend
from services.infer.detector import Detector, build_detector
from services.infer.letterbox import fit
from services.infer.manifest import InputSpec, find_model
from services.infer.preprocess import Preprocess
from tools.bench import report
from tools.bench.clip720 import clip720
from tools.bench.prepared import decoded
from tools.bench.private import demo_clip

SOURCE, MODEL = (1280, 720), (320, 192)
PEER_SIZE = (320, 256)  # OpenCV's detector is asked at this size
ROUNDS = 40  # interleaved; each way runs three times a round


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = report.parser("infer", "preprocessing from native formats, stages of a detection").parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for pixel_format in (PixelFormat.NV12, PixelFormat.I420):
        ours, usual = preprocessing(pixel_format, ROUNDS * options.repetitions)
        name = pixel_format.name
        rows.append({"what": f"{name} 720p -> BGR -> resize -> blobFromImage", "CPU ms": usual})
        goal = {"goal": 0.30} if pixel_format is PixelFormat.NV12 else {}
        rows.append({"what": f"{name} 720p -> tensor 320x192, the node", "CPU ms": ours, "ratio": ours / usual, **goal})
    rows += against_opencv(ROUNDS * options.repetitions)
    rows += stages(ROUNDS * options.repetitions)
    report.show("inference", rows, options.json)
    return 0


def preprocessing(pixel_format: PixelFormat, rounds: int) -> tuple[float, float]:
    """Median CPU milliseconds: the node's way, and full-size colour first."""
    cv2.setNumThreads(1)
    geometry = Geometry(*SOURCE, pixel_format)
    pixels = np.random.default_rng(0).integers(16, 235, geometry.frame_bytes, np.uint8)
    planes = geometry.planes(pixels)
    tensor = np.empty((1, 3, MODEL[1], MODEL[0]), np.float32)
    fill = Preprocess(geometry, fit(SOURCE, MODEL), InputSpec(), tensor)
    code = cv2.COLOR_YUV2BGR_NV12 if pixel_format is PixelFormat.NV12 else cv2.COLOR_YUV2BGR_I420
    whole: Plane = pixels.reshape(SOURCE[1] * 3 // 2, SOURCE[0])

    def usual() -> None:
        cv2.dnn.blobFromImage(cv2.resize(cv2.cvtColor(whole, code), MODEL))

    ours_ms, usual_ms = interleaved([lambda: fill(planes), usual], rounds)
    return ours_ms, usual_ms


class _FixedBackend:
    """A backend whose model is held to one input size, as OpenCV's detector is."""

    fixed_size = PEER_SIZE

    def __init__(self, backend: Backend) -> None:
        self.placement, self.bind = backend.placement, backend.bind


def against_opencv(rounds: int) -> list[dict[str, Any]]:
    """A whole detection, 1280x720 picture in, boxes out, beside OpenCV's own detector with the same file and size."""
    frames, geometry = decoded(clip720(), 10)
    colour: list[Plane] = [_colour(planes, geometry) for planes in frames]
    settings = InferSettings()
    spec, path = find_model("yunet", cache_dir() / "models")
    backend = _FixedBackend(load_backend(path, settings, spec.input.layout))
    ours = Detector(spec, backend, settings)
    peer = cv2.FaceDetectorYN.create(str(path), "", PEER_SIZE, settings.min_score, spec.nms_iou, 5000)
    cv2.setNumThreads(1)
    turn = itertools.count()

    def opencv() -> int:
        faces = peer.detect(cv2.resize(colour[next(turn) % len(colour)], PEER_SIZE))[1]
        return 0 if faces is None else len(faces)

    def node(native: bool) -> int:
        number = next(turn) % len(colour)
        if native:
            return len(ours.detect(frames[number], geometry).scores)
        return len(ours.detect([colour[number]], Geometry(*SOURCE, PixelFormat.BGR)).scores)

    ways: dict[str, Callable[[], int]] = {
        "OpenCV's FaceDetectorYN": opencv,
        "the node from BGR": lambda: node(False),
        "the node from I420": lambda: node(True),
    }
    if not all(way() for way in ways.values()):
        raise RuntimeError("a detector found no face: its time says nothing")
    times = interleaved([*ways.values()], rounds)
    size = "x".join(map(str, PEER_SIZE))
    return [
        {"what": f"YuNet {size} of 720p, {way}", "CPU ms": ms, "ratio": ms / times[0], **goal}
        for way, ms, goal in zip(ways, times, ({}, {"goal": 0.75}, {}), strict=True)
    ]


def _colour(planes: list[Plane], geometry: Geometry) -> Plane:
    if geometry != Geometry(*SOURCE, PixelFormat.I420):
        raise RuntimeError(f"{geometry}: {SOURCE[0]}x{SOURCE[1]} as I420 expected")
    flat = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(SOURCE[1] * 3 // 2, SOURCE[0])
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_YUV2BGR_I420), np.uint8)


def interleaved(ways: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median CPU milliseconds of each way."""
    times: list[list[int]] = [[] for _ in ways]
    for number in range(rounds + 2):
        for way, kept in zip(ways, times, strict=True):
            for _ in range(3):
                start = time.thread_time_ns()
                way()
                if number >= 2:
                    kept.append(time.thread_time_ns() - start)
    return [report.median(kept) / 1e6 for kept in times]


def stages(rounds: int) -> list[dict[str, Any]]:
    """Stages of a whole detection on the demo's clip at 640x384, and the model alone."""
    frames, geometry = decoded(demo_clip(), 30)
    detector = build_detector(InferSettings(min_score=0.3), geometry)
    laps: list[tuple[int, ...]] = []
    whole: list[int] = []
    for number in range(rounds + 3):
        start = time.thread_time_ns()
        detector.detect(frames[number % len(frames)], geometry)
        if number >= 3:
            whole.append(time.thread_time_ns() - start)
            laps.append(tuple(detector.laps))
    pre, run, post = (report.median(lap[index] for lap in laps) / 1e6 for index in range(3))
    every = pre + run + post
    return [
        {"what": "YuNet 640x384: preprocessing (wall)", "CPU ms": pre, "ratio": pre / every},
        {"what": "YuNet 640x384: model (wall)", "CPU ms": run, "ratio": run / every},
        {"what": "YuNet 640x384: decoding and suppression (wall)", "CPU ms": post, "ratio": post / every},
        {"what": "YuNet 640x384: whole detection", "CPU ms": report.median(whole) / 1e6},
    ]
