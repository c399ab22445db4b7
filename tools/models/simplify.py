"""Folds and fuses a graph with onnxslim, and keeps libraries that talk off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.errors import ConfigError, ModelError
from tools.models.graph import REFUSALS, label, short

if TYPE_CHECKING:
    import onnx


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with constants folded and operators fused.

    Raises:
        ConfigError: onnxslim is not installed.
        ModelError: It cannot.
    """
    try:
        import onnxslim
    except ModuleNotFoundError as error:
        raise ConfigError("simplifying needs the package onnxslim: pip install 'vedette[models]'") from error
    try:
        with quiet():
            made: onnx.ModelProto = onnxslim.slim(model)
    except REFUSALS as error:
        raise ModelError(f"onnxslim fails at {label(model.graph.node[0])} or later: {short(error)}") from error
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library prints off the terminal, its C++ code included; its errors come as exceptions."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    level = logging.root.manager.disable
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)
