"""`vedette replay`: a clip with no face needs no download, and a damaged one is said to be damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import DeviceError, VedetteError
from common.wire import CONFIRMED, LOST, TENTATIVE, FrameHandle, TrackFrame
from tools.demo.clip import fetch_clip
from tools.models.pull import pull
from tools.replay.replay import line, run_replay


def frame(seq: int, media_ns: int) -> TrackFrame:
    return TrackFrame(
        FrameHandle("clip", 1, 0, 1, seq, 0, media_ns, 0), 640, 360, 0, 0, 0,
        ids=np.array([7, 8, 9], np.int64),
        boxes=np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], np.float32),
        velocities=np.zeros((3, 4), np.float32),
        scores=np.array([0.93, 0.4, 0.8], np.float32),
        states=np.array([CONFIRMED, TENTATIVE, LOST], np.uint8),
        shown=np.array([1, 0, 0], np.uint8),
        detection_index=np.array([-1, -1, -1], np.int32),
        hits=np.ones(3, np.int32),
        ages_s=np.ones(3, np.float32),
        event_ids=("", "", ""),
        detections=np.zeros((0, 4), np.float32),
        landmarks=np.zeros((0, 10), np.float32),
    )  # fmt: skip


def test_a_line_holds_only_what_a_viewer_is_shown() -> None:
    assert line(frame(1, 0), 30.0) == {
        "frame": 1,
        "t": 0.0333,
        "tracks": [{"id": 7, "box": [1.0, 2.0, 3.0, 4.0], "score": 0.93, "state": "confirmed"}],
    }


def test_time_follows_the_frames_own_time_stamp() -> None:
    assert line(frame(2, 100_000_000), 10.0)["t"] == 0.2
    assert line(frame(2, 100_000_000), 0.0)["t"] == 0.1


def test_a_damaged_clip_is_said_to_be_damaged(node_dir: Path) -> None:
    clip = node_dir / "clip.mp4"
    clip.write_bytes(b"no video at all" * 100)
    require_model()
    with pytest.raises(DeviceError, match="cannot be played"):
        run_replay(None, clip, node_dir / "out.jsonl")


def test_every_frame_of_the_clip_has_a_line(node_dir: Path) -> None:
    require_model()
    try:
        clip = fetch_clip(lambda _: None)
    except VedetteError as error:
        pytest.skip(f"clip cannot be fetched: {error}")
    out = node_dir / "out.jsonl"
    assert run_replay(None, clip, out) == 0
    rows = [json.loads(text) for text in out.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(1, 473))
    assert sum(bool(row["tracks"]) for row in rows) >= 0.95 * len(rows)
    assert rows == sorted(rows, key=lambda row: row["t"])


def require_model() -> None:
    try:
        pull("yunet")
    except VedetteError as error:
        pytest.skip(f"model cannot be fetched: {error}")
