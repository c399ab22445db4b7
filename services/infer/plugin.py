"""Finds the class behind a row of a plug-in table, or behind a dotted `module:Class` of somebody else."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from common.errors import ConfigError

INSTALL = {  # how to get a library that a backend needs
    "openvino": "pip install 'vedette[openvino]'",
    "tvm": "pip install 'vedette[tvm]'",
    "tritonclient": "pip install 'vedette[remote]'",
    "grpc": "pip install 'vedette[remote]'",
    "hailo_platform": "sudo apt install hailo-all on Raspberry Pi OS, and a venv with --system-site-packages",
}


def load_class(name: str, table: Mapping[str, str], key: str) -> Any:
    """Import and return a class.

    Args:
        name: Row of the table, or `module:Class`.
        table: `module:Class` texts by name.
        key: The setting that named it, for messages.

    Raises:
        ConfigError: No such row, module or class, or a library that it needs is missing.
    """
    target = table.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not colon or not module_name or not class_name:
        raise ConfigError(f"{key}={name!r}; choose one of {', '.join(sorted(table))}, or give module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        what = "no such module" if root and module_name.startswith(root) else INSTALL.get(root, f"install {error.name}")
        raise ConfigError(f"{key}={name!r}: {error}; {what}") from error
    try:
        return getattr(module, class_name)
    except AttributeError:
        raise ConfigError(f"{key}={name!r}: {module_name} has no {class_name}") from None
