from __future__ import annotations

import numpy as np
import pytest

from common.errors import ConfigError, DeviceError, ModelError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import build_detector
from services.infer.onnxruntime_backend import OnnxRuntimeBackend

pytest.importorskip("openvino")
from services.infer.openvino_backend import OpenVinoBackend

SCORES = {"scores": np.zeros((1, 4, 2), np.float32)}
SETTINGS = InferSettings(backend="openvino")


def test_same_numbers_as_onnx_runtime_at_two_sizes(model):
    path = model("yunet")
    ours, theirs = OpenVinoBackend(path, SETTINGS), OnnxRuntimeBackend(path, InferSettings())
    rng = np.random.default_rng(1)
    for size in ((96, 64), (64, 32)):
        one, other = ours.bind(size), theirs.bind(size)
        one.tensor[:] = other.tensor[:] = rng.uniform(0, 255, one.tensor.shape)
        one.run()
        other.run()
        assert list(one.outputs) == list(other.outputs)
        for name, value in other.outputs.items():
            assert np.abs(one.outputs[name] - value).max() < 1e-3, name


def test_each_picture_of_a_batch_is_answered_as_alone(model, assert_rows_as_alone):
    backend = OpenVinoBackend(model("yunet"), SETTINGS)
    alone, batched = backend.bind((96, 64)), backend.bind((96, 64), 3)
    for count in (3, 1, 2, None):
        assert_rows_as_alone(alone, batched, count, 1e-3)


def test_model_of_a_fixed_batch_is_refused_for_batches(make_model):
    backend = OpenVinoBackend(make_model(SCORES, ""), SETTINGS)
    with pytest.raises(ModelError, match=r"batch axis that is fixed to 1, so infer.max_batch=2 cannot be"):
        backend.bind((64, 64), 2)


def test_faces_of_a_photograph_are_the_same(model, photo):
    model("yunet")
    image = photo("group")
    geometry = Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)
    found = [build_detector(row, geometry).detect([image], geometry) for row in (SETTINGS, InferSettings())]
    assert len(found[0].boxes) == 5
    assert np.abs(found[0].boxes - found[1].boxes).max() < 0.1


def test_placement_is_what_the_device_says(model):
    backend = OpenVinoBackend(model("yunet"), SETTINGS)
    assert backend.placement.wanted == "CPU"
    assert set(backend.placement.nodes) == {"CPU"}
    assert not backend.placement.fallback
    assert {"Convolution", "MaxPool"} <= {row.operator for row in backend.assignments()}


def test_device_that_is_not_there_lists_those_that_are(model):
    with pytest.raises(ConfigError, match=r"infer.device='npu': OpenVINO has .*CPU.* here"):
        OpenVinoBackend(model("yunet"), InferSettings(backend="openvino", device="npu"))


def test_device_that_cannot_run_the_model_is_a_loud_fallback(model, monkeypatch, caplog):
    """A device that compiles nothing stands in for an NPU with a missing driver; the CPU is the real one."""
    real = OpenVinoBackend._bind

    def bind(self, size, device, *batch):
        if device == "AUTO":
            raise ModelError("the driver is too old")
        return real(self, size, device, *batch)

    monkeypatch.setattr(OpenVinoBackend, "_bind", bind)
    backend = OpenVinoBackend(model("yunet"), InferSettings(backend="openvino", device="AUTO"))
    assert backend.placement.fallback == "runs on the CPU instead of AUTO: the driver is too old"
    assert "falling back to the CPU, OpenVINO AUTO" in caplog.text
    backend.bind((64, 32)).run()


def test_option_that_does_not_exist_is_named(model):
    with pytest.raises(ModelError, match="NO_SUCH_KEY"):
        OpenVinoBackend(model("yunet"), InferSettings(provider_options={"openvino": {"NO_SUCH_KEY": "1"}}))


def test_size_that_does_not_fit_names_the_operator(model):
    with pytest.raises(ModelError, match=r"does not run at 72x40 on CPU: .*Add"):
        OpenVinoBackend(model("yunet"), SETTINGS).bind((72, 40))


def test_fixed_size_and_wrong_inputs(make_model, tmp_path):
    backend = OpenVinoBackend(make_model(SCORES, "", (1, 3, 48, 64)), SETTINGS)
    assert backend.fixed_size == (64, 48)
    with pytest.raises(ModelError, match="fixed to"):
        backend.bind((32, 32))
    with pytest.raises(ModelError, match=r"input 'input' is f32 .* 3 channels on axis 1"):
        OpenVinoBackend(make_model(SCORES, "", (1, 1, 64, 64)), SETTINGS)
    (tmp_path / "x.onnx").write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"OpenVINO .* cannot read it"):
        OpenVinoBackend(tmp_path / "x.onnx", SETTINGS)


def test_failure_after_load_is_a_device_error(model):
    bound = OpenVinoBackend(model("yunet"), SETTINGS).bind((64, 32))

    class Gone:
        def infer(self):
            raise RuntimeError("device lost")

    bound._requests = [Gone()]
    with pytest.raises(DeviceError, match="device lost"):
        bound.run()
