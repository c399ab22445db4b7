"""Changes a model for an accelerator (opset, shapes, operators, precision); proves each step equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from common.errors import ConfigError, ModelError
from services.infer.manifest import InputSpec
from tools.models import graph
from tools.models.frames import Picture, tensor
from tools.models.proof import Step, Tensors, largest_difference, run, session
from tools.models.resize import resize_to_deconv
from tools.models.simplify import quiet, simplify

if TYPE_CHECKING:
    import onnx

Progress = Callable[[Step], None]
LOWEST_OPSET = 7
USUAL_LONGER = 320  # of a model that takes any size, when none is asked for
ROUNDING, HALF = 1e-5, 5e-2  # what a step may change, times the largest value of an output (at least 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What shall be changed; everything else stays.

    Attributes:
        opset: Version of the operators.
        size: Fixed width and height.
        deconv: Resize becomes ConvTranspose.
        float16: Weights and arithmetic of half precision; input and outputs stay float32.
        simplify: Fold and fuse at the end.
    """

    opset: int | None = None
    size: tuple[int, int] | None = None
    deconv: bool = False
    float16: bool = False
    simplify: bool = True


def adapt(
    source: Path,
    out: Path,
    wishes: Wishes,
    spec: InputSpec | None,
    pictures: Sequence[Picture],
    progress: Progress = lambda _step: None,
) -> list[Step]:
    """Change a model and write it; returns the proven steps.

    Raises:
        ConfigError: Wishes that cannot be, or no such file.
        ModelError: A step fails or is not equal; the message names the operator or output.
    """
    model = graph.read(source)
    spec = spec or guess_input(model)
    size = _size(model, wishes.size, spec)
    tensors = [tensor(item, spec, size, USUAL_LONGER) for item in pictures]
    before = outputs(model, tensors)
    steps: list[Step] = []
    for name, limit, change in _changes(wishes, spec):
        made, detail = change(model)
        graph.check(made, name)
        after = outputs(made, tensors)
        difference = largest_difference(before, after, name, limit)
        step = Step(name, detail, difference, limit, len(tensors), out)
        steps.append(step)
        progress(step)
        model, before = made, after
    if not steps:
        raise ConfigError("nothing to do: give --opset, --size, --deconv, --float16 or --simplify")
    graph.write(model, out)
    return steps


def outputs(model: onnx.ModelProto, tensors: Sequence[NDArray[Any]]) -> list[Tensors]:
    """What a model makes of each tensor."""
    loaded, name = session(model), graph.picture(model).name
    return [run(loaded, {name: item}) for item in tensors]


def guess_input(model: onnx.ModelProto) -> InputSpec:
    """What a model wants as far as its graph says: the layout; no normalisation.

    Raises:
        ModelError: The input is no picture.
    """
    item = graph.picture(model)
    shape = graph.shapes(model).get(item.name, ())
    if len(shape) != 4 or 3 not in {shape[1], shape[3]}:
        raise ModelError(
            f"input {item.name!r} has shape {shape}; [1, 3, height, width] or [1, height, width, 3] expected"
        )
    return InputSpec(layout="nchw" if shape[1] == 3 else "nhwc")


def fixed_size(model: onnx.ModelProto, layout: str) -> tuple[int, int] | None:
    """Width and height that the graph is fixed to."""
    shape = graph.shapes(model).get(graph.picture(model).name, ())
    if len(shape) != 4:
        raise ModelError(f"input {graph.picture(model).name!r} has shape {shape}; four axes expected")
    height, width = (shape[2], shape[3]) if layout == "nchw" else (shape[1], shape[2])
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def to_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """The same model with another version of the operators.

    Raises:
        ConfigError: No such version.
        ModelError: An operator cannot be expressed in it.
    """
    kit = graph.library()
    newest = kit.defs.onnx_opset_version()
    if not LOWEST_OPSET <= version <= newest:
        raise ConfigError(f"--opset {version}: {LOWEST_OPSET} to {newest} expected")
    fixed = {item.name for item in model.graph.initializer}
    kept = [item for item in model.graph.input if item.name not in fixed]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # from here on constants are no inputs
    try:
        made: onnx.ModelProto = kit.version_converter.convert_version(model, version)
    except (kit.version_converter.ConvertError, *graph.REFUSALS) as error:
        raise ModelError(f"opset {graph.opset(model)} to {version}: {graph.short(error)}") from error
    return made


def fix_size(model: onnx.ModelProto, size: tuple[int, int], layout: str) -> onnx.ModelProto:
    """A copy for one batch and one size, shapes of every tensor written down.

    Raises:
        ModelError: The graph contradicts it; the message names the operator.
    """
    kit = graph.library()
    made = kit.ModelProto()
    made.CopyFrom(model)
    height, width = (2, 3) if layout == "nchw" else (1, 2)
    dims = graph.picture(made).type.tensor_type.shape.dim
    for axis, value in ((0, 1), (width, size[0]), (height, size[1])):
        dims[axis].dim_value = value
    del made.graph.value_info[:]
    for item in made.graph.output:
        item.type.tensor_type.ClearField("shape")
    made = simplify(made)
    try:
        done: onnx.ModelProto = kit.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    except (kit.shape_inference.InferenceError, *graph.REFUSALS) as error:
        raise ModelError(f"size {size[0]}x{size[1]}: {graph.short(error)}") from error
    loose = [
        item.name
        for item in done.graph.output
        if None in (shape := graph.shapes(done)[item.name]) or str in map(type, shape)
    ]
    if loose:
        raise ModelError(f"size {size[0]}x{size[1]}: the shape of output {loose[0]!r} still depends on the data")
    return done


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Half precision inside, float32 at input and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        with quiet():
            made: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    except graph.REFUSALS as error:
        raise ModelError(f"float16: {graph.short(error)}") from error
    graph.sort(made)
    return made


def _changes(
    wishes: Wishes, spec: InputSpec
) -> list[tuple[str, float, Callable[[onnx.ModelProto], tuple[onnx.ModelProto, str]]]]:
    """The steps, in the order that works: newest operators, known shapes, replacements, precision."""
    steps: list[tuple[str, float, Callable[[onnx.ModelProto], tuple[onnx.ModelProto, str]]]] = []
    if wishes.opset is not None:
        version = wishes.opset
        steps.append(("opset", ROUNDING, lambda m: (to_opset(m, version), f"{graph.opset(m)} to {version}")))
    if wishes.size is not None:
        size = wishes.size
        steps.append(("fixed size", ROUNDING, lambda m: (fix_size(m, size, spec.layout), f"{size[0]}x{size[1]}")))
    if wishes.deconv:
        steps.append(("deconv", ROUNDING, _deconv))
    if wishes.simplify:
        steps.append(("simplified", ROUNDING, _simplified))
    if wishes.float16:
        steps.append(("float16", HALF, lambda m: (to_float16(m), "input and outputs stay float32")))
    return steps


def _deconv(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    made = graph.library().ModelProto()
    made.CopyFrom(model)
    lines = resize_to_deconv(made)
    return made, f"{len(lines)} Resize replaced, alone {'; '.join(lines)}" if lines else "no Resize in it"


def _simplified(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    made = simplify(model)
    return made, f"onnxslim, {len(model.graph.node)} operators before, {len(made.graph.node)} now"


def _size(model: onnx.ModelProto, wish: tuple[int, int] | None, spec: InputSpec) -> tuple[int, int] | None:
    """Width and height to work with; None takes them from each picture."""
    now = fixed_size(model, spec.layout)
    if wish and now not in {None, wish}:
        raise ModelError(f"input {graph.picture(model).name!r} is fixed to {now} already, not {wish}")
    if wish and any(side % spec.multiple for side in wish):
        raise ConfigError(f"--size {wish[0]}x{wish[1]}: multiples of {spec.multiple} expected by this model")
    return wish or now
