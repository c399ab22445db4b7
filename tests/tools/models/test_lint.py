from __future__ import annotations

import pytest

from common.errors import ConfigError
from tools.models import graph
from tools.models.lint import find_target, lint, read_targets

pytest.importorskip("onnx")
TABLE = """
[tiny]
fixed_size = true
[tiny.operators]
Add = {}
Conv = { rank = 4, constant = [1, 2], kernel_max = 2 }
ConvTranspose = {}
Relu = {}
Resize = { mode = ["linear"] }
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "targets.toml"
    path.write_text(TABLE)
    return find_target("tiny", path)


def test_operators_attributes_kernels_and_free_sizes_are_listed(pyramid, tiny):
    found = {(item.node, item.reason.split(";")[0]) for item in lint(graph.read(pyramid()), tiny)}
    assert found == {
        ("input", "free axes height, width: fix them (vedette models adapt --size WIDTHxHEIGHT)"),
        ("conv1", "kernel of 3, at most 2"),
        ("conv2", "kernel of 3, at most 2"),
        ("upsample", "mode nearest, only linear"),
        ("transpose", "Transpose is not among its operators"),
        ("reshape", "Reshape is not among its operators"),
        ("sigmoid", "Sigmoid is not among its operators"),
    }


def test_missing_resize_comes_with_the_way_out(pyramid):
    problems = lint(graph.read(pyramid(size=(32, 64))), find_target("npu-int8"))
    (resize,) = [item for item in problems if item.operator == "Resize"]
    assert "adapt --deconv" in resize.reason


@pytest.mark.parametrize("name", read_targets())
def test_every_target_is_complete_and_names_real_operators(name):
    import onnx

    target = find_target(name)
    known = {schema.name for schema in onnx.defs.get_all_schemas()} | {"SpaceToDepth", "QLinearConv"}
    assert target.title and target.source and target.gmacs > 0 and target.link_gb > 0
    assert set(target.operators) <= known


def test_unknown_target_names_its_neighbour():
    with pytest.raises(ConfigError, match="did you mean 'hailo8'"):
        find_target("hailo-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [("[a]\nspeed = 1", "a.speed: unknown key"), ("[a]\ngmacs = 'x'", "a float expected"), ("[a", "targets.toml")],
)
def test_wrong_table_says_where(tmp_path, text, words):
    path = tmp_path / "targets.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        find_target("a", path)
