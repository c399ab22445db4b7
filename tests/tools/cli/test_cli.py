"""The command line as users and scripts meet it: output, errors, exit codes. Each call is a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.config import child_environment
from common.version import VERSION
from tools.cli.bench import benches

ROOT = Path(__file__).parents[3]
COMMANDS = [
    "up",
    "down",
    "conf",
    "status",
    "restart",
    "scale",
    "run",
    "check",
    "doctor",
    "events",
    "demo",
    "replay",
    "models",
    "bench",
    "config",
    "service",
]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def vedette(node_dir: Path) -> Run:
    """Runs the command in a folder with a settings file."""
    (node_dir / "vedette.yml").write_text(
        "node: cli\nstate_dir: state\nruntime_dir: run\nmqtt: {username: hall, password: hush}\n"
        "cameras: {door: {source: 'pattern:64x48@30'}}\n"
    )

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "tools.cli.main", *arguments],
            cwd=node_dir,
            env=child_environment(PYTHONPATH=str(ROOT), NO_COLOR="1", **extra),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_help_lists_every_command(vedette: Run) -> None:
    text = vedette("--help").stdout
    assert [name for name in COMMANDS if f" {name} " not in text] == []


def test_version(vedette: Run) -> None:
    assert vedette("--version").stdout == f"vedette {VERSION}\n"


def test_good_settings_exit_with_0(vedette: Run) -> None:
    assert vedette("check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "nowhere.yml", "check"], "nowhere.yml: No such file"),
        (["run", "captur:door"], "did you mean 'capture:door'?"),
        (["restart", "trak"], "did you mean 'track'?"),
        (["scale", "track", "2"], "only infer scales"),
        (["bench", "nonsense"], "no benchmark 'nonsense'; known: "),
        (["replay", "nowhere.mp4", "--out", "x.jsonl"], "nowhere.mp4: no such file"),
        (["models", "info", "yunt"], "yunet"),
        (["service", "install", "--user", "nobody-here", "--print"], "no such user"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_allowed(vedette: Run, arguments: list[str], message: str) -> None:
    done = vedette(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_names_its_neighbour(vedette: Run) -> None:
    done = vedette("check", VEDETTE__INFER__WORKRES="2")
    assert done.returncode == 2
    assert "infer.workres: unknown key; did you mean 'workers'?" in done.stderr


@pytest.mark.parametrize("arguments", [["restart", "track"], ["scale", "infer", "2"]])
def test_a_node_that_is_down_exits_with_1(vedette: Run, arguments: list[str]) -> None:
    done = vedette(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("vedette: ")


def test_down_is_fine_when_the_node_is_down(vedette: Run) -> None:
    done = vedette("down")
    assert (done.returncode, done.stdout) == (0, "node cli was down already\n")


def test_status_of_a_node_that_is_down(vedette: Run) -> None:
    status = json.loads(vedette("status", "--json").stdout)
    assert (status["node"], status["version"], status["state"]) == ("cli", VERSION, "down")
    assert {row["name"] for row in status["processes"]} >= {"capture:door", "infer:0", "track", "publish", "view"}
    assert status["cameras"][0]["status"] == "offline"


def test_passwords_are_not_shown(vedette: Run) -> None:
    for arguments in (["config", "show"], ["config", "show", "--json"], ["conf"], ["doctor", "--json"]):
        done = vedette(*arguments)
        assert done.stdout
        assert "hush" not in done.stdout + done.stderr, arguments


def test_conf_goes_with_the_environment(vedette: Run) -> None:
    text = vedette("conf", VEDETTE__INFER__WORKERS="3").stdout
    assert "[program:infer-2]" in text
    assert "[program:infer-3]" not in text


def test_schema_is_a_schema(vedette: Run) -> None:
    assert "cameras" in json.loads(vedette("config", "schema").stdout)["required"]


def test_models_are_listed_for_scripts(vedette: Run) -> None:
    assert "yunet" in {row["name"] for row in json.loads(vedette("models", "list", "--json").stdout)}


def test_events_of_a_node_that_never_ran_are_none(vedette: Run) -> None:
    done = vedette("events")
    assert (done.returncode, done.stdout) == (0, "")


def test_bench_lists_what_there_is(vedette: Run) -> None:
    assert vedette("bench").stdout.split() == benches()


def test_doctor_says_what_to_do_and_exits_with_1_when_a_camera_is_missing(vedette: Run) -> None:
    done = vedette("doctor", "--json", VEDETTE__CAMERAS__YARD="{source: 'file:/nowhere/clip.mp4'}")
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert rows["camera yard"]["result"] == "fail"
    assert all(row["hint"] for row in rows.values() if row["result"] != "ok")


def test_start_up_imports_no_heavy_library() -> None:
    heavy = ("cv2", "onnxruntime", "av", "zmq", "pydantic", "numpy")
    code = f"import sys, tools.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
