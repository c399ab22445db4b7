"""A broker that dies, freezes and comes back on the same port, behind a gate for the node and none for the witness."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from common.errors import ConfigError, DeviceError
from tools.bench.badline import BadLine
from tools.bench.gate import Gate
from tools.bench.private import free_port
from tools.bench.witness import Witness
from tools.supervisor import tether

START_S = 10.0


class Outage:
    """The broker, the gate and the witness.

    Attributes:
        host: Address of the broker for the node.
        port: Where the node shall find the broker: the gate's.
        witness: Who hears everything from the broker itself.
    """

    def __init__(self, line: BadLine | None = None) -> None:
        """Start.

        Args:
            line: The broker stands at its far end, and there is no gate.
        """
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            raise ConfigError("chaos needs a broker: apt install mosquitto")
        self.host = line.far if line else "127.0.0.1"
        self._own_port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="vd-"))
        self._directory.chmod(0o755)  # mosquitto leaves root behind
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {self._own_port} {self.host}\nallow_anonymous true\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        self._command = [
            *(line.prefix if line else []),
            sys.executable,
            str(tether.__file__),
            program,
            "-c",
            str(configuration),
        ]
        self._process = self._start()
        self._gate = Gate(self._own_port)
        self.port = self._own_port if line else self._gate.port
        self.witness = Witness(self._own_port, self.host)
        self.witness.wait_here()

    def kill(self) -> None:
        """The broker dies without a word."""
        self._gate.shut()
        self.witness.away()
        self._process.kill()
        self._process.wait(10)

    def back(self) -> None:
        """It is there again; the witness is let in before the node, so that it misses nothing."""
        if self._process.poll() is not None:
            self._process = self._start()
        else:
            os.kill(self._process.pid, signal.SIGCONT)
        self.witness.wait_here()
        self._gate.open()

    def freeze(self) -> None:
        """The broker is there, takes connections, and answers nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def lose(self) -> None:
        """The network takes every packet and brings none."""
        self._gate.freeze()

    def close(self) -> None:
        """End all three."""
        self.witness.close()
        self._gate.close()
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self._own_port)) == 0:
                    return process
            if process.poll() is not None or time.monotonic() > end:
                raise DeviceError("mosquitto does not listen")
            time.sleep(0.02)
