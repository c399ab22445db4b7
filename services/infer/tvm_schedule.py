"""Lays TVM's loops over a processor: convolutions in tiles that stay in its vector registers.

TVM's own pipeline leaves plain loops over channels-first pictures, ten times slower than ONNX Runtime. Here the
channels come last, so that a vector is some channels of one pixel. A function of a form not known here keeps its loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LAYOUTS = {  # TVM has no loops for a transposed convolution with the channels last
    "relax.nn.conv2d": ["NHWC", "HWIO"],
    "relax.nn.conv2d_transpose": ["NCHW", "IOHW"],
}
AXES = 4  # picture, row, column, channel
VECTORS = 4  # of channels in a tile, at most; the rest of it are columns
ROWS = 16  # in a tile of a padded convolution, at most: its padded input stays in the cache of the core
OUTPUT, ACCUMULATOR = 0, "local"
REDUCTION = 2  # kind of an axis that is summed over


@dataclass(frozen=True, slots=True)
class Registers:
    """Vector registers of a processor.

    Attributes:
        lanes: float32 numbers in one.
        count: How many there are.
    """

    lanes: int
    count: int

    @property
    def accumulators(self) -> int:
        """How many hold sums: with three quarters of them the code is longer and no faster."""
        return self.count // 2


REGISTERS = {"avx512f": Registers(16, 32), "avx": Registers(8, 16), "neon": Registers(4, 32)}  # the best one first


def registers_of(target: Any) -> Registers:
    """The vector registers of a target, by the features that LLVM knows of it.

    Args:
        target: A `tvm.target.Target`.
    """
    from tvm.target.codegen import target_has_features

    known = (feature for feature in REGISTERS if target_has_features(feature, target))
    return REGISTERS.get(next(known, ""), Registers(4, 16))


def lowered(module: Any, target: Any) -> Any:
    """A graph as loops, laid out for a target and ready for `tvm.compile`."""
    import tvm
    from tvm import relax
    from tvm.relax.backend.cpu_generic.pipeline import legalize_passes

    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.FoldConstant(),
        relax.transform.ConvertLayout(LAYOUTS),
        relax.transform.Normalize(),
        relax.transform.FoldConstant(),
        *legalize_passes(target),
    ]
    with target:
        module = tvm.transform.Sequential(passes)(module)
    registers = registers_of(target)
    for name, function in module.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            module[name] = scheduled(function, registers)
    return module


def scheduled(function: Any, registers: Registers) -> Any:
    """One function with its loops laid out; as it was when it has none or its form is not known."""
    from tvm import s_tir

    plan = s_tir.Schedule(function)
    blocks = plan.get_child_blocks(plan.get_sblock("root"))
    sums = [index for index, block in enumerate(blocks) if _reduces(plan, block)]
    try:
        if not sums:
            _elementwise(plan, blocks, registers)
        elif len(sums) == 1:
            _convolution(plan, blocks[: sums[0]], blocks[sums[0]], blocks[sums[0] + 1 :], registers)
        else:
            return function
    except s_tir.ScheduleError:
        return function
    return plan.mod["main"]


def _elementwise(plan: Any, blocks: list[Any], registers: Registers) -> None:
    """One loop over all elements, a vector at a time."""
    for block in blocks[:-1]:
        plan.compute_inline(block)
    loops = plan.get_loops(blocks[-1])
    if loops:
        every = plan.fuse(*loops)
        _, lanes = plan.split(every, [None, _divisor(_extent(plan, every), registers.lanes)])
        plan.vectorize(lanes)


def _convolution(plan: Any, before: list[Any], core: Any, after: list[Any], registers: Registers) -> None:
    """Tiles of columns x channels whose sums stay in registers; bias and the like are added as they are stored."""
    for block in after[:-1]:
        plan.compute_inline(block)
    last = after[-1] if after else plan.cache_write(core, OUTPUT, ACCUMULATOR)
    loops = plan.get_loops(last)
    if len(loops) != AXES:
        return
    picture, row, column, channel = loops
    channels, lanes = _extent(plan, channel), min(registers.lanes, _extent(plan, channel))
    vectors = _divisor(max(1, channels // lanes), VECTORS) if channels % lanes == 0 else 1
    columns = _divisor(_extent(plan, column), max(1, registers.accumulators // vectors))
    band, row = plan.split(row, [None, _divisor(_extent(plan, row), ROWS)])
    column, columns_inside = plan.split(column, [None, columns])
    channel, channels_inside = plan.split(channel, [None, vectors * lanes])
    plan.reorder(picture, band, row, column, channel, columns_inside, channels_inside)
    outside = len((picture, band, row, column, channel))
    plan.parallel(band)
    plan.unroll(columns_inside)
    _vectorise(plan, channels_inside, lanes)
    plan.set_scope(core, OUTPUT, ACCUMULATOR)
    plan.compute_at(core, channel, preserve_unit_loops=True)
    _, _, across, deep, *summed = plan.get_loops(core)[outside:]
    plan.reorder(*summed, across, deep)
    plan.unroll(across)
    _vectorise(plan, deep, lanes)
    for block in reversed(before):
        _pad(plan, block, band, registers)
    plan.decompose_reduction(core, summed[0])


def _pad(plan: Any, block: Any, band: Any, registers: Registers) -> None:
    """Pad a band of rows at a time; a copy without a border is none."""
    read, written = (plan.get(block).reads[0].source.shape, plan.get(block).writes[0].source.shape)
    if list(map(int, read)) == list(map(int, written)):
        plan.compute_inline(block)
        return
    plan.compute_at(block, band, preserve_unit_loops=True)
    _vectorise(plan, plan.get_loops(block)[-1], registers.lanes)


def _vectorise(plan: Any, loop: Any, lanes: int) -> None:
    """Make vectors of a loop: of so many lanes where it divides, else one of all."""
    extent = _extent(plan, loop)
    if extent > lanes and extent % lanes == 0:
        outer, loop = plan.split(loop, [None, lanes])
        plan.unroll(outer)
    if extent > 1:
        plan.vectorize(loop)


def _extent(plan: Any, loop: Any) -> int:
    return int(plan.get(loop).extent)


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number up to a limit."""
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)


def _reduces(plan: Any, block: Any) -> bool:
    return any(axis.iter_type == REDUCTION for axis in plan.get(block).iter_vars)
