"""The description of a stream (RFC 8866)."""

from __future__ import annotations

import base64

from services.view.rtsp.rtp import CLOCK_HZ, PAYLOAD_TYPE

TRACK = "trackID=0"


def describe(camera: str, parameters: tuple[bytes, bytes], fps: float) -> bytes:
    """Description with the parameter sets, so that a player can open its decoder at once."""
    sps, pps = parameters
    sets = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
    profile = sps[1:4].hex().upper()
    lines = (
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        f"s={camera}",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
        f"a=framerate:{fps:g}",
        f"a=control:{TRACK}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
