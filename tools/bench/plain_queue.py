"""The design that people pick next: processes with `multiprocessing.Queue`, and the pixels in it.

A process a camera, a process a worker, tracker and drawing in the main process; a full queue drops the frame. Runs as a
process: `python -m tools.bench.plain_queue CLIP FPS CAMERAS WORKERS`; ends and prints as `plain_threads` does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import sys
import threading
import time
from typing import Any

from tools.bench.plain_parts import Finder, Watcher, paced


def capture(clip: str, fps: float, camera: int, frames: Any) -> None:
    """Put frames into the queue; a full one drops them."""
    for captured, picture in paced(clip, fps):
        try:
            frames.put_nowait((camera, captured, picture))
        except queue.Full:
            continue


def infer(frames: Any, results: Any) -> None:
    """Find faces in what the queue gives."""
    finder = Finder()
    while True:
        camera, captured, picture = frames.get()
        results.put((camera, captured, picture, finder(picture)))


def run(clip: str, fps: str, cameras: str, workers: str) -> None:
    """Run until stdin is closed."""
    context = multiprocessing.get_context("spawn")
    frames, results = context.Queue(int(cameras)), context.Queue()
    watchers = [Watcher() for _ in range(int(cameras))]
    started = [context.Process(target=infer, args=(frames, results), daemon=True) for _ in range(int(workers))]
    started += [
        context.Process(target=capture, args=(clip, float(fps), camera, frames), daemon=True)
        for camera in range(int(cameras))
    ]
    for process in started:
        process.start()
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    told: list[tuple[int, int]] = []
    while not ended.is_set():
        try:
            camera, captured, picture, found = results.get(timeout=0.2)
        except queue.Empty:
            continue
        watchers[camera](picture, *found)
        told.append((captured, time.monotonic_ns()))
        if len(told) == 1:
            print("ready", flush=True)
    print(json.dumps(told), flush=True)
    for process in started:
        process.kill()
    os._exit(0)


if __name__ == "__main__":
    run(*sys.argv[1:])
