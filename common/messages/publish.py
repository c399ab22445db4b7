"""What publish sends: the switches of the cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from common.codec import pack_fields, unpack_fields
from common.errors import WireError
from common.messages.message import Message


@dataclass(frozen=True, slots=True)
class CameraControl:
    """What a user switched on a running node for one camera.

    Attributes:
        camera: Name of the camera.
        enabled: False: nothing is captured and nothing detected.
        detect_fps: Frames a second that are detected at most; 0 means every frame.
        privacy: True: faces are covered in every picture that leaves the node.
    """

    camera: str
    enabled: bool = True
    detect_fps: float = 0.0
    privacy: bool = False


@dataclass(frozen=True, slots=True)
class ControlState(Message):
    """The switches of all cameras (topic `control`): sent on change and once a second.

    Attributes:
        cameras: One row a camera.
        sent_ns: When this was sent.
    """

    cameras: tuple[CameraControl, ...]
    sent_ns: int

    TYPES: ClassVar = (list, int)

    def pack(self) -> bytes:
        rows = [(row.camera, row.enabled, float(row.detect_fps), row.privacy) for row in self.cameras]
        return pack_fields(rows, self.sent_ns)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        rows, sent_ns = unpack_fields(data, cls.TYPES, "control")
        for row in rows:
            if type(row) is not list or tuple(map(type, row)) != (str, bool, float, bool):
                raise WireError("control: a row does not fit")
        return cls(tuple(CameraControl(*row) for row in rows), sent_ns)
