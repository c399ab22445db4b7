"""The part of the kernel's mode-setting interface that a picture needs: structures and request numbers of <drm/drm.h>.

Source:
    The kernel's userspace headers drm.h, drm_mode.h and drm_fourcc.h (MIT).
"""

from __future__ import annotations

import ctypes
import fcntl
from ctypes import c_char, c_uint16, c_uint32, c_uint64

CONNECTED = 1
TYPE_PREFERRED = 8
FLIP_EVENT = 1
EVENT_FLIP_COMPLETE = 2
EVENT_HEADER = "<2I"  # type, length
CAP_DUMB_BUFFER = 1
CONNECTORS = {
    1: "VGA", 2: "DVI-I", 3: "DVI-D", 4: "DVI-A", 5: "Composite", 6: "SVIDEO", 7: "LVDS", 8: "Component", 9: "DIN",
    10: "DP", 11: "HDMI-A", 12: "HDMI-B", 13: "TV", 14: "eDP", 15: "Virtual", 16: "DSI", 17: "DPI", 18: "Writeback",
    19: "SPI", 20: "USB",
}  # fmt: skip


def _words(names: str) -> list[tuple[str, type[c_uint32]]]:
    return [(name, c_uint32) for name in names.split()]


def _longs(names: str) -> list[tuple[str, type[c_uint64]]]:
    return [(name, c_uint64) for name in names.split()]


class Resources(ctypes.Structure):
    """struct drm_mode_card_res."""

    _fields_ = (
        *_longs("fb_id_ptr crtc_id_ptr connector_id_ptr encoder_id_ptr"),
        *_words("count_fbs count_crtcs count_connectors count_encoders min_width max_width min_height max_height"),
    )


class ModeInfo(ctypes.Structure):
    """struct drm_mode_modeinfo."""

    _fields_ = (
        ("clock", c_uint32),
        *((name, c_uint16) for name in (
            "hdisplay", "hsync_start", "hsync_end", "htotal", "hskew",
            "vdisplay", "vsync_start", "vsync_end", "vtotal", "vscan",
        )),
        *_words("vrefresh flags type"),
        ("name", c_char * 32),
    )  # fmt: skip


class Connector(ctypes.Structure):
    """struct drm_mode_get_connector."""

    _fields_ = (
        *_longs("encoders_ptr modes_ptr props_ptr prop_values_ptr"),
        *_words(
            "count_modes count_props count_encoders encoder_id connector_id connector_type connector_type_id "
            "connection mm_width mm_height subpixel pad"
        ),
    )


class Encoder(ctypes.Structure):
    """struct drm_mode_get_encoder."""

    _fields_ = tuple(_words("encoder_id encoder_type crtc_id possible_crtcs possible_clones"))


class Crtc(ctypes.Structure):
    """struct drm_mode_crtc."""

    _fields_ = (
        *_longs("set_connectors_ptr"),
        *_words("count_connectors crtc_id fb_id x y gamma_size mode_valid"),
        ("mode", ModeInfo),
    )


class CreateDumb(ctypes.Structure):
    """struct drm_mode_create_dumb."""

    _fields_ = (*_words("height width bpp flags handle pitch"), *_longs("size"))


class MapDumb(ctypes.Structure):
    """struct drm_mode_map_dumb."""

    _fields_ = (*_words("handle pad"), *_longs("offset"))


class DestroyDumb(ctypes.Structure):
    """struct drm_mode_destroy_dumb."""

    _fields_ = tuple(_words("handle"))


class FrameBuffer(ctypes.Structure):
    """struct drm_mode_fb_cmd2."""

    _fields_ = (
        *_words("fb_id width height pixel_format flags"),
        ("handles", c_uint32 * 4), ("pitches", c_uint32 * 4), ("offsets", c_uint32 * 4), ("modifier", c_uint64 * 4),
    )  # fmt: skip


class PageFlip(ctypes.Structure):
    """struct drm_mode_crtc_page_flip."""

    _fields_ = (*_words("crtc_id fb_id flags reserved"), *_longs("user_data"))


class Capability(ctypes.Structure):
    """struct drm_get_cap."""

    _fields_ = tuple(_longs("capability value"))


def _request(number: int, structure: type[ctypes.Structure]) -> int:
    """_IOWR('d', number, structure)."""
    return 3 << 30 | ctypes.sizeof(structure) << 16 | ord("d") << 8 | number


SET_MASTER, DROP_MASTER = ord("d") << 8 | 0x1E, ord("d") << 8 | 0x1F
GET_CAP = _request(0x0C, Capability)
GETRESOURCES = _request(0xA0, Resources)
SETCRTC = _request(0xA2, Crtc)
GETENCODER = _request(0xA6, Encoder)
GETCONNECTOR = _request(0xA7, Connector)
RMFB = 3 << 30 | 4 << 16 | ord("d") << 8 | 0xAF
PAGE_FLIP = _request(0xB0, PageFlip)
CREATE_DUMB = _request(0xB2, CreateDumb)
MAP_DUMB = _request(0xB3, MapDumb)
DESTROY_DUMB = _request(0xB4, DestroyDumb)
ADDFB2 = _request(0xB8, FrameBuffer)


def ioctl(fd: int, request: int, argument: ctypes.Structure | ctypes.Array[c_uint32] | c_uint32 | int = 0) -> None:
    """Ask the kernel; it answers in the argument.

    Raises:
        OSError: It refuses.
    """
    fcntl.ioctl(fd, request, argument)  # the interpreter tries again after a signal
