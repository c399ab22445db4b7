"""Settings: what is right is taken, what is wrong is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from common import config
from common.errors import ConfigError
from common.settings import Settings

GOOD = "cameras:\n  door: {source: 'pattern:64x48@30'}\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vedette.yml"
    path.write_text(text)
    return path


def test_everything_but_cameras_has_a_default(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, GOOD))
    assert settings.infer.width == 640
    assert Path(settings.state_dir).is_absolute()
    assert Path(settings.runtime_dir).is_absolute()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node: hall\n", "cameras: missing"),
        ("cameras: {}\n", "cameras={}"),
        (GOOD + "infer: {wdith: 5}\n", r"infer\.wdith: unknown key; did you mean 'width'\?"),
        (GOOD + "infer: {workers: 0}\n", r"infer\.workers=0: it should be greater than or equal to 1"),
        (GOOD + "infer: {workers: two}\n", r"infer\.workers='two': it should be a valid integer"),
        (GOOD + "infer: {workers: 6}\n", r"infer\.workers=6: .*max_workers=4"),
        (GOOD + "infer: {max_batch: 2, regions: true}\n", r"infer\.max_batch=2: it should be 1 with infer\.regions"),
        (GOOD + "track: {mode: deep}\n", r"track\.mode='deep': it should be 'face' or 'sort'"),
        (GOOD + "mqtt: {password: hunter2, port: 70000}\n", r"mqtt\.port=70000"),
        (GOOD + "mqtt: {password: hunter2}\n", "mqtt.username is missing"),
        (GOOD + "mqtt: {base: 'a/#'}\n", "no wildcard"),
        (GOOD + "processes: {infr: {nice: 1}}\n", "no such process; did you mean 'infer'"),
        (GOOD + "processes: {track: {cores: [4000]}}\n", "this machine has"),
        ("cameras: {track: {source: 'pattern:'}}\n", "the name is taken"),
        ("cameras: {'front door': {source: 'pattern:'}}\n", "letters, digits"),
        ("cameras: {door: {source: 'pattern:', fsp: 3}}\n", r"cameras\.door\.fsp: unknown key; did you mean 'fps'"),
        ("cameras: {door: {source: 'x:', zones: {a: [[0, 2]]}}}\n", r"zones\.a\.0\.1=2"),
        ("cameras: [\n", "not readable as YAML"),
        ("- a\n", "a mapping expected"),
        (GOOD + "mqtt: {username: '${VD_NOT_SET}'}\n", r"mqtt\.username: \$\{VD_NOT_SET\} is not set"),
        (GOOD + "mqtt: {password_file: nowhere, username: a}\n", "password_file"),
        ("cameras: {door: 'rtsp://u:hunter2@h/x'}\n", r"cameras\.door='rtsp://h/x': it should be"),
        ("cameras: {door: {source: ['rtsp://u:hunter2@h/x']}}\n", r"source=\['rtsp://h/x'\]: it should be"),
        (GOOD + "rtsp: {push: {door: 'rtsp://u:hunter2@h/x'}}\n", r"rtsp\.push\.door='rtsp://h/x'"),
        (GOOD + "mqtt: hunter2\n", "mqtt=a secret"),
        (GOOD + "mqtt: [{password: hunter2}]\n", "mqtt=a secret"),
        (GOOD + "view: {password: [hunter2]}\n", "view.password=a secret"),
        (GOOD + "mqtt: {password: hunter2]}\n", "not readable as YAML: line 3, column 25: "),
    ],
)
def test_wrong_settings_name_key_value_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(write(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 problems") as caught:
        config.load(write(tmp_path, GOOD + "nod: a\ninfer: {threads: 0}\nview: {port: x}\n"))
    assert all(word in str(caught.value) for word in ("'node'", "infer.threads=0", "view.port='x'"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yml: No such file"):
        config.load(tmp_path / "nowhere.yml")


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE__INFER__WORKERS", "2")
    monkeypatch.setenv("VEDETTE__CAMERAS__YARD__SOURCE", "pattern:32x32@5")
    monkeypatch.setenv("VD_SECRET", "s3cret")
    path = write(tmp_path, GOOD + "infer: {workers: 1}\nmqtt: {username: a, password: '${VD_SECRET}'}\n")
    settings = config.load(path, {"view.port": 1234})
    assert settings.infer.workers == 2
    assert set(settings.cameras) == {"door", "yard"}
    assert settings.mqtt.password == "s3cret"
    assert settings.view.port == 1234
    assert "s3cret" not in repr(settings)


def test_wrong_value_in_the_environment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE__INFER__WORKRS", "2")
    with pytest.raises(ConfigError, match="did you mean 'workers'"):
        config.load(write(tmp_path, GOOD))


def test_password_comes_from_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass word\n")
    settings = config.load(write(tmp_path, GOOD + "mqtt: {username: a, password_file: secret}\n"))
    assert settings.mqtt.password == "pass word"


def test_service_gets_what_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = "cameras: {door: {source: 'x:', zones: {mat: [[0, 0.5], [1, 1], [0, 1]]}}}\n"
    text = zones + f"runtime_dir: {tmp_path}/run\nprocesses: {{'capture:door': {{cores: [0], nice: 3}}}}\n"
    settings = config.load(write(tmp_path, text))
    name, path = config.write_resolved(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(name, str(path))
    assert config.for_service() == settings


def test_handed_over_settings_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("{}", "[", '{"cameras": {}, "color": 1}'):
        path = tmp_path / "settings.json"
        path.write_text(text)
        monkeypatch.setenv(config.RESOLVED, str(path))
        with pytest.raises(ConfigError, match=r"settings\.json"):
            config.for_service()


def test_defaults_pass_their_own_limits() -> None:
    tree = dataclasses.asdict(Settings(cameras={}))
    tree["cameras"] = {"door": {"source": "pattern:"}}
    assert config.check(tree).node == "vedette"
