"""Against a fake of HailoRT's package: no Hailo device was ever at hand."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, DeviceError, ModelError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.backends import load_backend
from services.infer.detector import build_detector

FAKES = Path(__file__).with_name("fakes")
SETTINGS = InferSettings(backend="hailo")


@pytest.fixture
def hailo(monkeypatch):
    monkeypatch.syspath_prepend(FAKES)
    for name in ("hailo_platform", "services.infer.hailo_backend"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("hailo_platform")
    sys.modules.pop("services.infer.hailo_backend", None)


@pytest.fixture
def hef(tmp_path):
    def make(sidecar="", **described):
        path = tmp_path / "face.hef"
        path.write_text(json.dumps({"input": [64, 96, 3], "outputs": {"nms": [21]}, **described}))
        path.with_suffix(".toml").write_text(sidecar or 'decoder = "hailo-nms"\n[input]\nlayout = "nhwc"\n')
        return path

    return make


def test_package_that_is_missing_is_named(hef, monkeypatch):
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(ConfigError, match=r"infer.backend='hailo'.*hailo_platform.*hailo-all"):
        load_backend(hef(), SETTINGS, "nhwc")


def test_faces_of_the_devices_own_suppression_come_out_in_pixels_of_the_frame(hailo, hef):
    def two_classes(picture, outputs):
        outputs["nms"][:12] = [1, 0.5, 0.5, 0.9, 0.9, 0.99, 1, 0.25, 0.25, 0.5, 0.75, picture.max() / 255]

    hailo.compute[0] = two_classes
    path = hef('decoder = "hailo-nms"\noptions = { classes = [1] }\n[input]\nlayout = "nhwc"\n')
    geometry = Geometry(192, 128, PixelFormat.BGR)
    detector = build_detector(InferSettings(backend="hailo", model=str(path)), geometry)
    found = detector.detect([np.full((128, 192, 3), 204, np.uint8)], geometry)
    assert found.boxes.tolist() == [[48, 32, 144, 64]]
    assert found.scores == pytest.approx([0.8])
    dark = detector.detect([np.full((128, 192, 3), 20, np.uint8)], geometry)
    assert len(dark.boxes) == 0


def test_scrfd_maps_are_read_as_the_device_gives_them(hailo, hef):
    outputs = {}
    for stride in (8, 16, 32):
        for columns in (1, 4, 10):
            outputs[f"conv{stride}_{columns}"] = [64 // stride, 96 // stride, 2 * columns]

    def one_face(_picture, arrays):
        arrays["conv16_1"][1, 2, 1] = 0.9
        arrays["conv16_4"][1, 2, 4:] = [1, 1, 1, 1]

    hailo.compute[0] = one_face
    path = hef('decoder = "scrfd"\n[input]\nlayout = "nhwc"\n', outputs=outputs)
    geometry = Geometry(96, 64, PixelFormat.BGR)
    found = build_detector(InferSettings(backend="hailo", model=str(path)), geometry).detect(
        [np.zeros((64, 96, 3), np.uint8)], geometry
    )
    assert found.boxes.tolist() == [[16, 0, 48, 32]]


def test_frames_of_several_cameras_are_handed_over_together(hailo, hef):
    def brightness_is_the_score(picture, outputs):
        outputs["nms"][:6] = [1, 0.25, 0.25, 0.5, 0.75, picture.max() / 255]

    hailo.compute[0] = brightness_is_the_score
    geometry = Geometry(192, 128, PixelFormat.BGR)
    settings = InferSettings(backend="hailo", model=str(hef()), max_batch=3, min_score=0.1)
    detector = build_detector(settings, geometry)
    for values in ((51, 102, 204), (153, 51), (255,)):
        found = detector.detect_all([([np.full((128, 192, 3), value, np.uint8)], geometry) for value in values])
        assert [float(one.scores[0]) for one in found] == pytest.approx([value / 255 for value in values])
        assert [one.boxes.tolist() for one in found] == [[[48, 32, 144, 64]]] * len(values)
    assert hailo.models[-1].batch_size == 3


def test_workers_share_the_device(hailo, hef):
    load_backend(hef(), InferSettings(backend="hailo", workers=2), "nhwc")
    assert hailo.opened[-1].params.multi_process_service
    assert hailo.opened[-1].params.group_id != "UNIQUE"


def test_no_device_is_waited_for(hailo, hef):
    hailo.devices.clear()
    with pytest.raises(DeviceError, match=r"no Hailo device can be opened.*hailortcli scan"):
        load_backend(hef(), SETTINGS, "nhwc")


def test_device_that_is_not_plugged_in_lists_those_that_are(hailo, hef):
    with pytest.raises(DeviceError, match=r"infer.device='0002:01:00.0': Hailo devices here: 0001:01:00.0"):
        load_backend(hef(), InferSettings(backend="hailo", device="0002:01:00.0"), "nhwc")


def test_file_that_is_no_hef_is_a_model_error(hailo, hef):
    path = hef()
    path.write_bytes(b"\x00broken")
    with pytest.raises(ModelError, match=r"face.hef: HailoRT cannot load it: Invalid HEF"):
        load_backend(path, SETTINGS, "nhwc")


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"input": [64, 96, 1]}, r"input 'input_layer1' is \[64, 96, 1\]; 3 channels"),
        ({"inputs": {"a": [8, 8, 3], "b": [8, 8, 3]}}, r"inputs \['a', 'b'\], one expected"),
    ],
)
def test_input_that_is_no_picture_is_named(hailo, hef, described, message):
    with pytest.raises(ModelError, match=message):
        load_backend(hef(**described), SETTINGS, "nhwc")


def test_sidecar_must_say_rows_of_pixels(hailo, hef):
    with pytest.raises(ConfigError, match=r"face.toml: input.layout='nchw'; a .hef wants 'nhwc'"):
        load_backend(hef(), SETTINGS, "nchw")


def test_sidecar_must_leave_the_normalisation_to_the_hef(hailo, hef):
    path = hef('decoder = "hailo-nms"\n[input]\nlayout = "nhwc"\nscale = 0.5\n')
    with pytest.raises(ModelError, match=r"leave input.mean and input.scale out"):
        build_detector(InferSettings(backend="hailo", model=str(path)), Geometry(96, 64, PixelFormat.BGR))


def test_onnx_file_is_refused(hailo, tmp_path):
    with pytest.raises(ModelError, match=r"runs .hef files"):
        load_backend(tmp_path / "x.onnx", SETTINGS, "nhwc")


def test_failure_while_running_is_a_device_error(hailo, hef):
    bound = load_backend(hef(), SETTINGS, "nhwc").bind((96, 64))
    hailo.broken[0] = hailo.HailoRTException("libhailort failed with error: 36 (HAILO_PCIE_DRIVER_FAIL)")
    with pytest.raises(DeviceError, match="PCIE_DRIVER_FAIL"):
        bound.run()


def test_device_that_never_answers_is_a_device_error(hailo, hef, monkeypatch):
    bound = load_backend(hef(), SETTINGS, "nhwc").bind((96, 64))
    release = threading.Event()
    hailo.compute[0] = lambda *_: release.wait(30)
    monkeypatch.setattr(sys.modules["services.infer.hailo_backend"], "DONE_MS", 50)
    with pytest.raises(DeviceError, match="HailoRTTimeout"):
        bound.run()
    release.set()
