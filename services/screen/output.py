"""What an output is, and the table of those there are."""

from __future__ import annotations

import importlib
from typing import Protocol

from common.errors import ConfigError, VedetteError
from common.pixels import Plane
from common.settings import ScreenSettings

OUTPUTS = {
    "kms": "services.screen.kms:KmsOutput",
    "window": "services.screen.window:WindowOutput",
}


class Resized(VedetteError):  # noqa: N818 - a state, not a fault
    """The surface has another size from now on: open it again, without closing."""


class Output(Protocol):
    """A surface that people look at. One thread uses it.

    Attributes:
        fd: Readable when `ready` may have changed; None when it has none.
        name: Of the surface, for reports.
    """

    fd: int | None
    name: str

    def open(self) -> tuple[int, int]:
        """Take the surface; gives width and height in pixels.

        Raises:
            DeviceError: It cannot be had now; worth another try.
            ConfigError: What was asked for cannot exist.
        """

    def ready(self) -> bool:
        """Look after events; True when the next picture may come. Call at least ten times a second.

        Raises:
            DeviceError: The surface is gone.
            Resized: Open again.
        """

    def show(self, picture: Plane) -> None:
        """Show a whole picture, shape (height, width, 3), BGR; does not wait for the display.

        Raises:
            DeviceError: The surface is gone.
        """

    def close(self) -> None:
        """Give the surface back; a second call does nothing."""


class Factory(Protocol):
    """What a row of the table names."""

    def __call__(self, settings: ScreenSettings) -> Output:
        """An output that is not open yet."""


def make_output(settings: ScreenSettings) -> Output:
    """The output of the settings.

    Raises:
        ConfigError: No such output, or its library is missing.
    """
    name = settings.output
    if ":" not in name and name not in OUTPUTS:
        raise ConfigError(f"screen.output={name!r}; choose one of none, {', '.join(OUTPUTS)}, or module:Class")
    module, _, attribute = OUTPUTS.get(name, name).partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"screen.output={name!r}: {error}") from error
    return factory(settings)
