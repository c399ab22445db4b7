"""`vedette bench regions`: who is found is counted by size, and both ways are timed on the same frames of a clip."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from common.errors import ConfigError, DeviceError
from tools.bench import regions
from tools.bench.mot import load_sequence
from tools.models.pull import pull


def rows(*faces: tuple[float, ...]) -> np.ndarray:
    return np.array(faces, np.float64).reshape(-1, 5)


def test_faces_are_counted_by_size_and_unsure_boxes_are_not():
    truth = [(np.array([1, 2, 3]), np.array([[0.0, 0, 20, 20], [100, 0, 120, 20], [200, 200, 300, 300]]))] * 2
    found = [
        rows((1, 1, 20, 20, 0.9), (205, 200, 300, 300, 0.9), (500, 500, 520, 520, 0.9)),
        rows((0, 0, 20, 20, 0.4)),
    ]
    counted = regions.recalls(found, truth)
    assert counted == {"small": 4, "small %": 25.0, "other": 2, "other %": 50.0, "nobody": 1}


def test_both_ways_are_judged_and_timed(tmp_path):
    pytest.importorskip("trackeval")
    av = pytest.importorskip("av")
    try:
        pull("yunet")
    except DeviceError as error:
        pytest.skip(f"model yunet: {error}")
    folder = tmp_path / "grey-0"
    for kind in ("gt", "det"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{kind}.txt").write_text("1,1,100,100,20,20,1,1,1\n3,1,100,100,20,20,1,1,1\n")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _ in range(3):
            grey = np.full((720, 1280, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "bgr24")))
        container.mux(stream.encode(None))
    assert len(load_sequence(folder).detections) == 3
    assert regions.main(["--data", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    usual, tiled = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (usual["way"], tiled["way"]) == regions.WAYS
    assert [usual["small"], usual["small %"], tiled["small %"]] == [2, 0.0, 0.0]
    assert min(usual["ms"], tiled["ms"], usual["CPU ms"], tiled["CPU ms"]) > 0


def test_a_folder_without_clips_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "only" / "det").mkdir(parents=True)
    (tmp_path / "only" / "det" / "det.txt").write_text("1,-1,100,100,20,20,0.9,1,1\n")
    with pytest.raises(ConfigError, match="vedette bench clips"):
        regions.main(["--data", str(tmp_path)])
