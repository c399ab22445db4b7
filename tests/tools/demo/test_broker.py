"""The demo's own broker."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from tools.demo.broker import embedded_broker, free_port


def test_listens_on_loopback_only_and_is_gone_afterwards(node_dir: Path) -> None:
    with embedded_broker(node_dir) as port:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        listening = {
            row.laddr.ip for row in psutil.net_connections("inet") if row.laddr.port == port and row.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_not_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert free_port(taken.getsockname()[1]) != taken.getsockname()[1]
