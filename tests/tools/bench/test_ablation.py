"""The ablation: every setting is one of the tracker's, and turning one off is seen."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from services.track.face import FaceTracker
from tools.bench import ablation

pytest.importorskip("trackeval", reason="pip install --no-deps trackeval")


def test_every_piece_is_a_setting_of_the_tracker() -> None:
    known = set(inspect.signature(FaceTracker).parameters)
    used = {key for settings in ablation.OFF.values() for key in settings}
    assert used <= known
    assert known - used == {"min_hits", "iou_threshold", "start_score"}  # these cannot be turned off


def test_a_face_that_jumps_is_lost_without_matching_by_distance(tmp_path: Path) -> None:
    folder = tmp_path / "mot" / "jump"
    for kind in ("det", "gt"):
        (folder / kind).mkdir(parents=True)
    places = [(frame, 100 + 70 * (frame > 20)) for frame in range(1, 41)]
    (folder / "det" / "det.txt").write_text("".join(f"{n},-1,{x},100,100,120,0.9\n" for n, x in places))
    (folder / "gt" / "gt.txt").write_text("".join(f"{n},1,{x},100,100,120,1,1,1\n" for n, x in places))
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=jump\nframeRate=30\nseqLength=40\nimWidth=640\nimHeight=480\n"
    )
    plot = tmp_path / "plot.png"
    assert (
        ablation.main(["--data", str(tmp_path / "mot"), "--json", str(tmp_path / "out.json"), "--plot", str(plot)]) == 0
    )
    rows = {row["piece"]: row["all"] for row in ablation.json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert rows[ablation.WHOLE] > rows["no matching by distance"] + 20
    assert plot.stat().st_size > 1000
