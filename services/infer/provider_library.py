"""Plug-in execution providers: a vendor's library is registered with ONNX Runtime once, and its devices are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from common.errors import ConfigError
from common.settings import InferSettings
from services.infer.runtime_errors import RUNTIME_ERRORS, line

_registered: dict[str, str] = {}  # library by name; a second registration of a name is an error of the runtime


def register(settings: InferSettings) -> str:
    """Load `infer.provider_library` and return the name of its provider.

    That is the name that its devices carry, which need not be the one under which the library is registered; without a
    device it is the registered one.

    Raises:
        ConfigError: The library cannot be loaded, or the settings name no provider.
    """
    name, library = settings.provider_name, settings.provider_library
    if not name or not library:
        raise ConfigError("infer.provider_library is set: infer.provider_name is missing")
    path = str(Path(library).expanduser().absolute())  # the runtime would look beside itself
    if name not in _registered:
        if not Path(path).is_file():
            raise ConfigError(f"infer.provider_library={library!r}: {path} is not there")
        try:
            ort.register_execution_provider_library(name, path)
        except RUNTIME_ERRORS as error:
            raise ConfigError(f"infer.provider_library={library!r}: {line(error)}") from error
        _registered[name] = path
    if _registered[name] != path:
        raise ConfigError(f"infer.provider_name={name!r} is {_registered[name]} in this process already")
    devices = devices_of(settings)
    return str(devices[0].ep_name) if devices else str(name)


def devices_of(settings: InferSettings) -> list[Any]:
    """Devices of the registered library, as `infer.device` narrows them: all, a number, or cpu, gpu, npu.

    Raises:
        ConfigError: `infer.device` names none of them.
    """
    path = _registered.get(settings.provider_name or "", "")
    every = [
        device
        for device in ort.get_ep_devices()
        if device.ep_name == settings.provider_name or dict(device.ep_metadata).get("library_path") == path
    ]
    wanted = settings.device
    if wanted is None or not every:
        return every
    if wanted.isdecimal():
        chosen = every[int(wanted) : int(wanted) + 1]
    else:
        chosen = [device for device in every if kind(device) == wanted.lower()]
    if not chosen:
        have = ", ".join(f"{index} ({kind(device)})" for index, device in enumerate(every))
        raise ConfigError(f"infer.device={wanted!r}: {settings.provider_name} has {have}")
    return chosen


def kind(device: Any) -> str:
    """`cpu`, `gpu` or `npu`."""
    return str(device.device.type).rpartition(".")[2].lower()
