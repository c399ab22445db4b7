"""Encoded pictures, and their parts on the way out of an encoder."""

from __future__ import annotations

from dataclasses import dataclass

KEY, SEI, SPS, PPS, DELIMITER = 5, 6, 7, 8, 9  # H.264, table 7-1
START = b"\0\0\1"


@dataclass(frozen=True, slots=True)
class Unit:
    """One encoded picture.

    Attributes:
        nals: Its NAL units, without start codes; a key picture begins with its parameter sets.
        stamp_ns: When its frame was captured (monotonic); rises from unit to unit.
        is_key: True when it can be decoded without others.
    """

    nals: tuple[bytes, ...]
    stamp_ns: int
    is_key: bool

    @property
    def parameters(self) -> tuple[bytes, bytes] | None:
        """Sequence and picture parameter set; None when the unit has none."""
        sets = {nal[0] & 31: nal for nal in self.nals if nal[0] & 31 in {SPS, PPS}}
        return (sets[SPS], sets[PPS]) if len(sets) == 2 else None


def unit_of(stream: bytes, stamp_ns: int) -> Unit:
    """The unit in an encoder's byte stream (H.264, annex B), without delimiters and remarks."""
    nals = tuple(nal for nal in split(stream) if nal[0] & 31 not in {SEI, DELIMITER})
    return Unit(nals, stamp_ns, any(nal[0] & 31 == KEY for nal in nals))


def split(stream: bytes) -> list[bytes]:
    """NAL units between the start codes of a byte stream."""
    parts = stream.split(START)[1:]
    # A longer start code leaves one more zero at the end of the part before it; no NAL unit ends with a zero byte.
    return [nal for nal in (part.rstrip(b"\0") for part in parts) if nal]
