"""What takes foreign bytes, one row each: name -> "module:function" that makes a target.

A target is fed any bytes and raises only when the product has a bug: the errors that the product promises for bad input
are its normal answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

MESSAGES = ("FrameHandle", "CameraState", "DetectionResult", "TrackFrame", "EventNotice", "ControlState", "Command")
FAMILIES = ("yunet", "centerface", "retinaface", "ulfg", "scrfd", "yolov5-face", "yolov4", "yolov5", "yolov8")
FILES = ("settings", "manifest", "checkpoint", "switches", "event_log", "publish_mark")

TARGETS = {
    **{f"message:{name}": f"tools.fuzz.memory:message_{name}" for name in MESSAGES},
    "ring_header": "tools.fuzz.memory:ring_header",
    "jpeg": "tools.fuzz.pictures:jpeg",
    "video": "tools.fuzz.pictures:video",
    **{f"outputs:{name}": f"tools.fuzz.outputs:outputs_{name}" for name in FAMILIES},
    "detections": "tools.fuzz.outputs:detections",
    **{name: f"tools.fuzz.files:{name}" for name in FILES},
    "mqtt_command": "tools.fuzz.requests:mqtt_command",
    "http": "tools.fuzz.requests:http",
    "rtsp": "tools.fuzz.requests:rtsp",
}


@dataclass(frozen=True)
class Target:
    """One decoder under test.

    Attributes:
        feed: Takes any bytes; raises only at a bug.
        seeds: Good inputs to begin with.
        close: Removes what the target made.
    """

    feed: Callable[[bytes], None]
    seeds: list[bytes]
    close: Callable[[], None] = lambda: None


def load(name: str) -> Target:
    """Make a target.

    Raises:
        KeyError: No such target.
    """
    module, _, function = TARGETS[name].partition(":")
    family, _, variant = function.partition("_")
    place = importlib.import_module(module)
    if hasattr(place, function):
        target: Target = getattr(place, function)()
    else:  # one function for a family of decoders: message_X, outputs_X
        target = getattr(place, family)(variant)
    return target
