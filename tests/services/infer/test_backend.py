from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest

from common.errors import ConfigError, DeviceError, ModelError
from common.settings import InferSettings
from services.infer import onnxruntime_backend
from services.infer.backends import load_backend
from services.infer.onnxruntime_backend import CPU, OnnxRuntimeBackend
from services.infer.runtime_errors import errors

SCORES = {"scores": np.zeros((1, 4, 2), np.float32)}


def test_unknown_backend_lists_the_choices(tmp_path):
    with pytest.raises(
        ConfigError, match=r"infer.backend='onnx'; choose one of hailo, onnxruntime, .*tvm, or give module:Class"
    ):
        load_backend(tmp_path / "x.onnx", InferSettings(backend="onnx"), "nchw")


def test_backend_of_somebody_else_is_named_by_module_and_class(tmp_path, monkeypatch):
    (tmp_path / "my_npu.py").write_text(
        "class Npu:\n    def __init__(self, path, settings, layout):\n        self.path = path\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    backend = load_backend(tmp_path / "x.hef", InferSettings(backend="my_npu:Npu"), "nchw")
    assert backend.path.name == "x.hef"


ONE_BY_ONE = """
class Npu:
    def __init__(self, path, settings, layout):
        pass

    def bind(self, size):
        raise NotImplementedError
"""


def test_backend_that_takes_one_picture_at_a_time_is_refused_for_batches(tmp_path, monkeypatch):
    (tmp_path / "one_by_one.py").write_text(ONE_BY_ONE)
    monkeypatch.syspath_prepend(tmp_path)
    name = "one_by_one:Npu"
    load_backend(tmp_path / "x.hef", InferSettings(backend=name), "nchw")
    with pytest.raises(ConfigError, match=f"infer.max_batch=2: the backend '{name}' takes one picture at a time"):
        load_backend(tmp_path / "x.hef", InferSettings(backend=name, max_batch=2), "nchw")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Npu", "no such module"),
        ("json:Npu", "json has no Npu"),
    ],
)
def test_backend_that_cannot_be_imported_says_why(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        load_backend(tmp_path / "x.onnx", InferSettings(backend=name), "nchw")


def test_backend_whose_library_is_missing_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import a_library_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="install a_library_that_is_missing"):
        load_backend(tmp_path / "x.onnx", InferSettings(backend="needs_more:Npu"), "nchw")


def test_unknown_provider_lists_what_is_there(make_model):
    path = make_model(SCORES, "")
    with pytest.raises(ConfigError, match=r"'CudaProvider' is not there; this ONNX Runtime has .*CPUExecutionProvider"):
        OnnxRuntimeBackend(path, InferSettings(providers=["CudaProvider"]))


def test_plugin_library_that_cannot_be_loaded_is_a_configuration_error(make_model, tmp_path):
    library = tmp_path / "libnpu.so"
    library.write_bytes(b"no ELF")
    settings = InferSettings(provider_library=str(library), provider_name="NpuProvider", providers=["NpuProvider"])
    with pytest.raises(ConfigError, match=r"infer.provider_library=.*libnpu.so"):
        OnnxRuntimeBackend(make_model(SCORES, ""), settings)


def test_plugin_library_needs_a_name(make_model):
    with pytest.raises(ConfigError, match=r"infer.provider_name is missing"):
        OnnxRuntimeBackend(make_model(SCORES, ""), InferSettings(provider_library="/x.so"))


def test_cpu_placement_is_proven_by_the_runtimes_record(model):
    backend = OnnxRuntimeBackend(model("yunet"), InferSettings())
    assert backend.placement.wanted == CPU
    assert not backend.placement.fallback
    assert set(backend.placement.nodes) == {CPU}
    assert backend.placement.nodes[CPU] > 50


@pytest.mark.skipif("AzureExecutionProvider" not in ort.get_available_providers(), reason="no second provider here")
def test_provider_that_takes_no_node_is_a_loud_fallback(model, caplog):
    settings = InferSettings(providers=["AzureExecutionProvider"])
    backend = OnnxRuntimeBackend(model("yunet"), settings)
    assert "took none of the" in backend.placement.fallback
    assert backend.placement.nodes.keys() == {CPU}
    assert "falling back to the CPU, AzureExecutionProvider" in caplog.text
    bound = backend.bind((64, 32))
    bound.run()


class FailingSession:
    """A session whose accelerator says that it took all nodes, and then cannot run: stands in for an NPU."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, *_):
        raise errors.InvalidGraph("only 1-D convolutions")


def test_provider_that_fails_in_its_first_run_is_a_loud_fallback(model, monkeypatch, caplog):
    real = ort.InferenceSession
    cpu_only = [(CPU, {})]

    def session(path, options, providers):
        made = real(path, options, providers=cpu_only)
        return made if providers == cpu_only else FailingSession(made)

    monkeypatch.setattr(onnxruntime_backend.ort, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime_backend.ort, "get_available_providers", lambda: ["Npu", CPU])
    monkeypatch.setattr(onnxruntime_backend, "_nodes", lambda _: {"Npu": 100})
    backend = OnnxRuntimeBackend(model("yunet"), InferSettings(providers=["Npu"]))
    assert "only 1-D convolutions" in backend.placement.fallback
    assert "falling back to the CPU, Npu" in caplog.text
    backend.bind((64, 32)).run()


def test_input_and_output_buffers_are_used_in_place(model):
    bound = OnnxRuntimeBackend(model("yunet"), InferSettings()).bind((64, 32))
    arrays = dict(bound.outputs)
    bound.tensor[:] = np.random.default_rng(1).uniform(0, 255, bound.tensor.shape)
    bound.run()
    first = {name: value.copy() for name, value in arrays.items()}
    bound.tensor[:] = 0
    bound.run()
    assert all(bound.outputs[name] is value for name, value in arrays.items())
    assert any((first[name] != value).any() for name, value in arrays.items())


def test_two_sizes_live_side_by_side(model):
    backend = OnnxRuntimeBackend(model("yunet"), InferSettings())
    small, large = backend.bind((64, 32)), backend.bind((128, 96))
    small.tensor[:] = large.tensor[:] = 77
    small.run()
    before = {name: value.copy() for name, value in small.outputs.items()}
    large.run()
    small.run()
    assert all((before[name] == value).all() for name, value in small.outputs.items())


@pytest.mark.parametrize("name", ["yunet", "centerface", "retinaface-mobilenet"])
def test_each_picture_of_a_batch_is_answered_as_alone(model, assert_rows_as_alone, name):
    backend = OnnxRuntimeBackend(model(name), InferSettings())
    alone, batched = backend.bind((96, 64)), backend.bind((96, 64), 4)
    assert batched.tensor.shape == (4, 3, 64, 96)
    for count in (4, 1, 3, 2, None):
        assert_rows_as_alone(alone, batched, count, 1e-4)


def test_fewer_pictures_leave_the_rows_of_the_others_alone(model):
    bound = OnnxRuntimeBackend(model("yunet"), InferSettings()).bind((96, 64), 3)
    arrays = dict(bound.outputs)
    bound.tensor[:] = np.random.default_rng(1).uniform(0, 255, bound.tensor.shape)
    bound.run()
    before = {name: value.copy() for name, value in arrays.items()}
    bound.tensor[:] = 0
    bound.run(2)
    assert all(bound.outputs[name] is value for name, value in arrays.items())
    assert all((before[name][2] == value[2]).all() for name, value in arrays.items())
    assert any((before[name][:2] != value[:2]).any() for name, value in arrays.items())


def test_model_of_a_fixed_batch_is_refused_for_batches_and_says_what_to_do(make_model):
    backend = OnnxRuntimeBackend(make_model(SCORES, ""), InferSettings())
    with pytest.raises(
        ModelError, match=r"batch axis that is fixed to 1, so infer.max_batch=2 cannot be: set it to 1, or"
    ):
        backend.bind((64, 64), 2)


def test_graph_that_answers_one_picture_only_is_refused_for_batches(make_model):
    backend = OnnxRuntimeBackend(make_model(SCORES, "", ("batch", 3, 64, 64)), InferSettings())
    with pytest.raises(ModelError, match=r"output 'scores' has shape \(1, 4, 2\) for 2 pictures, .*max_batch to 1"):
        backend.bind((64, 64), 2)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 64, 64), "3 channels on axis 1"),
        ((2, 3, 64, 64), "a batch of 1"),
        ((1, 3, 64), "four axes"),
        ((1, 64, 64, 3), "3 channels on axis 1 expected .layout nchw."),
    ],
)
def test_input_that_is_no_picture_is_named(make_model, shape, message):
    with pytest.raises(ModelError, match=rf"input 'input' is tensor\(float\) .*{message}"):
        OnnxRuntimeBackend(make_model(SCORES, "", shape), InferSettings())


def test_fixed_size_is_read_from_the_model(make_model):
    backend = OnnxRuntimeBackend(make_model(SCORES, "", (1, 3, 48, 64)), InferSettings())
    assert backend.fixed_size == (64, 48)
    with pytest.raises(ModelError, match="fixed to"):
        backend.bind((32, 32))


def test_channels_last_model_gets_its_layout(make_model):
    backend = OnnxRuntimeBackend(make_model(SCORES, "", (1, 48, 64, 3)), InferSettings(), "nhwc")
    assert backend.fixed_size == (64, 48)
    assert backend.bind((64, 48)).tensor.shape == (1, 48, 64, 3)


def test_file_that_is_no_model_is_a_model_error(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(ModelError, match="cannot load it"):
        OnnxRuntimeBackend(path, InferSettings())


def test_size_that_the_model_cannot_run_is_a_model_error(model):
    with pytest.raises(ModelError, match="does not run at 72x40"):
        OnnxRuntimeBackend(model("yunet"), InferSettings()).bind((72, 40))


def test_failure_after_load_is_a_device_error(model):
    bound = OnnxRuntimeBackend(model("yunet"), InferSettings()).bind((64, 32))

    class Gone:
        def run_with_iobinding(self, *_):
            raise errors.EPFail("device lost")

    bound._session = Gone()
    with pytest.raises(DeviceError, match="device lost"):
        bound.run()


def test_one_thread_is_one_thread(model):
    """A worker with `threads: 1` starts no pool; supervision counts on it."""
    code = (
        "import sys, pathlib\n"
        "from common.settings import InferSettings\n"
        "from services.infer.onnxruntime_backend import OnnxRuntimeBackend\n"
        "tasks = pathlib.Path('/proc/self/task')\n"
        "before = len(list(tasks.iterdir()))\n"
        "bound = OnnxRuntimeBackend(pathlib.Path(sys.argv[1]), InferSettings()).bind((64, 32))\n"
        "bound.run()\n"
        "print(len(list(tasks.iterdir())) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model("yunet"))], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
