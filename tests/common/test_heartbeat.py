"""Signs of life, written in place and read by others at the same time."""

from __future__ import annotations

from pathlib import Path

from common.heartbeat import FORM, Beat, Heartbeat, beat_path, read_beat, read_beats


class Met(type(Path())):  # type: ignore[misc]
    """A file whose first reading meets half of a writing: a kernel does that too seldom for a test."""

    readings = 0

    def read_bytes(self) -> bytes:
        self.readings += 1
        before, after = FORM.pack(41, 1_000, 4 * 10**9), FORM.pack(42, 9_000, 60 * 10**9)
        return after if self.readings > 1 else after[:8] + before[8:]


def test_half_of_a_writing_is_not_believed() -> None:
    assert read_beat(Met("track.beat")) == Beat(42, 9_000, 60.0)


def test_a_file_that_is_not_whole_is_no_sign_of_life(node_dir: Path) -> None:
    assert read_beat(node_dir / "none.beat") is None
    (node_dir / "short.beat").write_bytes(b"x" * 23)
    assert read_beat(node_dir / "short.beat") is None


def test_a_process_that_ends_in_order_leaves_none(node_dir: Path) -> None:
    heart = Heartbeat(node_dir, "infer:0")
    heart.beat(4.0)
    assert list(read_beats(node_dir)) == ["infer:0"]
    heart.close()
    assert not beat_path(node_dir, "infer:0").exists()
