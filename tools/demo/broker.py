"""A broker of our own for the demo: on loopback only, MQTT 3.1.1, which every client speaks."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from common.errors import DeviceError

HOST = "127.0.0.1"
MAX_PAYLOAD_BYTES = 1 << 20  # a snapshot is some 20 kB
CONF = """\
id = 0

[router]
id = 0
max_connections = 32
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 4

[v4.1]
name = "v4"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 5000
max_payload_size = {max_payload}
max_inflight_count = 100
dynamic_filters = true
"""


@contextlib.contextmanager
def embedded_broker(directory: Path) -> Iterator[int]:
    """A broker for the length of a `with` block; yields its port.

    Args:
        directory: For its configuration: without one it would listen on every network.

    Raises:
        DeviceError: It is not installed, or did not start.
    """
    try:
        from iotcore import Broker
    except ImportError as error:
        raise DeviceError("the demo's broker is missing: pip install 'vedette[demo]', or set mqtt.host") from error
    port = free_port(1883)
    path = directory / "broker.toml"
    path.write_text(CONF.format(host=HOST, port=port, max_payload=MAX_PAYLOAD_BYTES), encoding="utf-8")
    broker = Broker(config_path=str(path))
    try:
        broker.start()
    except (OSError, RuntimeError) as error:
        raise DeviceError(f"the demo's broker did not start: {error}") from error
    try:
        yield port
    finally:
        broker.stop()


def free_port(wished: int) -> int:
    """The wished port of the loopback when it is free, else another one."""
    for port in (wished, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise DeviceError("no free port on the loopback")
