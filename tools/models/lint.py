"""Lists what a named target cannot run: operators, attributes, shapes. The targets are a table, `targets.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError
from tools.models import graph

if TYPE_CHECKING:
    import onnx

TARGETS = Path(__file__).with_name("targets.toml")
KEYS = {"title": str, "source": str, "fixed_size": bool, "gmacs": float, "link_gb": float, "operators": dict}
DEFAULTS: Mapping[tuple[str, str], Any] = {  # of ONNX, where a rule asks for an attribute that a node may leave out
    ("Resize", "mode"): "nearest",
    ("Resize", "coordinate_transformation_mode"): "half_pixel",
    ("Pad", "mode"): "constant",
    ("Softmax", "axis"): -1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An accelerator, as `targets.toml` describes it."""

    name: str
    title: str = ""
    source: str = ""
    fixed_size: bool = False
    gmacs: float = 1000.0
    link_gb: float = 1.0
    operators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a target cannot run.

    Attributes:
        node: Name of the node, or of the tensor.
        operator: Its type.
        reason: Why not.
    """

    node: str
    operator: str
    reason: str


def read_targets(path: Path = TARGETS) -> dict[str, Target]:
    """All targets of a file, by name.

    Raises:
        ConfigError: It cannot be read, or has an unknown key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return {name: _target(name, table, path) for name, table in tables.items()}


def find_target(name: str, path: Path = TARGETS) -> Target:
    """A target by its name.

    Raises:
        ConfigError: There is none; the message lists them.
    """
    targets = read_targets(path)
    if name in targets:
        return targets[name]
    near = difflib.get_close_matches(name, targets, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"--target {name!r}: {hint}choose one of {', '.join(targets)}")


def lint(model: onnx.ModelProto, target: Target) -> list[Problem]:
    """What the target cannot run, in the order of the graph; empty when all of it."""
    sizes, known = graph.shapes(model), graph.constants(model)
    problems = []
    if target.fixed_size:
        problems += list(_loose(model, sizes))
    for node in model.graph.node:
        problems += [
            Problem(node.name or node.output[0], node.op_type, reason)
            for reason in _reasons(node, target, sizes, known)
        ]
    return problems


def unsupported(model: onnx.ModelProto, target: Target) -> set[str]:
    """First outputs of the nodes that the target cannot run; those that only compute on constants are none."""
    sizes, known = graph.shapes(model), graph.constants(model)
    bad = set()
    for node in model.graph.node:
        if any(name not in known for name in node.input) and any(_reasons(node, target, sizes, known)):
            bad.add(node.output[0])
    return bad


def _loose(model: onnx.ModelProto, sizes: Mapping[str, tuple[Any, ...]]) -> Iterator[Problem]:
    """The input, when its size is free: everything after it is then too."""
    item = graph.picture(model)
    shape = sizes.get(item.name, ())
    free = [str(side) for side in shape if not isinstance(side, int)]
    if free:
        yield Problem(
            item.name, "input", f"free axes {', '.join(free)}: fix them (vedette models adapt --size WIDTHxHEIGHT)"
        )


def _reasons(
    node: onnx.NodeProto, target: Target, sizes: Mapping[str, tuple[Any, ...]], known: Mapping[str, Any]
) -> Iterator[str]:
    rule = target.operators.get(node.op_type)
    if rule is None or node.domain not in {"", "ai.onnx"}:
        yield f"{node.op_type} is not among its operators" + _advice(node.op_type, target)
        return
    values = graph.attributes(node)
    for key, wanted in rule.items():
        reason = _broken(node, key, wanted, values, sizes, known)
        if reason:
            yield reason


def _broken(
    node: onnx.NodeProto,
    key: str,
    wanted: Any,
    values: Mapping[str, Any],
    sizes: Mapping[str, tuple[Any, ...]],
    known: Mapping[str, Any],
) -> str:
    """Why a node breaks one rule; empty when it does not."""
    if key == "rank":
        shape = sizes.get(node.input[0])
        return "" if shape is None or len(shape) == wanted else f"{len(shape)} axes, {wanted} expected"
    if key == "constant":
        places = [place for place in wanted if place < len(node.input) and node.input[place]]
        loose = [node.input[place] for place in places if node.input[place] not in known]
        return f"{loose[0]!r} is computed, a constant expected" if loose else ""
    if key == "kernel_max":
        sides = values.get("kernel_shape") or (sizes.get(node.input[1], ())[2:] if len(node.input) > 1 else ())
        side = max((side for side in sides if isinstance(side, int)), default=0)
        return f"kernel of {side}, at most {wanted}" if side > wanted else ""
    value = values.get(key, DEFAULTS.get((node.op_type, key)))
    if key == "axis" and isinstance(value, int) and (shape := sizes.get(node.input[0])):
        wanted = [place % len(shape) for place in wanted]
        value %= len(shape)
    return "" if value in wanted else f"{key} {value}, only {', '.join(map(str, wanted))}"


def _advice(operator: str, target: Target) -> str:
    if operator in {"Resize", "Upsample"} and "ConvTranspose" in target.operators:
        return "; vedette models adapt --deconv makes a ConvTranspose of it"
    return ""


def _target(name: str, table: Any, path: Path) -> Target:
    if not isinstance(table, dict):
        raise ConfigError(f"{path.name}: {name}: a table expected")
    for key, value in table.items():
        if key not in KEYS:
            raise ConfigError(f"{path.name}: {name}.{key}: unknown key; known here: {', '.join(KEYS)}")
        if not isinstance(value, (int, float) if KEYS[key] is float else KEYS[key]):
            raise ConfigError(f"{path.name}: {name}.{key}={value!r}: a {KEYS[key].__name__} expected")
    return Target(name=name, **table)
