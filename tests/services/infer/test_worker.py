"""Workers as real processes, on a real ring, bus and claims file; the test plays the cameras and track."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.bus import Bus
from common.config import child_environment, write_resolved
from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings
from common.stats import read_stats
from common.wire import CameraControl, ControlState, DetectionResult, FrameHandle
from services.infer.manifest import known_model

DEADLINE_S = 60
GEOMETRY = Geometry(320, 192, PixelFormat.BGR)


class Stage:
    """The world around the workers."""

    def __init__(self, settings: Settings, geometry: Geometry = GEOMETRY) -> None:
        self.settings = settings
        self.bus = Bus(settings.runtime_dir)
        self.rings = {camera: RingWriter(settings, camera, geometry) for camera in settings.cameras}
        self.frames = {camera: self.bus.publisher("frames", camera) for camera in settings.cameras}
        self.results = self.bus.puller("results")
        self.control = self.bus.publisher("control")
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.seq = itertools.count(1)
        self.inbox: list[DetectionResult] = []

    def start(self, index: int, **environment: str) -> subprocess.Popen[bytes]:
        name, path = write_resolved(self.settings)
        command = [sys.executable, "-m", "services.infer", str(index)]
        env = child_environment(**{name: str(path)}, **environment)
        self.workers[index] = subprocess.Popen(command, env=env, stderr=subprocess.PIPE)
        return self.workers[index]

    def ready(self, *indices: int) -> None:
        """Wait until the workers have their model."""
        for index in indices:
            self.until(lambda index=index: self.report(index).get("state") == "running")

    def report(self, index: int) -> dict:
        report = read_stats(self.settings.runtime_dir).get(f"infer:{index}", {})
        return report if report.get("pid") == self.workers[index].pid else {}

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            assert time.monotonic() < deadline
            self.hear(10)
        return value

    def hear(self, timeout_ms: int) -> list[DetectionResult]:
        self.bus.wait(timeout_ms, self.results)
        fresh = self.results.drain()
        self.inbox += fresh
        return fresh

    def show(self, camera: str, image: np.ndarray | None = None) -> FrameHandle:
        ring = self.rings[camera]
        slot = ring.acquire()
        assert slot is not None
        slot.planes[0][:] = 0 if image is None else image
        seq = next(self.seq)
        handle = ring.publish(slot, seq=seq, captured_ns=time.monotonic_ns(), media_ns=0)
        self.frames[camera].send(handle)
        return handle

    def answered(self, camera: str, image: np.ndarray | None = None) -> DetectionResult:
        """Show frames until one of them is answered: the first may be sent before the worker is connected.

        Each is given twice the time of the one before, so that a machine of any speed gets there.
        """
        deadline, patience_s = time.monotonic() + DEADLINE_S, 0.1
        while time.monotonic() < deadline:
            shown, enough = self.show(camera, image), time.monotonic() + patience_s
            while (left_s := enough - time.monotonic()) > 0:
                for result in self.hear(int(left_s * 1000) + 1):
                    if result.frame == shown:
                        return result
            patience_s *= 2
        raise AssertionError(f"no answer for {camera}")

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.communicate()
        for ring in self.rings.values():
            ring.close()
        self.bus.close()


@pytest.fixture
def make_stage(make_settings, model) -> Iterator[Callable[..., Stage]]:
    model("yunet")
    made: list[Stage] = []

    def build(
        cameras: tuple[str, ...] = ("door", "yard"), geometry: Geometry = GEOMETRY, *, gate: bool = True, **tree: object
    ) -> Stage:
        tree.setdefault("infer", {"width": 320})
        rows = {camera: {"source": "pattern:320x192@30", "motion_gate": gate} for camera in cameras}
        made.append(Stage(make_settings(cameras=rows, **tree), geometry))
        return made[-1]

    yield build
    for stage in made:
        stage.close()


def test_worker_finds_the_faces_of_a_frame(make_stage, photo):
    image = photo("group")
    stage = make_stage(("door",), Geometry(image.shape[1], image.shape[0], PixelFormat.BGR))
    stage.start(0)
    result = stage.answered("door", image)
    assert len(result.boxes) == len(result.scores) == len(result.landmarks) == 5
    assert (result.width, result.height) == (image.shape[1], image.shape[0])
    assert (result.claim.owner, result.frame.camera) == (0, "door")
    assert result.frame.captured_ns < result.claim.claimed_ns < result.finished_ns
    stage.until(lambda: stage.report(0).get("totals", {}).get("frames", 0) >= 1)
    report = stage.report(0)
    assert {"wait", "pre", "infer", "post"} <= set(report["latency_ms"])
    assert report["totals"]["faces"] >= 5


def test_a_still_picture_costs_no_run_and_the_first_new_frame_is_looked_at(make_stage, photo):
    image = photo("group")
    stage = make_stage(("door",), Geometry(image.shape[1], image.shape[0], PixelFormat.BGR))
    stage.start(0)
    first = stage.answered("door", image)
    stage.until(lambda: stage.answered("door", image) and stage.report(0).get("totals", {}).get("still", 0) >= 10)
    still = stage.answered("door", image)
    assert np.array_equal(still.boxes, first.boxes)
    assert np.array_equal(still.landmarks, first.landmarks)
    assert len(stage.answered("door").boxes) == 0  # the very first dark frame that was answered
    for _ in range(10):
        assert len(stage.answered("door").boxes) == 0
    assert len(stage.answered("door", image).boxes) == 5  # and the first bright one


def test_worker_tells_how_the_camera_moved_since_the_frame_that_it_saw_before(make_stage, photo):
    image = photo("group")
    stage = make_stage(("door",), Geometry(image.shape[1], image.shape[0], PixelFormat.BGR))
    stage.start(0)
    first = stage.answered("door", image)
    panned = stage.answered("door", np.roll(image, 24, axis=1))
    assert panned.moved_since == first.frame.seq
    np.testing.assert_allclose(panned.motion, [1, 0, 24, 0, 1, 0], atol=1.5)


def test_worker_tells_how_new_faces_look(make_stage, photo):
    image = photo("group")
    geometry = Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)
    plug_in = "tests.services.infer.test_embedder:Counting"
    stage = make_stage(("door",), geometry, infer={"width": 640, "embedder": plug_in})
    stage.start(0)
    stage.until(lambda: stage.answered("door", image) and sum(len(result.looked) for result in stage.inbox) >= 5)
    first, second = [result for result in stage.inbox if len(result.looked)][:2]  # a slow machine may look again
    assert len({*first.looked.tolist(), *second.looked.tolist()}) == 5  # three at most in one frame
    assert first.vectors.tolist() == [[row] * 4 for row in (1, 2, 3)]


def test_worker_with_regions_finds_small_faces_and_rests_when_nothing_is_left_to_search(make_stage, photo):
    image = photo("group")
    small = cv2.resize(image, (image.shape[1] // 8 & ~1, image.shape[0] // 8 & ~1), interpolation=cv2.INTER_AREA)
    frame = np.full((720, 1280, 3), 110, np.uint8)
    frame[430 : 430 + small.shape[0], 830 : 830 + small.shape[1]] = small
    stage = make_stage(("door",), Geometry(1280, 720, PixelFormat.BGR), infer={"width": 640, "regions": True})
    stage.start(0)
    stage.until(lambda: stage.answered("door", frame) and stage.report(0).get("totals", {}).get("still", 0) >= 3)
    still = stage.answered("door", frame)
    assert len(still.boxes) >= 4
    assert (still.boxes[:, 0] > 830).all()
    assert len(still.landmarks) == len(still.boxes)


def test_no_camera_motion_is_told_when_it_is_switched_off(make_stage, photo):
    image = photo("group")
    geometry = Geometry(image.shape[1], image.shape[0], PixelFormat.BGR)
    stage = make_stage(("door",), geometry, infer={"width": 320, "camera_motion": False})
    stage.start(0)
    stage.answered("door", image)
    assert stage.answered("door", np.roll(image, 24, axis=1)).moved_since == 0


def test_worker_reads_the_cameras_own_pixel_format(make_stage, photo):
    image = cv2.resize(photo("single"), (320, 320))
    stage = make_stage(("door",), Geometry(320, 320, PixelFormat.NV12))
    i420 = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    stage.start(0)

    def show(camera: str, _image: object = None) -> FrameHandle:
        slot = stage.rings[camera].acquire()
        assert slot is not None
        slot.planes[0][:] = i420[:320]
        slot.planes[1][:] = i420[320:].reshape(2, 160, 160).transpose(1, 2, 0)
        handle = stage.rings[camera].publish(slot, next(stage.seq), time.monotonic_ns(), 0)
        stage.frames[camera].send(handle)
        return handle

    stage.show = show
    assert len(stage.answered("door").boxes) == 1


def share_the_work(stage, enough=lambda: True):
    """Start two workers and show frames until both have taken some, and enough; the sequence number before these."""
    stage.start(0)
    stage.start(1)
    stage.ready(0, 1)
    for camera in stage.rings:
        stage.answered(camera)
    begun, rounds = next(stage.seq), 0

    def shared() -> bool:
        nonlocal rounds
        rounds += 1
        for camera in stage.rings:
            stage.show(camera)
        stage.hear(4)
        return rounds >= 150 and {r.claim.owner for r in stage.inbox if r.frame.seq > begun} == {0, 1} and enough()

    stage.until(shared)
    return begun


def claimed_in_a_row(stage, camera, begun):
    """Numbers of a camera's claims, once each has its result, however long one of the workers takes."""

    def numbers() -> list[int]:
        found = sorted(r.claim.number for r in stage.inbox if r.frame.camera == camera and r.frame.seq > begun)
        return found if found == list(range(found[0], found[0] + len(found))) else []

    return stage.until(numbers)


def test_two_workers_share_the_cameras_and_no_frame_is_taken_twice(make_stage):
    stage = make_stage(infer={"width": 320, "workers": 2})
    begun = share_the_work(stage)
    last = time.monotonic_ns() // 1_000_000
    stage.until(lambda: time.monotonic_ns() // 1_000_000 > last)  # a claim tells times by the millisecond
    shown = {camera: stage.show(camera) for camera in stage.rings}
    stage.until(lambda: {r.frame for r in stage.inbox} >= set(shown.values()))
    results = [result for result in stage.inbox if result.frame.seq > begun]
    taken = Counter((result.frame.camera, result.frame.seq) for result in results)
    assert max(taken.values()) == 1
    assert {result.claim.owner for result in results} == {0, 1}

    for camera in stage.rings:
        assert claimed_in_a_row(stage, camera, begun)


def test_killed_worker_costs_its_frame_and_holds_no_slot(make_stage):
    stage = make_stage()
    stage.start(0)
    stage.start(1)
    stage.ready(0, 1)
    stage.answered("door")
    stage.workers[0].send_signal(signal.SIGSTOP)
    for _ in range(5):
        stage.answered("door")  # the other one goes on
    stage.workers[0].kill()
    stage.workers[0].wait()
    for camera in stage.rings:
        assert stage.answered(camera).claim.owner == 1
    stage.until(lambda: not any(ring.leased() for ring in stage.rings.values()))


def test_idle_worker_lets_its_slot_go(make_stage):
    stage = make_stage()
    stage.start(0)
    stage.answered("door")
    stage.until(lambda: not stage.rings["door"].leased())
    assert stage.rings["door"].leased() == []


def test_worker_follows_a_restarted_capture(make_stage):
    stage = make_stage()
    stage.start(0)
    before = stage.answered("door")
    stage.rings["door"].close()
    stage.frames["door"].close()
    stage.rings["door"] = RingWriter(stage.settings, "door", Geometry(640, 352, PixelFormat.BGR))
    stage.frames["door"] = stage.bus.publisher("frames", "door")
    after = stage.answered("door")
    assert after.frame.epoch != before.frame.epoch
    assert (after.width, after.height) == (640, 352)
    assert after.claim.claims_id == before.claim.claims_id
    assert after.claim.number > before.claim.number


def test_handles_of_frames_that_are_gone_are_counted_and_passed_over(make_stage):
    stage = make_stage()
    stage.start(0)
    handle = stage.answered("door").frame
    now = time.monotonic_ns()
    gone = FrameHandle("door", handle.epoch, handle.slot, handle.generation + 2, 900, now, 0, now)
    other = FrameHandle("yard", 12345, 99, 1, 901, now, 0, now)
    stage.frames["door"].send(gone)
    stage.frames["yard"].send(other)
    stage.until(lambda: stage.report(0).get("drops", {}).get("overwritten", 0) >= 2)
    result = stage.answered("door")
    assert result.claim.number > 0
    assert not any(result.frame.seq in {900, 901} for result in stage.inbox)


def test_camera_that_is_switched_off_is_not_detected(make_stage):
    stage = make_stage()
    stage.start(0)
    for camera in stage.rings:
        stage.answered(camera)
    off = (CameraControl("door", enabled=False), CameraControl("yard"))

    def shown_but_not_answered() -> bool:
        stage.control.send(ControlState(off, time.monotonic_ns()))
        stage.show("door")
        yard = stage.answered("yard")
        return not any(r.frame.camera == "door" and r.frame.seq > yard.frame.seq - 2 for r in stage.inbox)

    stage.until(shown_but_not_answered)
    stage.inbox.clear()
    stage.show("door")
    stage.answered("yard")
    assert {result.frame.camera for result in stage.inbox} == {"yard"}
    on = ControlState((CameraControl("door"),), time.monotonic_ns())
    stage.control.send(on)
    stage.answered("door")


def test_detect_fps_spaces_the_frames(make_stage):
    stage = make_stage(("door",))
    stage.start(0)
    stage.answered("door")
    limit = ControlState((CameraControl("door", detect_fps=20.0),), time.monotonic_ns())
    stage.until(
        lambda: stage.control.send(limit) and stage.show("door") and "not_due" in stage.report(0).get("totals", {})
    )
    stage.inbox.clear()
    while len(stage.inbox) < 10:
        stage.show("door")
        stage.hear(5)
    times = [result.frame.captured_ns for result in stage.inbox]
    assert min(np.diff(times)) >= 47e6  # 50 ms less the allowed jitter, in whole milliseconds


def test_replay_takes_a_frame_that_is_offered_again(make_stage):
    stage = make_stage(("door",), replay=True)
    stage.start(0)
    first = stage.answered("door").frame
    now = time.monotonic_ns()
    again = FrameHandle("door", first.epoch, first.slot, first.generation, first.seq, now, 0, now, 1)
    stage.inbox.clear()
    stage.frames["door"].send(again)
    result = stage.until(lambda: next((result for result in stage.inbox if result.frame.offer), None))
    assert result.frame == again


def test_missing_model_is_reported_and_waited_for(make_stage, tmp_path, model):
    stage = make_stage()
    stage.start(0, VEDETTE_CACHE=str(tmp_path))
    stage.until(lambda: stage.report(0).get("state") == "waiting")
    assert "vedette models pull yunet" in stage.report(0)["reason"]
    target = known_model("yunet").cached(tmp_path / "models")
    target.parent.mkdir()
    shutil.copy(model("yunet"), target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)
    stage.ready(0)
    stage.answered("door")


def test_loading_a_model_creates_nothing_in_the_cache(make_stage, tmp_path):
    stage = make_stage()
    stage.start(0, VEDETTE_CACHE=str(tmp_path))
    stage.until(lambda: stage.report(0).get("state") == "waiting")
    assert list(tmp_path.iterdir()) == []


FLAKY = """
from pathlib import Path
from services.infer.onnxruntime_backend import OnnxRuntimeBackend
from common.errors import DeviceError

class Npu(OnnxRuntimeBackend):
    def bind(self, size, batch=1):
        bound, mark = super().bind(size, batch), Path(__file__).with_name("unplugged")
        run = bound.run
        def fail(count=None):
            if mark.exists():
                raise DeviceError("the accelerator is gone")
            run(count)
        bound.run = fail
        return bound
"""


@pytest.mark.parametrize("batch", [1, 2])
def test_accelerator_that_fails_at_work_is_waited_for_and_loaded_again(make_stage, tmp_path, batch):
    (tmp_path / "flaky_npu.py").write_text(FLAKY)
    infer = {"width": 320, "backend": "flaky_npu:Npu", "max_batch": batch}
    stage = make_stage(("door", "yard"), gate=False, infer=infer)
    path = [str(tmp_path), *filter(None, [child_environment().get("PYTHONPATH")])]
    stage.start(0, PYTHONPATH=os.pathsep.join(path))
    for camera in stage.rings:
        stage.answered(camera)
    (tmp_path / "unplugged").touch()
    stage.until(lambda: stage.show("door") and stage.show("yard") and stage.report(0).get("state") == "waiting")
    assert stage.report(0)["reason"] == "the accelerator is gone"
    assert not any(ring.leased() for ring in stage.rings.values())
    (tmp_path / "unplugged").unlink()
    for camera in stage.rings:
        stage.answered(camera)


@pytest.mark.parametrize(
    ("infer", "message"),
    [
        ({"model": "yunnet"}, b"did you mean 'yunet'"),
        ({"backend": "tpu"}, b"infer.backend='tpu'; choose one of"),
        ({"providers": ["Tpu"]}, b"'Tpu' is not there"),
    ],
)
def test_wrong_name_ends_with_code_2_and_says_what_is_allowed(make_stage, infer, message):
    stage = make_stage(infer=infer)
    worker = stage.start(0)
    _, told = worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 2
    assert message in told


def test_model_that_does_not_fit_ends_with_code_2(make_stage, make_model):
    path: Path = make_model({"scores": np.zeros((1, 4, 2), np.float32)}, 'decoder = "yunet"')
    worker = make_stage(infer={"model": str(path)}).start(0)
    _, told = worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 2
    assert b"output 'cls_8' is missing" in told


def test_term_ends_a_worker_with_code_0(make_stage):
    stage = make_stage()
    worker = stage.start(0)
    stage.answered("door")
    worker.terminate()
    worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 0
    assert not stage.rings["door"].leased()
    assert stage.rings["door"].path.exists()  # the ring is capture's


CAMERAS = ("door", "yard", "lane", "hall")


def together(stage: Stage, images: dict[str, np.ndarray | None]) -> list[DetectionResult]:
    """Results, as they come, of frames that waited at the same time: the worker is stopped while they are shown."""
    last = time.monotonic_ns() // 1_000_000
    stage.until(lambda: time.monotonic_ns() // 1_000_000 > last)  # a claim tells times by the millisecond
    stage.workers[0].send_signal(signal.SIGSTOP)
    shown = {stage.show(camera, image) for camera, image in images.items()}
    stage.workers[0].send_signal(signal.SIGCONT)
    stage.until(lambda: {result.frame for result in stage.inbox} >= shown)
    return [result for result in stage.inbox if result.frame in shown]


def in_one_run(results: list[DetectionResult]) -> bool:
    return max(r.claim.claimed_ns for r in results) < min(r.finished_ns for r in results)


def until_in_one_run(stage: Stage, images: dict[str, np.ndarray | None]) -> list[DetectionResult]:
    """The same, tried until the handles of all cameras have come to the worker before it began."""
    found: list[DetectionResult] = []

    def tried() -> bool:
        found[:] = together(stage, images)
        return in_one_run(found)

    stage.until(tried)
    return found


def ready_for_batches(make_stage, count: int, **infer: object) -> Stage:
    stage = make_stage(CAMERAS[:count], gate=False, infer={"width": 320, "max_batch": count, **infer})
    stage.start(0)
    for camera in stage.rings:
        stage.answered(camera)
    return stage


@pytest.mark.parametrize("count", [2, 4])
def test_frames_that_wait_at_the_same_time_go_through_the_model_together(make_stage, photo, count):
    stage = ready_for_batches(make_stage, count)
    photos = [cv2.resize(photo(name), (320, 192)) for name in ("group", "single")]
    pictures = [*photos, photos[0][:, ::-1], np.zeros_like(photos[0])]
    images = dict(zip(stage.rings, pictures, strict=False))
    alone = {camera: stage.answered(camera, image) for camera, image in images.items()}
    results = until_in_one_run(stage, images)
    assert sorted(result.frame.camera for result in results) == sorted(images)
    claimed = [result.claim.claimed_ns for result in results]
    finished = [result.finished_ns for result in results]
    assert claimed == sorted(claimed)
    assert finished == sorted(finished)
    for result in results:
        single = alone[result.frame.camera]
        np.testing.assert_allclose(result.boxes, single.boxes, atol=1e-2)
        np.testing.assert_allclose(result.scores, single.scores, atol=1e-4)
        np.testing.assert_allclose(result.landmarks, single.landmarks, atol=1e-2)
        assert result.claim.number > single.claim.number
    assert len(alone["door"].boxes) == 5
    stage.until(lambda: stage.report(0).get("totals", {}).get("batched", 0) >= count)
    stage.until(lambda: not any(ring.leased() for ring in stage.rings.values()))


def test_more_cameras_than_a_batch_holds_are_served_alike(make_stage):
    stage = ready_for_batches(make_stage, 4, max_batch=2)
    begun = next(stage.seq)

    def served() -> Counter[str]:
        return Counter(result.frame.camera for result in stage.inbox if result.frame.seq > begun)

    def shown_more_often_than_they_are_answered() -> bool:
        for camera in stage.rings:
            stage.show(camera)
        stage.hear(1)
        return served().total() >= 400

    stage.until(shown_more_often_than_they_are_answered)
    assert set(served()) == set(stage.rings)
    assert min(served().values()) >= 0.7 * max(served().values())
    stage.until(lambda: stage.report(0).get("totals", {}).get("batched", 0) >= 2)


def test_frame_that_is_gone_does_not_spoil_the_others(make_stage):
    stage = ready_for_batches(make_stage, 3)
    stage.workers[0].send_signal(signal.SIGSTOP)
    gone = stage.show("yard")
    assert gone is not None
    slots = stage.rings["yard"].slots
    for _ in range(slots):  # capture goes on: the frame that the worker was told of last is written over
        slot = stage.rings["yard"].acquire()
        if slot is not None:
            stage.rings["yard"].publish(slot, next(stage.seq), time.monotonic_ns(), 0)
    shown = {stage.show(camera) for camera in ("door", "lane")}
    stage.workers[0].send_signal(signal.SIGCONT)
    stage.until(lambda: {result.frame for result in stage.inbox} >= shown)
    stage.until(lambda: stage.report(0).get("drops", {}).get("overwritten", 0) >= 1)
    assert gone not in [result.frame for result in stage.inbox]
    stage.answered("yard")


HELD = """
import time
from pathlib import Path
from services.infer.onnxruntime_backend import OnnxRuntimeBackend

class Npu(OnnxRuntimeBackend):
    def bind(self, size, batch=1):
        bound, mark = super().bind(size, batch), Path(__file__).with_name("held")
        run = bound.run
        def wait(count=None):
            while mark.exists():
                time.sleep(0.001)
            run(count)
        bound.run = wait
        return bound
"""


def test_worker_holds_one_slot_of_each_ring_while_a_batch_runs(make_stage, tmp_path):
    (tmp_path / "held_npu.py").write_text(HELD)
    stage = make_stage(CAMERAS[:3], gate=False, infer={"width": 320, "backend": "held_npu:Npu", "max_batch": 3})
    path = [str(tmp_path), *filter(None, [child_environment().get("PYTHONPATH")])]
    stage.start(0, PYTHONPATH=os.pathsep.join(path))
    for camera in stage.rings:
        stage.answered(camera)
    held: list[int] = []

    def all_three_in_one_run() -> bool:
        (tmp_path / "held").touch()
        stage.workers[0].send_signal(signal.SIGSTOP)
        shown = {stage.show(camera) for camera in stage.rings}
        stage.workers[0].send_signal(signal.SIGCONT)
        stage.until(lambda: any(ring.leased() for ring in stage.rings.values()))
        held[:] = [len(ring.leased()) for ring in stage.rings.values()]
        (tmp_path / "held").unlink()
        stage.until(lambda: {result.frame for result in stage.inbox} >= shown)
        return in_one_run([result for result in stage.inbox if result.frame in shown])

    stage.until(lambda: all_three_in_one_run() and sum(held) == 3)
    assert held == [1, 1, 1]


def test_cameras_of_another_input_size_have_a_run_of_their_own(make_stage):
    stage = make_stage(CAMERAS[:3], gate=False, infer={"width": 320, "max_batch": 3})
    stage.rings["yard"].close()
    stage.rings["yard"] = RingWriter(stage.settings, "yard", Geometry(192, 320, PixelFormat.BGR))
    stage.start(0)
    for camera in stage.rings:
        stage.answered(camera)
    until_in_one_run(stage, dict.fromkeys(("door", "lane")))
    for _ in range(5):
        results = {result.frame.camera: result for result in together(stage, dict.fromkeys(stage.rings))}
        assert (results["yard"].width, results["yard"].height) == (192, 320)
        for other in ("door", "lane"):
            assert not in_one_run([results["yard"], results[other]])


def test_still_cameras_stay_out_of_the_batch_and_results_keep_the_order_of_the_claims(make_stage):
    stage = make_stage(CAMERAS[:3], infer={"width": 320, "max_batch": 2})
    stage.start(0)
    noise = np.random.default_rng(1)

    def moving() -> np.ndarray:
        return noise.integers(0, 256, (192, 320, 3), np.uint8)

    for camera in stage.rings:
        stage.answered(camera)
    stage.until(lambda: stage.answered("yard") and stage.report(0).get("totals", {}).get("still", 0) >= 3)

    def both_moving_ones_in_one_run() -> bool:
        results = together(stage, {"door": moving(), "yard": None, "lane": moving()})
        claimed = [result.claim.claimed_ns for result in results]
        assert claimed == sorted(claimed)
        return in_one_run([result for result in results if result.frame.camera != "yard"])

    stage.until(both_moving_ones_in_one_run)


def test_two_workers_with_batches_take_no_frame_twice_and_keep_the_order(make_stage):
    stage = make_stage(CAMERAS, gate=False, infer={"width": 320, "workers": 2, "max_batch": 3})
    begun = share_the_work(
        stage, lambda: any(stage.report(index).get("totals", {}).get("batched", 0) for index in (0, 1))
    )
    taken = Counter((r.frame.camera, r.frame.seq) for r in stage.inbox)
    assert max(taken.values()) == 1
    for owner in (0, 1):
        claimed = [result.claim.claimed_ns for result in stage.inbox if result.claim.owner == owner]
        assert claimed == sorted(claimed)

    for camera in stage.rings:
        assert len(claimed_in_a_row(stage, camera, begun)) > 1


def test_model_that_takes_one_picture_ends_a_worker_that_shall_take_batches(make_stage, make_model):
    path: Path = make_model({"scores": np.zeros((1, 4, 2), np.float32)}, 'decoder = "ulfg"')
    worker = make_stage(infer={"model": str(path), "max_batch": 2}).start(0)
    _, told = worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 2
    assert b"batch axis that is fixed to 1, so infer.max_batch=2 cannot be: set it to 1" in told
