"""The motion gate: what opens it, what does not, and that a worker behind it misses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from services.infer.detector import Detections
from services.infer.gate import AGREED, CELLS, REFRESH_NS, MotionGate

MS = 1_000_000


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.full(len(array), 0.9, np.float32), np.empty((0, 10), np.float32))


def scene(seed: int = 1, shape: tuple[int, ...] = (720, 1280)) -> np.ndarray:
    return np.random.default_rng(seed).integers(30, 220, shape, np.uint8)


def closed(picture: np.ndarray, answer: Detections, now_ns: int = 0) -> MotionGate:
    gate = MotionGate()
    for _ in range(AGREED + 1):
        assert gate.answer([picture], now_ns) is None
        gate.ran(answer, now_ns)
    assert gate.answer([picture], now_ns) is answer
    return gate


@pytest.mark.parametrize("shape", [(720, 1280), (720, 1280, 3), (720, 1280, 2), (361, 641), (48, 64), (1080, 1920)])
def test_a_still_picture_gets_the_last_answer_once_runs_agreed(shape: tuple[int, ...]) -> None:
    for answer in (found((10, 10, 60, 60)), found()):
        assert closed(scene(shape=shape), answer).answer([scene(shape=shape)], 0) is answer


def test_sensor_noise_does_not_open_the_gate() -> None:
    rng, picture = np.random.default_rng(2), scene().astype(np.int16)
    noisy = [np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    gate = closed(noisy[0], found())
    assert all(gate.answer([frame], 0) is not None for frame in noisy)


@pytest.mark.parametrize("side", [24, 40, 120])
@pytest.mark.parametrize("contrast", [12, 40])
def test_a_face_sized_patch_opens_the_gate_in_the_frame_where_it_appears(side: int, contrast: int) -> None:
    picture = scene()
    gate = closed(picture, found())
    changed = picture.copy()
    changed[301 : 301 + side, 515 : 515 + side] += contrast
    assert gate.answer([changed], 0) is None


def test_a_slow_change_adds_up() -> None:
    picture = np.full((720, 1280), 100, np.uint8)
    gate = closed(picture, found())
    opened = [gate.answer([picture + level], 0) is None for level in range(20)]
    assert not opened[2]
    assert opened[-1]


def test_a_single_cell_is_no_motion() -> None:
    picture = np.full((720, 1280), 100, np.uint8)
    gate = closed(picture, found())
    picture[0:8, 0:8] = 200
    assert CELLS > 1
    assert gate.answer([picture], 0) is not None


def test_answers_that_disagree_keep_the_model_running() -> None:
    picture, gate = scene(), MotionGate()
    for number in range(30):
        assert gate.answer([picture], 0) is None
        gate.ran(found((10, 10, 60, 60)) if number % 3 else found(), 0)


def test_a_box_elsewhere_is_another_answer() -> None:
    picture, gate = scene(), MotionGate()
    for number in range(30):
        assert gate.answer([picture], 0) is None
        gate.ran(found((10, 10, 60, 60) if number % 3 else (200, 10, 260, 60)), 0)


def test_the_model_looks_again_now_and_then_and_a_new_answer_counts() -> None:
    picture, before, now = scene(), found((10, 10, 60, 60)), 5 * MS
    gate = closed(picture, before, now)
    assert gate.answer([picture], now + REFRESH_NS - 1) is before
    assert gate.answer([picture], now + REFRESH_NS) is None
    gate.ran(found(), now + REFRESH_NS)
    assert gate.answer([picture], now + REFRESH_NS + MS) is None


def test_another_picture_size_opens_the_gate() -> None:
    gate = closed(scene(), found())
    assert gate.answer([scene(shape=(360, 640))], 0) is None


def test_the_gate_waits_until_all_of_the_picture_was_searched() -> None:
    picture, gate, answer = scene(), MotionGate(), found((10, 10, 60, 60))
    for _ in range(8):
        assert gate.answer([picture], 0) is None
        gate.ran(answer, 0, sweep=7)
    assert gate.answer([picture], 0) is answer


def test_a_gate_for_small_faces_opens_at_one_changed_cell_and_not_at_noise() -> None:
    rng, picture, gate = np.random.default_rng(3), scene().astype(np.int16), MotionGate(fine=True)
    for _ in range(60):
        noisy = np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)
        if gate.answer([noisy], 0) is None:
            gate.ran(found(), 0)
    assert gate.answer([noisy], 0) is not None
    noisy[320:336, 640:648] //= 2
    assert gate.answer([noisy], 0) is None


def test_an_answer_of_another_kind_neither_counts_nor_opens_the_gate() -> None:
    picture, gate, answer = scene(), MotionGate(), found((10, 10, 60, 60))
    for _ in range(AGREED + 1):
        assert gate.answer([picture], 0) is None
        gate.ran(found(), 0, sweep=None)
        gate.ran(answer, 0)
    assert gate.answer([picture], 0) is answer
