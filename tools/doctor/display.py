"""Checks of the display that the node shows its picture on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from common.errors import DeviceError
from common.settings import Settings
from tools.doctor.finding import Finding, fail, ok, warn
from tools.supervisor.node import running

DRI = Path("/dev/dri")
GROUP = "sudo usermod -aG video $USER, then log in again"


def screen(settings: Settings, directory: Path = DRI) -> Iterator[Finding]:
    """The display is there and free."""
    match settings.screen.output:
        case "none":
            return
        case "window" if importlib.util.find_spec("sdl2") is None:
            yield fail("screen", "PySDL2 is missing", 'pip install "vedette[window]"')
        case "kms" if running(settings) is not None:
            yield ok("screen", "the running node has it; see `vedette status`")
        case "kms":
            yield _kms(settings.screen.connector, directory)
        case other:
            yield ok("screen", other)


def _kms(wished: str | None, directory: Path) -> Finding:
    """What the graphics cards say; nothing is shown."""
    from services.screen.kms_card import Card, cards

    problems: list[Finding] = []
    try:
        paths = cards(directory)
    except DeviceError as error:
        return fail("screen", str(error), "on a Pi: dtoverlay=vc4-kms-v3d in /boot/firmware/config.txt")
    for path in paths:
        try:
            card = Card(path)
        except DeviceError as error:
            problems.append(fail("screen", str(error), GROUP if "no right" in str(error) else "another card may do"))
            continue
        try:
            found = [one for one in card.displays() if one.connected and one.modes and wished in {None, one.name}]
            if found and card.is_owner():
                return ok("screen", f"{found[0].name} on {path}")
            if found:
                return fail("screen", f"another program owns {path}", "stop the desktop (systemctl isolate multi-user)")
            problems.append(warn("screen", f"no display at {path} ({wished or 'any connector'})", "plug one in"))
        finally:
            card.close()
    return problems[-1]
