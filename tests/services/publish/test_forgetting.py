"""A running node forgets: pictures on disk and on the broker, rows once they were told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.eventlog import EventLogReader
from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings

TOPIC = "vedette/hall/door/snapshot"
ROOT = Path(__file__).parents[3]


def vedette(settings: Settings, *words: str) -> dict[str, Any]:
    """What the command answers, as JSON."""
    file = Path(settings.state_dir) / "vedette.yml"
    tree = {"cameras": {"door": {"source": "pattern:64x48@30"}}, "node": "hall"}
    file.write_text(yaml.safe_dump({**tree, "state_dir": settings.state_dir, "runtime_dir": settings.runtime_dir}))
    command = [sys.executable, "-m", "tools.cli.main", "-c", str(file), "events", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def log_rows(settings: Settings) -> int:
    reader = EventLogReader(settings.state_dir)
    try:
        return len(reader.after(0))
    finally:
        reader.close()


def test_a_face_is_forgotten_while_the_node_runs(broker, make_node, make_faces, listen, until) -> None:
    node = make_node(broker.port)
    node.online()
    listener = listen(broker.port)
    faces = make_faces(node.settings)
    node.ring_doorbell(faces.live(2))
    until(lambda: len(listener.on("vedette/hall/events")) == 6, "told")
    first = faces.written[0][0]
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    with RingWriter.create(node.settings, "door", Geometry(640, 480, PixelFormat.BGR)) as writer:

        def show(event: str) -> None:
            slot = writer.acquire()
            assert slot is not None
            slot.planes[0][:] = noise
            node.see("door", 1, writer.publish(slot, 1, time.monotonic_ns(), 0), event)

        until(lambda: (show(first), isinstance(listener.last(TOPIC), bytes))[1], "picture")
        file = node.dir / "snapshots" / "door" / f"{first}.jpg"
        until(file.exists, "file")
        assert vedette(node.settings, "--delete", "--id", first) == {
            "events": 1, "waiting": 0, "unknown": [], "dry_run": False,
        }  # fmt: skip
        until(lambda: listener.last(TOPIC) == "", "taken back from the broker")
        assert not file.exists()
        assert log_rows(node.settings) == 3
        other = faces.written[-1][0]
        until(lambda: (show(first), show(other), isinstance(listener.last(TOPIC), bytes))[2], "pictures of the other")
        assert not file.exists(), "no new picture of a forgotten face"
    node.ring_doorbell(faces.live(1))
    until(lambda: len(listener.on("vedette/hall/events")) == 9, "later events are told")


def test_what_subscribers_wait_for_is_told_before_it_goes(make_broker, make_node, make_faces, listen, until) -> None:
    broker = make_broker()
    node = make_node(broker.port)
    node.online()
    faces = make_faces(node.settings)
    broker.kill()
    node.wait_for("waiting")
    faces.live(40)
    told = vedette(node.settings, "--delete", "--all")
    assert told["events"] == 40
    assert told["waiting"] == 0, "nobody has heard of them"
    assert log_rows(node.settings) == 0
    broker.start()
    listener = listen(broker.port)
    node.online()
    node.ring_doorbell(faces.live(1))
    until(
        lambda: [row["type"] for row in listener.on("vedette/hall/events")] == ["start", "update", "end"],
        "only the new one",
    )


def test_the_command_needs_a_choice_and_can_only_look(make_settings, make_faces) -> None:
    settings = make_settings(node="hall")
    faces = make_faces(settings)
    faces.live(3)
    command = [sys.executable, "-m", "tools.cli.main", "-c", str(Path(settings.state_dir) / "vedette.yml"), "events"]
    assert vedette(settings, "--delete", "--camera", "door", "--dry-run")["events"] == 3
    assert log_rows(settings) == 9
    for words in (
        ["--delete"],
        ["--delete", "--all", "--camera", "x"],
        ["--delete", "--older-than", "soon"],
        ["--all"],
    ):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, words
    assert vedette(settings, "--delete", "--older-than", "1d")["events"] == 0
    assert vedette(settings, "--delete", "--id", faces.written[0][0], "--id", "nobody")["unknown"] == ["nobody"]
