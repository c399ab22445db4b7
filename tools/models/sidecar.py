"""The .toml file beside an .onnx file: which one a converted model gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DeviceError
from services.infer.manifest import InputSpec, ModelSpec, known_model, read_sidecar


def spec_of(model: str | None) -> ModelSpec | None:
    """What is known of a model: a name of the manifest, or a path with a sidecar; None when there is nothing.

    Raises:
        ConfigError: No such name, or a wrong sidecar.
    """
    if model is None:
        return None
    path = Path(model)
    if path.suffix in {".onnx", ".toml"}:
        return read_sidecar(path) if path.with_suffix(".toml").is_file() else _cached(path)
    return known_model(model)


def resolve(model: str) -> tuple[Path, ModelSpec | None]:
    """File of a model, given by its name or path, and what is known of it.

    Raises:
        ConfigError: No such file or name, or a model that is not in the cache.
    """
    if model.endswith(".onnx"):
        path = Path(model).expanduser()
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        return path, spec_of(str(path))
    from tools.models.pull import models_dir

    spec = known_model(model)
    path = spec.cached(models_dir())
    if not path.is_file():
        raise ConfigError(f"model {model!r} is not here yet: vedette models pull {model}")
    return path, spec


def write_sidecar(spec: ModelSpec, onnx_file: Path, changed: Mapping[str, Any] | None = None) -> Path:
    """Write what is known of a model beside its file.

    Args:
        spec: Of the model that it was made of.
        onnx_file: The file that it is for.
        changed: Tables to add, such as `split`.

    Raises:
        DeviceError: It cannot be written.
    """
    lines = [f"decoder = {_toml(spec.decoder)}", f"nms_iou = {spec.nms_iou}"]
    if spec.title:
        lines.insert(0, f"title = {_toml(spec.title)}")
    if spec.licence:
        lines.insert(0, f"licence = {_toml(spec.licence)}")
    if spec.options:
        lines.append(f"options = {_toml(dict(spec.options))}")
    lines += ["", "[input]", *_input_lines(spec.input)]
    for name, table in (changed or {}).items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    path = onnx_file.with_suffix(".toml")
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error
    return path


def _input_lines(spec: InputSpec) -> list[str]:
    values = {name: getattr(spec, name) for name in ("colour", "layout", "mean", "scale", "pad", "multiple")}
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return repr(value)


def _cached(path: Path) -> ModelSpec | None:
    """A file in the model cache is known by its row of the manifest."""
    from services.infer.manifest import read_manifest
    from tools.models.pull import models_dir

    if path.resolve().parent != models_dir().resolve():
        return None
    return next((spec for spec in read_manifest().values() if spec.cached(models_dir()).name == path.name), None)
