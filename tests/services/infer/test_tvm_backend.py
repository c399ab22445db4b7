from __future__ import annotations

import numpy as np
import pytest

from common.errors import DeviceError, ModelError
from common.settings import InferSettings
from services.infer.onnxruntime_backend import OnnxRuntimeBackend

pytest.importorskip("tvm")
from services.infer import tvm_backend, tvm_compile, tvm_schedule
from services.infer.tvm_backend import TvmBackend
from services.infer.tvm_compile import RASPBERRY_PI_5, compile_model, export

SETTINGS = InferSettings(backend="tvm")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(tvm_backend, "cache_dir", lambda: tmp_path)
    return tmp_path / "compiled"


def test_same_numbers_as_onnx_runtime_and_compiled_only_once(model, cache, monkeypatch):
    path = model("yunet")
    bound = TvmBackend(path, SETTINGS).bind((64, 32))
    other = OnnxRuntimeBackend(path, InferSettings()).bind((64, 32))
    bound.tensor[:] = other.tensor[:] = np.random.default_rng(1).uniform(0, 255, bound.tensor.shape)
    for one in (bound, other):
        one.run()
    assert list(bound.outputs) == list(other.outputs)
    for name, value in other.outputs.items():
        assert np.abs(bound.outputs[name] - value).max() < 5e-6 * max(1.0, np.abs(value).max())
    monkeypatch.setattr(tvm_backend, "compile_model", None)  # would fail
    again = TvmBackend(path, SETTINGS).bind((64, 32))
    again.tensor[:] = bound.tensor
    again.run()
    assert all((again.outputs[name] == value).all() for name, value in bound.outputs.items())
    assert len(list(cache.glob("*.so"))) == 1


def test_small_model_runs_without_a_linker(make_model, monkeypatch):
    monkeypatch.setattr(tvm_compile, "LINKERS", ())
    path = make_model({"scores": np.arange(8, dtype=np.float32).reshape(1, 4, 2)}, "", (1, 3, 8, 8))
    bound = TvmBackend(path, SETTINGS).bind((8, 8))
    bound.run()
    assert bound.outputs["scores"].reshape(-1).tolist() == list(range(8))


def test_graph_that_cannot_be_laid_out_runs_with_plain_loops_and_says_so(make_model, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("no such layout")

    monkeypatch.setattr(tvm_schedule, "lowered", fails)
    path = make_model({"scores": np.arange(8, dtype=np.float32).reshape(1, 4, 2)}, "", (1, 3, 8, 8))
    bound = TvmBackend(path, SETTINGS).bind((8, 8))
    bound.run()
    assert bound.outputs["scores"].reshape(-1).tolist() == list(range(8))
    assert "plain loops, many times slower model=tiny.onnx reason=no such layout" in caplog.text


def test_size_that_does_not_fit_names_the_operator(model):
    with pytest.raises(ModelError, match=r"cannot compile it: Error converting operator Add"):
        TvmBackend(model("yunet"), SETTINGS).bind((72, 40))


def test_files_and_inputs_that_do_not_fit(make_model, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"x.onnx: not readable as ONNX"):
        TvmBackend(tmp_path / "x.onnx", SETTINGS)
    with pytest.raises(ModelError, match=r"input 'input' is FLOAT \[1, 1, 8, 8\]; 3 channels on axis 1"):
        TvmBackend(make_model({"scores": np.zeros((1, 4, 2))}, "", (1, 1, 8, 8)), SETTINGS)


def test_missing_cross_linker_is_named(make_model, tmp_path, monkeypatch):
    path = make_model({"scores": np.zeros((1, 4, 2))}, "", (1, 3, 8, 8))
    compiled = compile_model(path, (1, 3, 8, 8), RASPBERRY_PI_5)
    monkeypatch.setattr(tvm_compile, "CROSS_LINKER", "no-such-linker")
    with pytest.raises(DeviceError, match=r"sudo apt install g\+\+-aarch64-linux-gnu"):
        export(compiled, tmp_path / "x.so", RASPBERRY_PI_5)
