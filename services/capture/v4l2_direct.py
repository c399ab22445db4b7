"""Slots of the ring as the driver's buffers: the camera's frame is in the ring when it is complete, without a copy.

Buffer n is slot n, so that the driver looks the pages of each up only once. A slot that the driver has is one that is
being written: no reader can lease it.
"""

from __future__ import annotations

import logging

from common.errors import DeviceError
from common.ring.writer import RingWriter, WriteSlot
from services.capture.v4l2_device import V4l2Device

QUEUED = 3  # buffers that the driver has: one being filled, one waiting, one spare

log = logging.getLogger(__name__)


class RingBuffers:
    """What the driver has of the ring."""

    def __init__(self, device: V4l2Device, ring: RingWriter) -> None:
        """Lend the first slots.

        Raises:
            DeviceError: The driver does not write into other people's memory, or not into this.
        """
        self._device, self._ring = device, ring
        self._lent: dict[int, WriteSlot] = {}
        device.borrow(ring.addresses(), ring.stride)
        try:
            self.top_up()
        except DeviceError:
            device.give_up()
            for slot in self._lent.values():
                ring.abandon(slot)
            raise

    def top_up(self) -> bool:
        """Lend free slots until the driver has enough; False when it has none at all."""
        while len(self._lent) < QUEUED and (slot := self._ring.acquire()) is not None:
            self._lent[slot.index] = slot
            self._device.queue(slot.index)
        return bool(self._lent)

    def take(self, index: int) -> WriteSlot:
        """The slot of a filled buffer; it is the caller's now."""
        return self._lent.pop(index)


def lend(device: V4l2Device, ring: RingWriter) -> RingBuffers | None:
    """Let the driver write into the ring; None, with a word, when it cannot."""
    try:
        return RingBuffers(device, ring)
    except DeviceError as error:
        log.info("frames are copied into the ring reason=%s", error)
        return None
