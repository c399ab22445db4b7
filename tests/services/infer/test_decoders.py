"""Each decoder against outputs written by hand: one face, at a place that the family's formulas give on paper."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from services.infer.decoders.table import DECODERS, load_decoder

SIZE = (64, 32)  # 8x4, 4x2 and 2x1 cells
CELLS = {8: 32, 16: 8, 32: 2}


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def around(centre, half):
    return np.concatenate((np.subtract(centre, half), np.add(centre, half)))


def decode(name, outputs, min_score=0.5, options=None):
    shapes = {key: value.shape for key, value in outputs.items()}
    return load_decoder(name, SIZE, shapes, options or {}).decode(outputs, min_score)


def yunet():
    outputs = {}
    for stride, count in CELLS.items():
        for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{name}_{stride}"] = np.zeros((1, count, columns), np.float32)
    row = 1 * 4 + 2  # stride 16: column 2, row 1
    outputs["cls_16"][0, row] = 0.9
    outputs["obj_16"][0, row] = 0.4
    outputs["bbox_16"][0, row] = [0.5, 0.25, 0.0, np.log(2)]
    outputs["kps_16"][0, row] = np.arange(10) / 10
    centre = np.array([2.5 * 16, 1.25 * 16])
    box = around(centre, [8, 16])
    marks = (np.arange(10) / 10 + np.tile([2, 1], 5)) * 16
    return outputs, {}, box, 0.6, marks


def centerface():
    heat, scale, offset = (np.zeros((1, n, 8, 16), np.float32) for n in (1, 2, 2))
    marks = np.zeros((1, 10, 8, 16), np.float32)
    at = (0, slice(None), 3, 5)  # row 3, column 5
    heat[at], scale[at], offset[at] = 0.8, [np.log(6), np.log(4)], [0.25, 0.5]
    marks[at] = [0.1, 0.2, 0.1, 0.8, 0.5, 0.5, 0.9, 0.3, 0.9, 0.7]  # y, x
    top, left = (3 + 0.25 + 0.5) * 4 - 12, (5 + 0.5 + 0.5) * 4 - 8
    box = [left, top, left + 16, top + 24]
    pairs = marks[at].reshape(5, 2)
    points = np.stack((pairs[:, 1] * 16 + left, pairs[:, 0] * 24 + top), axis=1)
    return {"537": heat, "538": scale, "539": offset, "540": marks}, {}, box, 0.8, points.reshape(-1)


def retinaface():
    count = 2 * sum(CELLS.values())
    loc, conf = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 2), np.float32)
    marks = np.zeros((1, count, 10), np.float32)
    row = 2 * CELLS[8] + 2 * (1 * 4 + 3) + 1  # stride 16, row 1, column 3, the larger anchor (128)
    conf[0, row], loc[0, row] = [0.1, 0.9], [0.5, -0.5, 0, -5 * np.log(2)]
    marks[0, row] = np.arange(10) / 10
    anchor = np.array([3.5 * 16, 1.5 * 16])
    centre = anchor + np.array([0.5, -0.5]) * 0.1 * 128
    box = around(centre, [64, 32])
    return {"loc": loc, "conf": conf, "landmarks": marks}, {}, box, 0.9, np.arange(10) / 100 * 128 + np.tile(anchor, 5)


def ulfg():
    count = 3 * 32 + 2 * 8 + 2 * 2 + 3 * 1
    scores, boxes = np.zeros((1, count, 2), np.float32), np.zeros((1, count, 4), np.float32)
    scores[0, 7], boxes[0, 7] = [0.3, 0.7], [0.25, 0.5, 0.5, 0.75]
    return {"scores": scores, "boxes": boxes}, {}, [16, 16, 32, 24], 0.7, None


def scrfd(batch=True):
    outputs = {}
    for columns in (1, 4, 10):
        for stride, count in CELLS.items():
            outputs[f"{columns}@{stride}"] = np.zeros((1, 2 * count, columns), np.float32)
    row = 2 * (0 * 2 + 1) + 1  # stride 32, column 1, row 0, second anchor
    outputs["1@32"][0, row] = 0.75
    outputs["4@32"][0, row] = [0.25, 0, 0.5, 0.75]
    outputs["10@32"][0, row] = np.arange(10) / 10
    if not batch:
        outputs = {key: value[0] for key, value in outputs.items()}
    return outputs, {}, [24, 0, 48, 24], 0.75, np.arange(10) * 3.2 + np.tile([32, 0], 5)


def yolov5_face():
    outputs = {f"stride_{s}": np.full((1, 3, 32 // s, 64 // s, 16), -20, np.float32) for s in CELLS}
    row = np.zeros(16)
    row[:5] = [logit(0.5), logit(0.75), logit(0.5), logit(0.25), logit(0.9)]
    row[5:15], row[15] = np.arange(10) / 10, logit(0.8)
    outputs["stride_8"][0, 2, 3, 4] = row  # anchor 13x16, row 3, column 4
    centre = np.array([(2 * 0.5 - 0.5 + 4) * 8, (2 * 0.75 - 0.5 + 3) * 8])
    half = np.array([13 * 1.0, 16 * 0.25]) / 2
    marks = np.arange(10) / 10 * np.tile([13, 16], 5) + np.tile([32, 24], 5)
    return outputs, {}, around(centre, half), 0.72, marks


def yolov5():
    table = np.zeros((1, 126, 7), np.float32)
    table[0, 9] = [20, 16, 8, 4, 0.9, 0.1, 0.8]
    return {"output0": table}, {"classes": [1]}, [16, 14, 24, 18], 0.72, None


def yolov8():
    table = np.zeros((1, 6, 42), np.float32)
    table[0, :, 9] = [20, 16, 8, 4, 0.1, 0.8]
    return {"output0": table}, {"classes": [0, 1]}, [16, 14, 24, 18], 0.8, None


def yolov8_landmarks():
    table = np.zeros((1, 20, 42), np.float32)
    points = np.arange(15, dtype=np.float32)
    table[0, :, 9] = [20, 16, 8, 4, 0.8, *points]
    return {"output0": table}, {"landmarks": True}, [16, 14, 24, 18], 0.8, points.reshape(5, 3)[:, :2].reshape(-1)


def yolov4():
    boxes, scores = np.zeros((1, 30, 1, 4), np.float32), np.zeros((1, 30, 3), np.float32)
    boxes[0, 4, 0], scores[0, 4] = [0.25, 0.5, 0.5, 0.75], [0.7, 0, 0]
    return {"boxes": boxes, "confs": scores}, {}, [16, 16, 32, 24], 0.7, None


def hailo_nms():
    flat = np.zeros(41, np.float32)
    flat[:17] = [2, *[9] * 10, 1, 0.5, 0.25, 0.75, 0.5, 0.7]  # two of class 0, one of class 1
    return {"nms": flat}, {"classes": [1]}, [16, 16, 32, 24], 0.7, None


def scrfd_of_hailo():
    outputs, options, *expected = scrfd()
    maps = {k: v.reshape(1, 32 // int(k.split("@")[1]), 64 // int(k.split("@")[1]), -1) for k, v in outputs.items()}
    return maps, options, *expected


CASES = {
    "yunet": ("yunet", yunet),
    "centerface": ("centerface", centerface),
    "retinaface": ("retinaface", retinaface),
    "ulfg": ("ulfg", ulfg),
    "scrfd": ("scrfd", scrfd),
    "hailo-nms": ("hailo-nms", hailo_nms),
    "scrfd as a Hailo device gives it": ("scrfd", scrfd_of_hailo),
    "scrfd without batch axis": ("scrfd", lambda: scrfd(batch=False)),
    "yolov5-face": ("yolov5-face", yolov5_face),
    "yolov5": ("yolov5", yolov5),
    "yolov8": ("yolov8", yolov8),
    "yolov8 with landmarks": ("yolov8", yolov8_landmarks),
    "yolov4": ("yolov4", yolov4),
}


def test_every_decoder_has_a_case():
    assert {name for name, _ in CASES.values()} == set(DECODERS)


@pytest.mark.parametrize("case", CASES)
def test_one_face_is_where_the_formulas_put_it(case):
    name, make = CASES[case]
    outputs, options, box, score, marks = make()
    found = decode(name, outputs, options=options)
    assert found.boxes.shape == (1, 4)
    np.testing.assert_allclose(found.boxes[0], box, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, [score], rtol=1e-4)
    if marks is None:
        assert found.landmarks.shape == (0, 10)
    else:
        np.testing.assert_allclose(found.landmarks[0], marks, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_nothing_above_the_threshold_gives_empty_arrays_of_the_right_shape(case):
    name, make = CASES[case]
    outputs, options, *_ = make()
    found = decode(name, outputs, 0.99, options)
    assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 10))


@pytest.mark.parametrize("case", CASES)
def test_nan_of_a_broken_accelerator_is_no_face(case):
    name, make = CASES[case]
    outputs, options, *_ = make()
    for value in outputs.values():
        value[:] = np.nan
    assert len(decode(name, outputs, 0.5, options).scores) == 0


@pytest.mark.parametrize("case", CASES)
def test_output_of_another_shape_is_named(case):
    name, make = CASES[case]
    outputs, options, *_ = make()
    first = next(iter(outputs))
    outputs[first] = np.zeros((1, 3, 5), np.float32)
    with pytest.raises(ModelError, match=rf"decoder {name}: .*{first}.*\(1, 3, 5\)"):
        decode(name, outputs, options=options)


@pytest.mark.parametrize("case", CASES)
def test_missing_output_is_an_error_that_names_the_decoder(case):
    name, make = CASES[case]
    outputs, options, *_ = make()
    outputs.pop(next(iter(outputs)))
    with pytest.raises(ModelError, match=f"decoder {name}"):
        decode(name, outputs, options=options)


def test_class_that_the_model_lacks_is_a_configuration_error():
    outputs, *_ = yolov5()
    with pytest.raises(ConfigError, match="classes 0 to 1"):
        decode("yolov5", outputs, options={"classes": [2]})


def test_unknown_decoder_lists_the_choices():
    with pytest.raises(ConfigError, match="yunet"):
        load_decoder("yunette", SIZE, {}, {})
