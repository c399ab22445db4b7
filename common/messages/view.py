"""What view sends: the wishes of its users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common.codec import pack_fields
from common.messages.message import Message


@dataclass(frozen=True, slots=True)
class Command(Message):
    """A wish of a user (topic `commands`), as on MQTT: a target, what to set, and the payload.

    Attributes:
        target: Name of a camera or of a process.
        what: `enabled`, `detect_fps`, `privacy` or `restart`.
        payload: As a user would send it over MQTT: `ON`, `OFF`, a number, `PRESS`.
    """

    target: str
    what: str
    payload: str

    TYPES: ClassVar = (str, str, str)

    def pack(self) -> bytes:
        return pack_fields(self.target, self.what, self.payload)
