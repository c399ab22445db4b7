"""The design that people write first: one process, a thread that captures and one that infers over `deque(maxlen=1)`.

Tracker and drawing are in the main loop. As the articles write it, the inferring thread and the main loop spin; the
polite form waits instead. Runs as a process: `python -m tools.bench.plain_threads CLIP FPS CAMERAS WORKERS spin|wait`;
ends when its stdin is closed and then prints (captured, done) of each result as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from typing import Any

from tools.bench.plain_parts import Finder, Watcher, paced

Job = tuple[int, int, Any]


class Threads:
    """The whole program."""

    def __init__(self, clip: str, fps: float, cameras: int, workers: int, *, spin: bool) -> None:
        self._clip, self._fps, self._spin = clip, fps, spin
        self._frames: list[deque[tuple[int, Any]]] = [deque(maxlen=1) for _ in range(cameras)]
        self._results: deque[tuple[int, int, Any, Any]] = deque(maxlen=1 if spin else None)
        self._fresh, self._done = threading.Condition(), threading.Condition()
        self._next = 0
        self._ended = False
        self._watchers = [Watcher() for _ in range(cameras)]
        targets = [(self._capture, camera) for camera in range(cameras)] + [(self._infer, n) for n in range(workers)]
        for target, argument in targets:
            threading.Thread(target=target, args=(argument,), daemon=True).start()
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def run(self) -> list[tuple[int, int]]:
        """Follow and draw until the end; gives (captured, done) of each result."""
        told: list[tuple[int, int]] = []
        while not self._ended:
            if not self._results:
                if not self._spin:
                    with self._done:
                        self._done.wait_for(lambda: bool(self._results), 0.2)
                continue
            camera, captured, picture, found = self._results.popleft()
            self._watchers[camera](picture, *found)
            told.append((captured, time.monotonic_ns()))
            if len(told) == 1:
                print("ready", flush=True)
        return told

    def _capture(self, camera: int) -> None:
        for frame in paced(self._clip, self._fps):
            self._frames[camera].append(frame)
            if not self._spin:
                with self._fresh:
                    self._fresh.notify()

    def _infer(self, _number: int) -> None:
        finder = Finder()
        while True:
            job = self._take()
            if job is None:
                if not self._spin:
                    with self._fresh:
                        self._fresh.wait_for(lambda: any(self._frames), 0.2)
                continue
            camera, captured, picture = job
            self._results.append((camera, captured, picture, finder(picture)))
            if not self._spin:
                with self._done:
                    self._done.notify()

    def _take(self) -> Job | None:
        """The newest frame of the camera whose turn it is."""
        for _ in self._frames:
            camera = self._next = (self._next + 1) % len(self._frames)
            try:
                return (camera, *self._frames[camera].popleft())
            except IndexError:
                continue
        return None

    def _wait_for_end(self) -> None:
        sys.stdin.read()
        self._ended = True


def run(clip: str, fps: str, cameras: str, workers: str, form: str) -> None:
    """Run until stdin is closed."""
    program = Threads(clip, float(fps), int(cameras), int(workers), spin=form == "spin")
    print(json.dumps(program.run()), flush=True)
    os._exit(0)  # the other threads are in the middle of something


if __name__ == "__main__":
    run(*sys.argv[1:])
