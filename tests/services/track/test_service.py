"""Track as a real process with real sockets: tracks, events, restarts, faults."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from common import config
from common.bus import Bus, Receiver, Sender
from common.eventlog import Event, EventLogReader
from common.settings import Settings
from common.stats import read_stats
from common.wire import CONFIRMED, CameraState, Claim, DetectionResult, FrameHandle, TrackFrame
from tools.bench.waiting import until

ROOT = Path(__file__).parents[3]
FPS = 30
PERIOD_NS = 1_000_000_000 // FPS
AGE_NS = 30_000_000  # of a frame when its result is sent
WIDTH, HEIGHT = 640, 480


class Node:
    """A track process, a fake worker that pushes to it, and ears on what it tells."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bus = Bus(settings.runtime_dir)
        self.results: Sender = self.bus.pusher("results")
        self.tracks: Receiver = self.bus.subscriber("tracks")
        self.notices: Receiver = self.bus.subscriber("events")
        self.cameras = {name: self.bus.publisher("camera", name) for name in settings.cameras}
        self.log = EventLogReader(settings.state_dir)
        self.seq = self.number = 0
        self.captured_ns = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, meanwhile: list[list[float]] | None = None) -> None:
        """Start the process; `meanwhile` the worker goes on to find these boxes, however long that takes."""
        name, path = config.write_resolved(self.settings)
        environment = config.child_environment(**{name: str(path)})
        command = [sys.executable, "-m", "services.track"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        until(lambda: (meanwhile is not None and self.go_on(meanwhile)) or self.running())

    def running(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(self.process.communicate()[1].decode())
        report = self.report()
        return report.get("state") == "running" and report.get("pid") == self.process.pid

    def report(self) -> dict[str, Any]:
        return read_stats(self.settings.runtime_dir).get("track", {})

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        assert self.process is not None
        self.process.terminate()
        errors = self.process.communicate(timeout=20)[1].decode()
        assert self.process.returncode == 0, errors
        return errors

    def close(self) -> None:
        if self.process is not None and self.process.stderr is not None and not self.process.stderr.closed:
            self.process.kill()
            self.process.communicate()
        self.log.close()
        self.bus.close()

    def push(
        self,
        boxes: list[list[float]],
        camera: str = "door",
        *,
        number: int | None = None,
        looks: list[list[float]] | None = None,
        captured_ns: int = 0,
    ) -> int:
        """Send what a worker found in the next frame; frames are 1/30 s apart from now on."""
        self.captured_ns = captured_ns or max(self.captured_ns + PERIOD_NS, time.monotonic_ns() - AGE_NS)
        self.seq += 1
        self.number += 1
        now = time.monotonic_ns()
        handle = FrameHandle(camera, 5, 0, self.seq, self.seq, self.captured_ns, self.seq * 33_333_333, now)
        claim = Claim(77, self.number if number is None else number, 0, 0, self.captured_ns // 1_000_000 - 33, now)
        array = np.array(boxes, np.float32).reshape(-1, 4)
        scores = np.full(len(array), 0.9, np.float32)
        empty = np.empty((0, 10), np.float32)
        seen = (0, empty[0:0, 0], np.arange(len(looks), dtype=np.int32), np.array(looks, np.float32)) if looks else ()
        assert self.results.send(DetectionResult(handle, claim, WIDTH, HEIGHT, now, array, scores, empty, *seen))
        return self.seq

    def go_on(self, boxes: list[list[float]]) -> None:
        """Push what was captured since the last frame: it waits in the worker's queue, as the real one's results do."""
        while self.captured_ns + PERIOD_NS <= time.monotonic_ns() - AGE_NS:
            self.push(boxes, captured_ns=self.captured_ns + PERIOD_NS)

    def follow(self, boxes: list[list[float]], camera: str = "door") -> TrackFrame:
        """Push, and wait for the tracks of that frame."""
        seq = self.push(boxes, camera)
        found: list[TrackFrame] = []

        def answer() -> TrackFrame | None:
            found.extend(self.tracks.drain())
            return next((frame for frame in found if frame.frame.seq == seq), None)

        return until(answer)

    def follow_any(self, boxes: list[list[float]]) -> TrackFrame:
        """Push until a frame is answered: also before both sockets are connected. Gives the newest answer."""

        def answers() -> list[TrackFrame]:
            if self.captured_ns:
                self.go_on(boxes)
            self.push(boxes)
            self.bus.wait(100, self.tracks)
            return self.tracks.drain()

        found: list[TrackFrame] = until(answers)
        return found[-1]

    def lives(self) -> dict[str, list[Event]]:
        """Rows of the log by event id."""
        lives: dict[str, list[Event]] = {}
        for row in self.log.after(0, 100_000):
            lives.setdefault(row.id, []).append(row)
        return lives


class Foreign:
    """Bytes that are no message."""

    def pack(self) -> bytes:
        return b"\x93nothing"


@pytest.fixture
def make_node(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def build(**tree: Any) -> Node:
        source = {"source": "pattern:640x480@30"}
        tree.setdefault("cameras", {"door": source, "yard": source})
        nodes.append(Node(make_settings(**tree)))
        nodes[-1].start()
        nodes[-1].follow_any([])
        return nodes[-1]

    yield build
    for node in nodes:
        node.close()


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node(events={"reattach_s": 0.5})


@pytest.fixture
def patient_node(make_node: Callable[..., Node]) -> Node:
    """Its faces live 5 s unseen: the worker that this test plays may be without a core for longer than 1 s."""
    return make_node(events={"reattach_s": 0.5}, track={"max_age": 150})


def box(x: float = 100, y: float = 100, side: float = 60) -> list[float]:
    return [x, y, x + side, y + side]


def settle(node: Node, boxes: list[list[float]], frames: int = 6) -> TrackFrame:
    """Follow faces for some frames until all are confirmed and their events have started."""
    frame = node.follow(boxes)
    for _ in range(frames - 1):
        frame = node.follow(boxes)
    assert list(frame.states) == [CONFIRMED] * len(boxes)
    assert all(frame.event_ids)
    return frame


def check_lives(lives: dict[str, list[Event]], *, ended: bool) -> None:
    for life in lives.values():
        assert [row.seq for row in life] == list(range(1, len(life) + 1))
        kinds = [row.type for row in life]
        assert kinds[0] == "start"
        assert kinds.count("start") == 1
        assert kinds.count("end") == (1 if ended else kinds.count("end"))
        assert "end" not in kinds[:-1]


def ended(node: Node, count: int) -> bool:
    return sum(life[-1].type == "end" for life in node.lives().values()) == count


def test_a_face_is_confirmed_told_and_ended_when_results_stop(node: Node) -> None:
    assert node.follow([box()]).event_ids == ("",)  # seen once: not told yet
    frame = settle(node, [box()])
    assert len(frame.detections) == 1
    assert frame.detection_index.tolist() == [0]
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    until(lambda: ended(node, 1))
    (life,) = node.lives().values()
    check_lives(node.lives(), ended=True)
    assert life[0].id == frame.event_ids[0]
    assert life[0].track_id == frame.ids[0]
    assert life[0].camera == "door"
    assert life[0].box == pytest.approx((100 / 640, 100 / 480, 60 / 640, 60 / 480), abs=0.01)
    assert abs(life[0].time_ns - time.time_ns()) < 60e9
    assert until(node.notices.drain)[-1].rowid <= node.log.last_rowid()
    until(lambda: node.report()["gauges"].get("faces.door") == 0)


def test_faces_end_when_the_camera_goes_and_those_of_others_go_on(node: Node) -> None:
    for _ in range(6):
        node.follow([box()], "door")
        node.follow([box()], "yard")
    state = CameraState("door", "offline", "unplugged", 640, 480, 0.0, 30.0, node.seq, time.monotonic_ns())

    def door_ended() -> bool:
        node.cameras["door"].send(state)
        node.follow([box()], "yard")
        return ended(node, 1)

    until(door_ended)
    assert {life[0].camera: life[-1].type for life in node.lives().values()} == {"door": "end", "yard": "start"}


def test_kill_9_keeps_track_ids_and_event_ids(patient_node: Node) -> None:
    node = patient_node
    before = settle(node, [box(), box(300)])
    for _ in range(3):
        node.kill()
        node.start(meanwhile=[box(), box(300)])
        after = node.follow_any([box(), box(300)])
        assert after.ids.tolist() == before.ids.tolist()
        assert after.event_ids == before.event_ids
    until(lambda: ended(node, 2))
    assert set(node.lives()) == set(before.event_ids)
    check_lives(node.lives(), ended=True)


def test_sigterm_and_start_goes_on_too(patient_node: Node) -> None:
    node = patient_node
    before = settle(node, [box()])
    node.stop()
    node.start(meanwhile=[box()])
    after = node.follow_any([box()])
    assert (after.ids.tolist(), after.event_ids) == (before.ids.tolist(), before.event_ids)


def test_open_faces_end_when_nothing_comes_after_a_restart(node: Node) -> None:
    settle(node, [box()])
    node.kill()
    node.start()
    until(lambda: ended(node, 1))
    check_lives(node.lives(), ended=True)


@pytest.mark.parametrize("loss", ["checkpoint", "boot", "garbage", "misfit"])
def test_without_a_fitting_checkpoint_open_events_still_end_once(node: Node, loss: str) -> None:
    before = settle(node, [box()])
    node.kill()
    path = Path(node.settings.runtime_dir) / "track.checkpoint"
    tree = msgpack.unpackb(path.read_bytes())
    if loss == "checkpoint":
        path.unlink()
    elif loss == "garbage":
        path.write_bytes(b"\xc1" * 100)
    else:
        if loss == "boot":
            tree["boot_id"] = "another"
        tree["cameras"]["door"]["tracker"] = {"table": [1, 2]}
        path.write_bytes(msgpack.packb(tree))
    if loss == "boot":
        with sqlite3.connect(Path(node.settings.state_dir) / "events.db") as db:
            db.execute("UPDATE open_events SET boot_id = 'another', mono_ns = 99999999999999999")
        db.close()
    node.start()
    until(lambda: ended(node, 1))
    assert list(node.lives()) == [before.event_ids[0]]
    check_lives(node.lives(), ended=True)


def test_an_event_that_the_log_missed_or_ended_is_set_right_at_start(node: Node) -> None:
    before = settle(node, [box(), box(300)])
    until(lambda: len(node.lives()) == 2)
    node.kill()
    missed, over = before.event_ids
    database = Path(node.settings.state_dir) / "events.db"
    with sqlite3.connect(database) as db:  # as if killed before one commit, and long before the checkpoint in the other
        db.execute("DELETE FROM events WHERE id = ?", (missed,))
        db.execute("DELETE FROM open_events")
    db.close()
    node.start(meanwhile=[box(), box(300)])
    after = node.follow_any([box(), box(300)])
    assert after.ids.tolist() == before.ids.tolist()
    assert after.event_ids[0] == missed
    assert after.event_ids[1] not in {over, missed, ""}
    until(lambda: ended(node, 2))
    lives = node.lives()
    assert [row.type for row in lives[missed]][:1] == ["start"]
    assert [row.type for row in lives[over]] == ["start"]
    assert len(lives) == 3


def test_kills_leave_one_start_and_one_end_a_face(node: Node) -> None:
    """Every other life ends with its results unread, so that only some of the faces are ever told of."""
    for life in range(8):
        faces = [box(40 + 70 * life, 50 + 40 * (life % 3))]
        for frame in range(4 + 3 * (life % 4)):
            node.push(faces if frame % 9 != 8 else [])
        if life % 2:
            node.follow_any(faces)
        node.kill()
        node.tracks.drain()
        node.start()
    node.follow_any([])
    told = {event_id for _ in range(6) for event_id in node.follow([box(300, 300)]).event_ids if event_id}
    assert told
    until(lambda: told <= set(node.lives()) and ended(node, len(node.lives())))
    check_lives(node.lives(), ended=True)


def test_a_face_that_is_known_again_by_its_looks_goes_on(make_node: Callable[..., Node]) -> None:
    node = make_node(events={"reattach_s": 20.0})
    anna, ben = [1.0, 0.0], [0.0, 1.0]
    node.push([box(), box(300)], looks=[anna, ben])
    before = settle(node, [box(), box(300)])
    for _ in range(70):  # longer than a lost track lives
        node.push([])
    assert not len(node.follow([]).ids)
    node.push([box(100), box(500, 300)], looks=[ben, anna])
    after = settle(node, [box(100), box(500, 300)])
    assert after.ids.tolist() == before.ids.tolist()[::-1]
    assert after.event_ids == before.event_ids[::-1]
    node.push([box(100), box(500, 300), box(200, 20)], looks=[ben, anna, ben])
    assert len(set(settle(node, [box(100), box(500, 300), box(200, 20)]).ids.tolist())) == 3


def test_results_of_two_workers_come_out_in_order_and_late_ones_are_dropped(node: Node) -> None:
    settle(node, [box()])
    node.number += 2
    late, ahead = node.number - 1, node.number
    number = node.number
    newer = node.push([box()], number=ahead)
    until(lambda: [frame for frame in node.tracks.drain() if frame.frame.seq == newer])
    handle_seq, captured = node.seq, node.captured_ns
    node.captured_ns -= 40_000_000
    old_ns = node.captured_ns
    now = time.monotonic_ns()
    handle = FrameHandle("door", 5, 0, 1, handle_seq - 1, old_ns, 0, now)
    claim = Claim(77, late, 1, 0, old_ns // 1_000_000 - 33, now)
    nothing = np.empty((0, 4), np.float32)
    node.results.send(
        DetectionResult(handle, claim, WIDTH, HEIGHT, now, nothing, nothing[:, 0], np.empty((0, 10), np.float32))
    )
    until(lambda: node.report()["drops"].get("late") == 1)
    node.captured_ns, node.number = captured, number
    assert node.follow([box()]).states.tolist() == [CONFIRMED]


def test_foreign_results_are_counted_and_change_nothing(node: Node) -> None:
    settle(node, [box()])
    node.push([box()], camera="attic")
    node.results.send(Foreign())
    nan = float("nan")
    frame = node.follow([box(), [nan, 0, 1, 1], [5, 5, 5, 5]])
    assert len(frame.detections) == 3
    assert frame.ids.size == 1
    until(lambda: node.report()["drops"].get("unknown_camera") == 1)
    drops = node.report()["drops"]
    assert (drops["wire_results"], drops["bad_boxes"]) == (1, 2)


def test_after_a_long_stop_every_result_is_followed_but_only_the_last_announced(node: Node) -> None:
    before = settle(node, [box()])
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGSTOP)
    for _ in range(20):
        node.push([box()])
    late = time.monotonic_ns() + 250_000_000
    until(lambda: time.monotonic_ns() > late)
    os.kill(node.process.pid, signal.SIGCONT)
    heard: list[TrackFrame] = []
    until(lambda: heard.extend(node.tracks.drain()) or [frame for frame in heard if frame.frame.seq == node.seq])
    assert heard[-1].ids.tolist() == before.ids.tolist()
    assert heard[-1].hits[0] == before.hits[0] + 20
    until(lambda: node.report()["drops"].get("stale", 0) > 0)


@pytest.fixture
def small_disk(node_dir: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    path = node_dir / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_with_a_full_disk_tracking_goes_on_the_state_says_so_and_the_rows_come_later(
    small_disk: Path, make_node: Callable[..., Node]
) -> None:
    node = make_node(state_dir=str(small_disk), events={"reattach_s": 0.2})
    settle(node, [box()])
    until(lambda: len(node.lives()) == 1)
    fill(small_disk / "filler")
    until(lambda: node.follow([box(20 + node.seq * 150 % 600)]) and "disk full" in node.report()["reason"])
    assert node.report()["state"] == "running"
    before = node.log.last_rowid()
    for _ in range(6):
        frame = node.follow([box(500, 300)])
    assert CONFIRMED in frame.states
    (small_disk / "filler").unlink()
    until(lambda: node.log.last_rowid() > before and not node.report()["reason"])
    until(lambda: ended(node, len(node.lives())))
    check_lives(node.lives(), ended=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_second_track_of_the_node_is_refused(node: Node) -> None:
    name, path = config.write_resolved(node.settings)
    environment = config.child_environment(**{name: str(path)})
    command = [sys.executable, "-m", "services.track"]
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert "served already" in second.stderr


def test_a_newer_event_log_is_refused_with_exit_code_2(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    Path(settings.state_dir).mkdir(mode=0o700, parents=True)
    with sqlite3.connect(Path(settings.state_dir) / "events.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    name, path = config.write_resolved(settings)
    environment = config.child_environment(**{name: str(path)})
    command = [sys.executable, "-m", "services.track"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "schema version 99" in done.stderr


def test_replay_goes_by_media_time_and_answers_every_frame_again_too(make_node: Callable[..., Node]) -> None:
    node = make_node(replay=True, track={"mode": "sort", "min_hits": 1})
    for _ in range(5):
        frame = node.follow([box()])
    assert frame.ages_s[0] == pytest.approx(4 / 30, abs=0.01)
    node.seq -= 1  # offered again, with a new time and a new claim
    again = node.follow([box()])
    assert (again.hits.tolist(), again.ids.tolist()) == (frame.hits.tolist(), frame.ids.tolist())
    node.kill()
    node.seq -= 1
    seq = node.push([box()])
    node.start()
    heard: list[TrackFrame] = []

    def answered() -> list[TrackFrame]:
        node.seq = seq - 1
        node.push([box()])
        node.bus.wait(100, node.tracks)
        heard.extend(node.tracks.drain())
        return heard

    assert until(answered)[0].ids.tolist() == frame.ids.tolist()
