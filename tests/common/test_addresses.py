"""Addresses that people see hold no secrets."""

from __future__ import annotations

import pytest

from common.addresses import MASK, names_secret, shown


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("rtsp://u:hunter2@h:554/x", "rtsp://h:554/x"),
        ("rtsp://u:hun/ter2@h/x", "rtsp://h/x"),
        ("rtsp://u:hunt@er2@h/x", "rtsp://h/x"),
        ("http://h/snap?channel=1&user=u&pwd=hunter2", f"http://h/snap?channel=1&user={MASK}&pwd={MASK}"),
        ("rtsp://h/user=u_password=hunter2_channel=1", f"rtsp://h/user={MASK}_password={MASK}_channel=1"),
        ("rtsp://h/user=u&password=hunter2&channel=1", f"rtsp://h/user={MASK}&password={MASK}&channel=1"),
        ("http://h/live?api_key=hunter2", f"http://h/live?api_key={MASK}"),
        ("['rtsp://u:hunter2@h', 'x']", "['rtsp://h', 'x']"),
        ("rtsp://h/monkey=5", "rtsp://h/monkey=5"),
        ("pattern:64x48@30", "pattern:64x48@30"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(address: str, seen: str) -> None:
    assert shown(address) == seen


def test_something_can_stand_for_the_user() -> None:
    assert shown("rtsp://u:hunter2@h/x", f"{MASK}@") == f"rtsp://{MASK}@h/x"


def test_names_of_secrets_are_known() -> None:
    assert all(map(names_secret, ("password", "token", "access_token", "api_key", "API-KEY", "SECRET")))
    assert not any(map(names_secret, ("password_file", "username", "keepalive_s", "tls_key", "host")))
