from __future__ import annotations

import pytest

from common.errors import ConfigError, DeviceError
from services.infer.decoders.table import DECODERS
from services.infer.embedder import DECODER as EMBEDDING
from services.infer.manifest import find_model, known_model, read_manifest


def test_every_row_of_the_manifest_is_sound():
    manifest = read_manifest()
    assert {"yunet", "centerface", "retinaface-mobilenet", "ulfg", "scrfd"} <= set(manifest)
    for spec in manifest.values():
        assert spec.decoder in {*DECODERS, EMBEDDING}
        assert spec.licence
        assert spec.title
        assert spec.origin is not None
        if spec.origin.kind == "pypi":
            assert len(spec.origin.sha256) == 64
            assert spec.origin.package
            assert spec.origin.version
            assert spec.origin.member
        else:
            assert spec.origin.hint


def test_unknown_model_names_its_nearest_neighbour():
    with pytest.raises(ConfigError, match=r"infer.model='yunnet': did you mean 'yunet'\? choose one of .*centerface"):
        known_model("yunnet")


def test_model_that_was_not_pulled_says_how_to_pull_it(tmp_path):
    with pytest.raises(DeviceError, match="vedette models pull centerface`"):
        find_model("centerface", tmp_path)


def test_model_that_the_user_must_bring_says_so(tmp_path):
    with pytest.raises(DeviceError, match="vedette models pull scrfd --file FILE"):
        find_model("scrfd", tmp_path)


def test_own_model_needs_a_sidecar(tmp_path):
    path = tmp_path / "mine.onnx"
    path.touch()
    with pytest.raises(ConfigError, match=r"mine.toml is missing"):
        find_model(str(path), tmp_path)


def test_own_model_is_described_by_its_sidecar(tmp_path):
    path = tmp_path / "mine.onnx"
    path.touch()
    path.with_suffix(".toml").write_text('decoder = "yolov8"\noptions = { classes = [1] }\n[input]\nmean = [1, 2, 3]\n')
    spec, found = find_model(str(path), tmp_path)
    assert found == path
    assert (spec.name, spec.decoder, spec.options) == ("mine", "yolov8", {"classes": [1]})
    assert spec.input.mean == (1.0, 2.0, 3.0)


def test_own_model_that_is_away_is_waited_for(tmp_path):
    (tmp_path / "mine.toml").write_text('decoder = "yolov8"\n')
    with pytest.raises(DeviceError, match="is not there"):
        find_model(str(tmp_path / "mine.onnx"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "decoder missing"),
        ("decoder = 3", "decoder=3: a text expected"),
        ('decoder = "x"\ncolor = "bgr"', "color: unknown key; known here: .*licence"),
        ('decoder = "x"\ninput = { colour = "bgrr" }', "colour='bgrr'; choose one of bgr, rgb"),
        ('decoder = "x"\ninput = { mean = [1, 2] }', "three numbers"),
        ('decoder = "x"\ninput = { multiple = 0 }', "multiple=0: 1 to 512"),
        ('decoder = "x"\ninput = { pad = 1.5 }', "pad=1.5: a number"),
        ('decoder = "x"\ninput = { scale = true }', "scale=True: a number"),
        ('decoder = "x"\ninput = 3', "input: a table expected"),
        ('decoder = "x"\nnms_iou = 0', "nms_iou"),
        ('decoder = "x"\noptions = 1', "options: a table"),
        ('decoder = "x"\n[origin]\nkind = "ftp"', "kind='ftp'; choose one of pypi, url, file"),
        ("decoder = ", "not readable as TOML"),
    ],
)
def test_wrong_sidecar_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "mine.onnx"
    path.with_suffix(".toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_model(str(path), tmp_path)
