"""What every message on the bus can do."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from common.codec import unpack_fields

Boxes = NDArray[np.float32]
JUST_NS = 2_000_000  # below the period of 240 fps: the camera has no newer frame than one that was told so long ago


class Message:
    """What every message can do."""

    __slots__ = ()
    TYPES: ClassVar[tuple[type, ...]]

    def pack(self) -> bytes:
        """Bytes on the wire."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Message of these bytes.

        Raises:
            WireError: The bytes are not such a message.
        """
        return cls(*unpack_fields(data, cls.TYPES, cls.__name__))
