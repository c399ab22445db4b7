"""Compiles an ONNX model with Apache TVM for one input size and one processor, and finds compiled ones again.

Nothing here runs a model. A library is named after everything that it depends on, so a stale one is never found.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DeviceError, ModelError
from services.infer import tvm_schedule

log = logging.getLogger(__name__)

LINKERS = ("g++", "c++", "clang++")
CROSS_LINKER = "aarch64-linux-gnu-g++"  # Debian package g++-aarch64-linux-gnu
LONGEST = 300
TVM_ERRORS = (  # its importer and compiler raise whatever Python offers
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A processor.

    Attributes:
        cpu: Name that LLVM has for it: znver4, cortex-a76.
        triple: Of another machine than this; empty for this one.
    """

    cpu: str
    triple: str = ""

    @property
    def linker(self) -> str:
        """Program that makes the shared library; empty when there is none."""
        names = (CROSS_LINKER,) if self.triple else LINKERS
        return next((name for name in names if shutil.which(name)), "")


RASPBERRY_PI_5 = Target("cortex-a76", "aarch64-linux-gnu")


def this_machine() -> Target:
    """The processor that this process runs on."""
    import tvm

    return Target(str(tvm.get_global_func("target.llvm_get_system_cpu")()))


def library(model: Path, shape: tuple[int, ...], target: Target, folder: Path) -> Path:
    """Where the compiled form of a model is kept."""
    import tvm

    made_by = Path(tvm_schedule.__file__).read_bytes()  # other loops, another library
    digest = hashlib.sha256(model.read_bytes() + made_by).hexdigest()[:12]
    size = "x".join(str(axis) for axis in shape[1:])
    return folder / f"{model.stem}-{digest}-{size}-{target.cpu}-tvm{tvm.__version__}.so"


def compile_model(model: Path, shape: tuple[int, ...], target: Target) -> Any:
    """The compiled form of a model for one input shape.

    Raises:
        ModelError: TVM cannot read it, or lacks an operator of it.
    """
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    said = io.StringIO()  # the importer prints which operator it stumbled over, and raises something else
    try:
        graph = onnx.load(str(model))
        name = picture_input(graph, model)
        with contextlib.redirect_stdout(said):
            module = from_onnx(graph, shape_dict={name: list(shape)}, keep_params_in_input=False)
            return _compiled(module, tvm.target.Target(_described(target)), model.name)
    except ModelError:
        raise
    except TVM_ERRORS as error:
        where = said.getvalue().partition(",")[0].strip().splitlines()
        what = f"{where[-1]}: {_line(error)}" if where else _line(error)
        raise ModelError(f"{model.name}: TVM {tvm.__version__} cannot compile it: {what}") from error


def export(compiled: Any, path: Path, target: Target) -> None:
    """Write a shared library.

    Raises:
        DeviceError: There is no linker.
    """
    from tvm.support import cc

    if not target.linker:
        wanted = "g++-aarch64-linux-gnu" if target.triple else "g++"
        raise DeviceError(f"a linker is missing: sudo apt install {wanted}")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{os.getpid()}-{path.name}")
    compiled.export_library(str(fresh), fcompile=cc.cross_compiler(target.linker))
    fresh.replace(path)


def picture_input(graph: Any, model: Path) -> str:
    """Name of the only input that is not a weight.

    Raises:
        ModelError: There is none, or more than one.
    """
    weights = {item.name for item in graph.graph.initializer}
    names = [item.name for item in graph.graph.input if item.name not in weights]
    if len(names) != 1:
        raise ModelError(f"{model.name}: inputs {names}, one expected")
    return str(names[0])


def _compiled(module: Any, target: Any, name: str) -> Any:
    import tvm

    try:
        return tvm.compile(tvm_schedule.lowered(module, target), target=target)
    except TVM_ERRORS as error:
        log.warning("compiled with TVM's plain loops, many times slower model=%s reason=%s", name, _line(error))
    return tvm.compile(module, target=target)


def _described(target: Target) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": "llvm", "mcpu": target.cpu}
    return {**described, "mtriple": target.triple} if target.triple else described


def _line(error: Exception) -> str:
    """The last line that says something: TVM puts its whole C++ stack before it."""
    rows = [row.strip() for row in str(error).splitlines() if row.strip()]
    return (rows[-1] if rows else type(error).__name__)[:LONGEST]
