"""What ONNX Runtime raises: it has no base class of its own for its errors."""

from __future__ import annotations

from onnxruntime.capi import onnxruntime_pybind11_state as errors

RUNTIME_ERRORS = (
    errors.DeviceReset, errors.EPFail, errors.EngineError, errors.Fail, errors.InvalidArgument, errors.InvalidGraph,
    errors.InvalidProtobuf, errors.NoModel, errors.NoSuchFile, errors.NotFound, errors.NotImplemented,
    errors.ModelRequiresCompilation, errors.RuntimeException,
)  # fmt: skip
LONGEST = 300  # characters of a message; some runtimes add a whole stack


def line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())[:LONGEST]
