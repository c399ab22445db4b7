"""RTP packets of H.264 (RFC 6184, non-interleaved mode), and the sender reports that give them wall-clock time."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Iterator

from services.view.rtsp.units import Unit

PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000
MOST_BYTES = 1400  # of a payload: fits an Ethernet frame, should a server pass it on over UDP
NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
FU_A = 28
HEADER = struct.Struct(">BBHII")
REPORT = struct.Struct(">BBHIQIII")


class Packed:
    """The packets of one unit, ready for any interleaved channel."""

    __slots__ = ("_channels", "_packets", "is_key", "parameters")

    def __init__(self, unit: Unit, packets: list[bytes]) -> None:
        self.is_key, self.parameters = unit.is_key, unit.parameters
        self._packets = packets
        self._channels: dict[int, bytes] = {}

    def on(self, channel: int) -> bytes:
        """Bytes for a connection that has this stream on a channel; the same object for all of them."""
        if channel not in self._channels:
            self._channels[channel] = b"".join(interleaved(channel, packet) for packet in self._packets)
        return self._channels[channel]


class Packetizer:
    """Numbers the packets of one stream; the same ones go to everybody."""

    def __init__(self) -> None:
        self._ssrc = secrets.randbits(32)
        self._offset = secrets.randbits(32)
        self._seq = secrets.randbits(16)
        self._packets = self._octets = 0

    def pack(self, unit: Unit) -> Packed:
        """Packets of a unit; the last one is marked."""
        payloads = [payload for nal in unit.nals for payload in _payloads(nal)]
        stamp = self._stamp(unit.stamp_ns)
        packets = []
        for index, payload in enumerate(payloads):
            marker = 0x80 if index == len(payloads) - 1 else 0
            packets.append(HEADER.pack(0x80, marker | PAYLOAD_TYPE, self._seq, stamp, self._ssrc) + payload)
            self._seq = (self._seq + 1) & 0xFFFF
            self._octets += len(payload)
        self._packets += len(packets)
        return Packed(unit, packets)

    def report(self) -> bytes:
        """A sender report with this very moment in both clocks, and the name that RTCP asks for."""
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
        ntp = (seconds + NTP_EPOCH_S << 32) + (rest_ns << 32) // 1_000_000_000
        counts = self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF
        report = REPORT.pack(0x80, 200, 6, self._ssrc, ntp, self._stamp(now_ns), *counts)
        item = b"\1\x07vedette"
        chunk = struct.pack(">I", self._ssrc) + item
        chunk += bytes(4 - len(chunk) % 4)
        return report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk

    def _stamp(self, monotonic_ns: int) -> int:
        return (monotonic_ns * 9 // 100_000 + self._offset) & 0xFFFFFFFF


def interleaved(channel: int, packet: bytes) -> bytes:
    """A packet as it travels within an RTSP connection (RFC 2326, 10.12)."""
    return struct.pack(">BBH", 0x24, channel, len(packet)) + packet


def _payloads(nal: bytes) -> Iterator[bytes]:
    """A NAL unit as it is, or in fragments when it is too long (RFC 6184, 5.8)."""
    if len(nal) <= MOST_BYTES:
        yield nal
        return
    indicator, kind, body, room = nal[0] & 0xE0 | FU_A, nal[0] & 31, nal[1:], MOST_BYTES - 2
    for start in range(0, len(body), room):
        first, last = start == 0, start + room >= len(body)
        yield bytes((indicator, kind | first << 7 | last << 6)) + body[start : start + room]
