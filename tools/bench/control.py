"""The control loop of a soak: the same work on one frame by the clock and the same broker, in one process of its own.

What changes in its time is the machine's doing, not the node's: `python3 -m tools.bench.control PORT CLIP WIDTH HZ`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from common.settings import InferSettings
from services.infer.detector import build_detector
from tools.bench.prepared import decoded

TOPIC = "control/tracks"


def work(port: int, clip: Path, width: int, hz: float) -> None:
    """Detect in a frame, tell it with its time, wait; until ended."""
    frames, geometry = decoded(clip, 2)
    detector = build_detector(InferSettings(width=width))
    detector.prepare(geometry)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    count, due = 0, time.monotonic()
    while True:
        started_ns = time.monotonic_ns()
        detector.detect(frames[count % len(frames)], geometry)
        client.publish(TOPIC, json.dumps({"captured_ns": started_ns}))
        count, due = count + 1, due + 1 / hz
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
