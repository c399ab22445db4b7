"""One way to run the detector, in a process of its own.

What one library does to memory, threads or the CPU's clock stays there, and a library that is missing or crashes takes
nothing else with it. The child reads one JSON document a line from its stdin and answers each with one on its stdout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from common.errors import VedetteError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings, RemoteSettings
from tools.bench.procfs import process_figures
from tools.supervisor.conf import ROOT

LOAD_S = 300.0
CHILD = "from tools.advise.candidate import serve; serve()"


class CandidateFailed(VedetteError):  # noqa: N818 - a result, not a fault
    """This way does not work here; the message says why."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures for all candidates, in a file: a camera can be opened only once.

    Attributes:
        path: .npy file, shape (count, bytes), uint8.
        geometry: Of each.
    """

    path: Path
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a candidate says after it loaded the model.

    Attributes:
        size: Width and height of the model's input.
        seconds: That loading took.
        nodes: Nodes by provider.
        fallback: Why another provider does the work; empty when it does not.
    """

    size: tuple[int, int]
    seconds: float
    nodes: dict[str, int]
    fallback: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: times of a frame in each run in milliseconds, CPU seconds and seconds by the clock."""

    run_ms: list[float]
    whole_ms: list[float]
    cpu_s: float
    wall_s: float


class Candidate:
    """A running child; use it as a context."""

    def __init__(self, infer: InferSettings, frames: Frames, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**_environment(), "PYTHONPATH": str(ROOT)},
        )
        geometry = frames.geometry
        self._ask = {
            "infer": dataclasses.asdict(infer),
            "frames": str(frames.path),
            "geometry": [geometry.width, geometry.height, int(geometry.pixel_format)],
        }

    def load(self) -> Loaded:
        """Wait until the model is loaded.

        Raises:
            CandidateFailed: It cannot be.
        """
        answer = self._tell(self._ask)
        return Loaded(tuple(answer["size"]), answer["seconds"], answer["nodes"], answer["fallback"])

    def begin(self, seconds: float, batch: int = 1) -> None:
        """Start to measure, with so many frames in one run; several candidates may measure at the same time."""
        self._send({"seconds": seconds, "batch": batch})

    def end(self) -> Sample:
        """Wait for the measurement.

        Raises:
            CandidateFailed: It failed while running.
        """
        return Sample(**self._receive())

    def measure(self, seconds: float, batch: int = 1) -> Sample:
        """Measure alone."""
        self.begin(seconds, batch)
        return self.end()

    def detect(self) -> list[list[list[float]]]:
        """Boxes (xyxy, pixels of the frame) and scores of each picture."""
        found: list[list[list[float]]] = self._tell({"detect": True})["found"]
        return found

    def memory_mb(self) -> float:
        """Proportional set size now, megabytes."""
        return process_figures(self._process.pid).get("pss_mb", float("nan"))

    def close(self) -> None:
        """End the child."""
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tell(self, question: dict[str, Any]) -> dict[str, Any]:
        self._send(question)
        return self._receive()

    def _send(self, question: dict[str, Any]) -> None:
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise CandidateFailed(f"ended with code {self._process.wait()}") from None

    def _receive(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # libraries print what they like
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise CandidateFailed(answer["error"])
                return answer
        raise CandidateFailed(f"ended with code {self._process.wait()}")


def keep(pictures: Sequence[tuple[Geometry, Sequence[Any]]], path: Path) -> Frames:
    """Write pictures of one geometry to a file for the candidates."""
    geometry = pictures[0][0]
    rows = [np.concatenate([plane.reshape(-1) for plane in planes]) for shape, planes in pictures if shape == geometry]
    np.save(path, np.stack(rows))
    return Frames(path, geometry)


def serve() -> None:
    """The child."""
    answers = _answers()
    next(answers)
    for line in sys.stdin:
        try:
            answer = answers.send(json.loads(line))
        except VedetteError as error:
            answer = {"error": f"{error}"}
        except ImportError as error:
            answer = {"error": f"{error}; install {error.name}"}
        print(json.dumps(answer), flush=True)
        if "error" in answer:
            return


def _answers() -> Generator[dict[str, Any], Any, None]:
    from services.infer.detector import build_detector

    ask = yield {}
    width, height, pixel_format = ask["geometry"]
    geometry = Geometry(width, height, PixelFormat(pixel_format))
    remote = RemoteSettings(**ask["infer"].pop("remote"))
    start = time.monotonic()
    detector = build_detector(InferSettings(**ask["infer"], remote=remote), geometry)
    seconds = time.monotonic() - start
    pictures = [geometry.planes(row) for row in np.load(ask["frames"])]
    placement = detector.placement
    ask = yield {
        "size": detector.input_size(geometry),
        "seconds": round(seconds, 3),
        "nodes": dict(placement.nodes),
        "fallback": placement.fallback,
    }
    while True:
        if "detect" in ask:
            every = [detector.detect(planes, geometry) for planes in pictures]
            ask = yield {"found": [np.column_stack((one.boxes, one.scores)).tolist() for one in every]}
        else:
            ask = yield _timed(detector, pictures, geometry, ask["seconds"], ask["batch"])


def _timed(detector: Any, pictures: list[Any], geometry: Geometry, seconds: float, batch: int) -> dict[str, Any]:
    run_ms, whole_ms = [], []
    cpu_s, start = time.process_time(), time.monotonic()
    count = 0
    while time.monotonic() - start < seconds or count < 3:
        chosen = [pictures[(count + row) % len(pictures)] for row in range(batch)]
        detector.detect_all([(planes, geometry) for planes in chosen])
        laps = detector.laps
        run_ms.append(round(laps.infer / batch / 1e6, 4))
        whole_ms.append(round(sum(laps) / batch / 1e6, 4))
        count += batch
    return {
        "run_ms": run_ms,
        "whole_ms": whole_ms,
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.monotonic() - start,
    }


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}  # noqa: TID251 - handed on
