from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from common.errors import ConfigError, ModelError
from common.pixels import Geometry, PixelFormat
from common.settings import InferSettings
from services.infer.detector import MAX_PLANS, build_detector

OWN = {
    "yunet_n_dynamic.onnx": ("yunet", "bgr", "0, 0, 0", 1.0),
    "ulfg_version-RFB-320.onnx": ("ulfg", "rgb", "127, 127, 127", 1 / 128),
    "scrfd_500m_kps.onnx": ("scrfd", "rgb", "127.5, 127.5, 127.5", 1 / 128),
    "yolov5n-0.5.onnx": ("yolov5-face", "rgb", "0, 0, 0", 1 / 255),
}  # decoder, colour, mean, scale


def detect(settings, image, pixel_format=PixelFormat.BGR):
    height, width = image.shape[:2]
    geometry = Geometry(width, height, pixel_format)
    if pixel_format is PixelFormat.BGR:
        planes = [image]
    else:
        flat = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).reshape(-1)
        planes = geometry.planes(flat)
    return build_detector(settings, geometry).detect(planes, geometry)


def match(boxes, others):
    """IoU of each box with its best partner."""
    best = []
    for box in boxes:
        low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
        both = np.clip(high - low, 0, None).prod(axis=1)
        areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
        best.append((both / (areas - both)).max())
    return np.array(best)


@pytest.fixture(scope="session")
def reference(model, photo):
    """The five faces of the group photograph as the default model finds them."""
    model("yunet")
    return detect(InferSettings(), photo("group"))


def test_default_model_finds_five_faces_of_five(reference, photo):
    height, width = photo("group").shape[:2]
    assert len(reference.boxes) == 5
    assert (np.diff(reference.scores) <= 0).all()
    assert (reference.boxes >= 0).all()
    assert (reference.boxes[:, 2] <= width).all()
    assert (reference.boxes[:, 3] <= height).all()
    points = reference.landmarks.reshape(-1, 5, 2)
    assert (points > reference.boxes[:, None, :2]).all()
    assert (points < reference.boxes[:, None, 2:]).all()
    right_eye, left_eye, mouth = points[:, 0], points[:, 1], points[:, 3:].mean(axis=1)
    assert (right_eye[:, 0] < left_eye[:, 0]).all()
    assert (right_eye[:, 1] < mouth[:, 1]).all()


def test_answers_are_float32_for_the_wire(reference):
    assert {array.dtype for array in reference} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["centerface", "retinaface-mobilenet"])
def test_other_models_find_the_same_faces(name, model, photo, reference):
    model(name)
    found = detect(InferSettings(model=name), photo("group"))
    assert len(found.boxes) == 5
    assert match(found.boxes, reference.boxes).min() > 0.6
    order = [int(np.abs(reference.boxes - box).sum(axis=1).argmin()) for box in found.boxes]
    eye_distance = np.abs(reference.landmarks[:, 2] - reference.landmarks[:, 0])
    error = np.abs(found.landmarks - reference.landmarks[order]).max(axis=1)
    assert (error < 0.5 * eye_distance[order]).all()


@pytest.mark.shared
@pytest.mark.parametrize("name", OWN)
def test_models_brought_by_the_user_find_the_same_faces(name, shared_model, tmp_path, photo, reference):
    path = tmp_path / name
    shutil.copy(shared_model(name), path)
    decoder, colour, mean, scale = OWN[name]
    lines = [f'decoder = "{decoder}"', "[input]", f'colour = "{colour}"', f"mean = [{mean}]", f"scale = {scale}"]
    path.with_suffix(".toml").write_text("\n".join(lines))
    found = detect(InferSettings(model=str(path)), photo("group"))
    assert len(found.boxes) == 5
    assert match(found.boxes, reference.boxes).min() > 0.6


def test_faces_are_the_same_from_a_yuv_camera(photo, reference):
    found = detect(InferSettings(), photo("group"), PixelFormat.I420)
    assert len(found.boxes) == 5
    assert match(found.boxes, reference.boxes).min() > 0.9


def test_one_detector_serves_cameras_of_different_sizes(model, photo, reference):
    model("yunet")
    detector = build_detector(InferSettings())
    group, single = photo("group"), photo("single")
    for image, count in ((group, 5), (single, 1), (group, 5)):
        geometry = Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)
        assert len(detector.detect([image], geometry).boxes) == count
    assert min(detector.laps) > 0


def test_empty_picture_has_no_faces_and_arrays_of_the_right_shape(model):
    model("yunet")
    found = detect(InferSettings(), np.zeros((480, 640, 3), np.uint8))
    assert [array.shape for array in found] == [(0, 4), (0,), (0, 10)]


def test_model_that_does_not_fit_its_decoder_fails_at_load(make_model):
    path = make_model({"scores": np.zeros((1, 4, 2), np.float32)}, 'decoder = "yunet"')
    with pytest.raises(ModelError, match="decoder yunet: output 'cls_8' is missing; the model has scores"):
        build_detector(InferSettings(model=str(path)))


def test_decoder_that_does_not_exist_fails_at_load(make_model):
    path = make_model({"scores": np.zeros((1, 4, 2), np.float32)}, 'decoder = "younet"')
    with pytest.raises(ConfigError, match="decoder='younet'; choose one of"):
        build_detector(InferSettings(model=str(path)))


def test_boxes_are_cut_at_the_border_of_the_frame(make_model):
    count = 3 * 64 + 2 * 16 + 2 * 4 + 3 * 1
    scores, boxes = np.zeros((1, count, 2), np.float32), np.zeros((1, count, 4), np.float32)
    scores[0, 5, 1], boxes[0, 5] = 0.9, [-0.2, 0.3, 0.5, 0.7]
    scores[0, 9, 1], boxes[0, 9] = 0.8, [0.2, 0.01, 0.4, 0.1]  # all in the letterbox border
    path = make_model({"scores": scores, "boxes": boxes}, 'decoder = "ulfg"')
    found = detect(InferSettings(model=str(path)), np.zeros((360, 640, 3), np.uint8))
    assert len(found.boxes) == 1
    assert found.boxes[0, 0] == 0
    np.testing.assert_allclose(found.boxes[0, 2], 320, atol=0.01)


def test_models_own_overlap_limit_holds_unless_the_settings_say_otherwise(make_model):
    count = 3 * 64 + 2 * 16 + 2 * 4 + 3 * 1
    scores, boxes = np.zeros((1, count, 2), np.float32), np.zeros((1, count, 4), np.float32)
    scores[0, :2, 1], boxes[0, 0], boxes[0, 1] = [0.9, 0.8], [0.2, 0.3, 0.6, 0.7], [0.3, 0.3, 0.7, 0.7]  # IoU 0.6
    path = make_model({"scores": scores, "boxes": boxes}, 'decoder = "ulfg"\nnms_iou = 0.5')
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(detect(InferSettings(model=str(path)), image).boxes) == 1
    assert len(detect(InferSettings(model=str(path), nms_iou=0.7), image).boxes) == 2


def test_cameras_of_one_model_size_share_its_buffers_and_answer_as_alone(model, photo):
    model("yunet")
    image = cv2.resize(photo("group"), (1280, 720))
    settings = InferSettings()
    shapes = {
        PixelFormat.BGR: [image],
        PixelFormat.I420: Geometry(1280, 720, PixelFormat.I420).planes(
            cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).reshape(-1)
        ),
    }
    both = build_detector(settings)
    for pixel_format, planes in shapes.items():
        geometry = Geometry(1280, 720, pixel_format)
        alone = build_detector(settings, geometry).detect(planes, geometry)
        for _ in range(2):
            np.testing.assert_allclose(both.detect(planes, geometry).boxes, alone.boxes, atol=1e-3)
            other = Geometry(640, 480, pixel_format)  # another size in between
            both.detect(other.planes(np.zeros(other.frame_bytes, np.uint8)), other)


@pytest.mark.parametrize("name", ["yunet", "centerface", "retinaface-mobilenet"])
def test_frames_of_several_cameras_in_one_run_are_answered_as_alone(name, model, photo):
    model(name)
    single, both = build_detector(InferSettings(model=name)), build_detector(InferSettings(model=name, max_batch=4))
    photos = [
        cv2.resize(photo("group"), (1280, 720)),
        cv2.resize(photo("single"), (854, 480)),
        np.zeros((720, 1280, 3)),
    ]
    pictures = [
        ([image.astype(np.uint8)], Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)) for image in photos
    ]
    grey = Geometry(1280, 720, PixelFormat.GRAY)
    pictures.append(([cv2.cvtColor(photos[0], cv2.COLOR_BGR2GRAY)], grey))
    assert len({both.input_size(geometry) for _, geometry in pictures}) == 1
    for chosen in (pictures, pictures[::-1], pictures[:2], pictures[1:2], pictures[:3]):
        found = both.detect_all(chosen)
        assert min(both.laps) > 0
        for picture, answer in zip(chosen, found, strict=True):
            for one, other in zip(answer, single.detect(*picture), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-2)
    assert [len(one.boxes) for one in both.detect_all(pictures[:3])] == [5, 1, 0]


def test_frames_of_different_input_sizes_are_not_one_run(model):
    model("yunet")
    detector = build_detector(InferSettings(max_batch=2))
    geometries = [Geometry(width, 480, PixelFormat.GRAY) for width in (640, 854)]
    with pytest.raises(ValueError, match=r"input sizes \[\(640, 480\), \(640, 384\)\]"):
        detector.detect_all([(g.planes(np.zeros(g.frame_bytes, np.uint8)), g) for g in geometries])


def test_buffers_of_forgotten_geometries_are_let_go(model):
    model("yunet")
    detector = build_detector(InferSettings(width=160))
    for width in range(160, 160 + 2 * (MAX_PLANS + 4), 2):
        for height in (120, 2 * width):
            geometry = Geometry(width, height, PixelFormat.GRAY)
            detector.detect(geometry.planes(np.zeros(geometry.frame_bytes, np.uint8)), geometry)
    sizes = {plans[0].box.model for plans in detector._plans.values()}
    assert len(detector._plans) == MAX_PLANS
    assert set(detector._bound) == sizes
