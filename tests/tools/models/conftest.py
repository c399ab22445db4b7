"""What the tests of the workshop share: small real graphs, a photograph of structured noise, models of the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

RNG = np.random.default_rng(11)
SIDECAR = """
decoder = "yunet"
[input]
colour = "rgb"
mean = [127.0, 127.0, 127.0]
scale = 0.0078125
multiple = 4
"""


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pictures of edges and gradients."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(2):
        small = RNG.integers(0, 256, (9 + index, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(small, (160, 96), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture
def pyramid(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small network with what detectors have: convolutions, a Resize, a transposed and reshaped output."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper

    def make(
        name: str = "pyramid",
        *,
        opset: int = 13,
        size: tuple[object, object] = ("height", "width"),
        batch: object = 1,
        **resize,
    ):
        def weights(key, *shape):
            return numpy_helper.from_array(RNG.normal(0, 0.3, shape).astype(np.float32), key)

        values = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **resize}
        nodes = [
            helper.make_node("Conv", ["input", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Resize", ["c2", "roi", "scales"], ["up"], name="upsample", **values),
            helper.make_node("Add", ["r1", "up"], ["sum"], name="add"),
            helper.make_node("Conv", ["sum", "w3"], ["c3"], name="head"),
            helper.make_node("Transpose", ["c3"], ["t"], name="transpose", perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["t", "rows"], ["flat"], name="reshape"),
            helper.make_node("Sigmoid", ["flat"], ["scores"], name="sigmoid"),
        ]
        constants = [
            weights("w1", 8, 3, 3, 3),
            weights("w2", 8, 8, 3, 3),
            weights("w3", 4, 8, 1, 1),
            numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
            numpy_helper.from_array(np.empty(0, np.float32), "roi"),
            numpy_helper.from_array(np.array([batch if batch == 1 else 0, -1, 4], np.int64), "rows"),
        ]
        graph = helper.make_graph(
            nodes,
            "pyramid",
            [helper.make_tensor_value_info("input", 1, [batch, 3, *size])],
            [helper.make_tensor_value_info("scores", 1, [batch, "cells", 4])],
            constants,
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
        path.with_suffix(".toml").write_text(SIDECAR)
        return path

    return make
