"""The messages of the bus, each to the scene of its camera."""

from __future__ import annotations

from collections.abc import Mapping

from common.bus import Receiver
from common.drawing.scene import Scene


def pass_on(
    scenes: Mapping[str, Scene], controls: Receiver, states: Receiver, frames: Receiver, tracks: Receiver
) -> bool:
    """Take all messages; switches come first, so that no picture is made against them.

    Returns:
        True when the state of the switches was told.
    """
    told = controls.drain()
    for row in (row for message in told for row in message.cameras):
        if row.camera in scenes:
            scenes[row.camera].on_control(row)
    for state in states.drain():
        if state.camera in scenes:
            scenes[state.camera].on_state(state)
    for handle in frames.drain():
        if handle.camera in scenes:
            scenes[handle.camera].on_frame(handle)
    for result in tracks.drain():
        if result.frame.camera in scenes:
            scenes[result.frame.camera].on_tracks(result)
    return bool(told)
