"""`vedette bench track`: what it says of a MOT folder is true, and what it cannot judge it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from tools.bench import track
from tools.bench.mot import load_sequences
from tools.bench.trackers import named, ours


def write(folder: Path, kind: str, rows: list[str]) -> None:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / f"{kind}.txt").write_text("".join(rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two faces that walk for 40 frames; one detection in frame 20 is missing, and nothing is in frame 41."""
    truth, found = [], []
    for k in range(1, 41):
        for face in (1, 2):
            place = f"{100 * face + 3 * k},{80 * face},40,50"
            truth.append(f"{k},{face},{place},1,1,1\n")
            if (k, face) != (20, 2):
                found.append(f"{k},-1,{place},0.9\n")
    write(tmp_path / "walk", "gt", truth)
    write(tmp_path / "walk", "det", found)
    (tmp_path / "walk" / "seqinfo.ini").write_text("[Sequence]\nseqLength=41\n")
    write(tmp_path / "unlabelled", "det", found[:3])
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_folders_are_read_as_they_are_written(data):
    found = load_sequences(data)
    assert [sequence.name for sequence in found] == ["unlabelled", "walk"]
    walk = found[1]
    assert len(walk.detections) == 41
    np.testing.assert_allclose(walk.detections[0][0], [103, 80, 143, 130, 0.9])
    assert [len(walk.detections[k]) for k in (18, 19, 20, 40)] == [2, 1, 2, 0]
    assert walk.truth is not None
    assert walk.truth[19][0].tolist() == [1, 2]
    assert found[0].truth is None


def test_a_missing_sequence_is_named(data):
    with pytest.raises(ConfigError, match="no sequence run; there are unlabelled, walk"):
        load_sequences(data, "run")


def test_accuracy_is_perfect_where_the_tracks_are(data, tmp_path):
    pytest.importorskip("trackeval")
    out = tmp_path / "out.json"
    assert track.main(["--data", str(data), "--modes", "face", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["accuracy"]["walk"]
    assert row["tracker"] == "face"
    assert row["IDF1"] > 98
    assert (row["switches"], row["false"]) == (0, 2)  # both are carried on for one frame when nothing is seen


def test_accuracy_counts_what_a_worse_tracker_loses(data, tmp_path):
    pytest.importorskip("trackeval")
    out = tmp_path / "out.json"
    worse = "worse=services.track.sort:Sort?max_age=1,min_hits=3"
    track.main(["--data", str(data), "--modes", "", "--tracker", worse, "--json", str(out)])
    (row,) = json.loads(out.read_text())["accuracy"]["walk"]
    assert row["missed"] >= 3
    assert row["IDF1"] < 99


def test_without_truth_accuracy_is_refused(data):
    pytest.importorskip("trackeval")
    with pytest.raises(ConfigError, match="no ground truth"):
        track.main(["--data", str(data), "--sequences", "unlabelled"])


def test_speed_has_a_row_for_each_tracker_and_a_growth():
    rows = track.speed([1, 5], ours(), repetitions=1, frames=60)
    assert [row["tracker"] for row in rows] == ["face", "sort"]
    assert all(row["growth 1 to 5"].endswith("x") for row in rows)


def test_a_tracker_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="no_such_module"):
        named("mine=no_such_module:Tracker")
