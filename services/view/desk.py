"""What the web pages may see and do: the scenes of all cameras, and a slot for commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.drawing.scene import Scene
from common.wire import Command
from services.view.viewers import Channel

if TYPE_CHECKING:
    from services.view.rtsp.server import Rtsp


@dataclass(frozen=True, slots=True)
class Desk:
    """The loop's side, as the server's thread sees it.

    Attributes:
        scenes: By camera, in the order of the settings.
        channels: Their JPEG pictures, by camera.
        rtsp: The RTSP server and pushes; None when the settings ask for none.
        ask: Sends a command on its way; does not wait.
        switches_away: True when nobody obeys commands now.
    """

    scenes: Mapping[str, Scene]
    channels: Mapping[str, Channel]
    rtsp: Rtsp | None
    ask: Callable[[Command], None]
    switches_away: Callable[[], bool]
