"""A bad line to a network namespace: two TUN devices and a relay that loses, delays and cuts. Real TCP meets real loss.

The kernel's own `netem` is a module that small systems lack; this needs /dev/net/tun and root only.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

from common.errors import DeviceError

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 1500
LOOK_S = 0.05


class BadLine:
    """This side is `near`, the namespace is `far`; a context manager.

    Attributes:
        near: Address of this side.
        far: Address in the namespace.
        prefix: Words before a command that shall run there.
    """

    def __init__(self, loss: float = 0.0, delay_s: float = 0.0, jitter_s: float = 0.0) -> None:
        """Make namespace and devices.

        Raises:
            DeviceError: Not allowed, or no TUN here.
        """
        self.loss, self.delay_s, self.jitter_s = loss, delay_s, jitter_s
        self.cut = False
        number = os.getpid() % 200 + 20
        self._name = f"vd{os.getpid()}"
        self.near, self.far = f"10.213.{number}.1", f"10.213.{number}.2"
        self.prefix = ["ip", "netns", "exec", self._name]
        self._dice = random.Random(1)
        self._done = threading.Event()
        self._ends: list[int] = []
        try:
            _run("ip", "netns", "add", self._name)
            self._ends = [_tun(f"{self._name}n"), self._far_tun(f"{self._name}f")]
            _run("ip", "addr", "add", f"{self.near}/30", "dev", f"{self._name}n")
            _run("ip", "link", "set", f"{self._name}n", "up")
            _run(*self.prefix, "ip", "addr", "add", f"{self.far}/30", "dev", f"{self._name}f")
            _run(*self.prefix, "ip", "link", "set", f"{self._name}f", "up")
            _run(*self.prefix, "ip", "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise DeviceError(f"no line to a namespace: {error}") from error
        self._thread = threading.Thread(target=self._relay, name="line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove everything."""
        self._done.set()
        for fd in self._ends:
            os.close(fd)
        self._ends = []
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _far_tun(self, name: str) -> int:
        """A device in the namespace: made by a thread that goes there and ends."""
        made: list[int] = []

        def go() -> None:
            with open(f"/run/netns/{self._name}", "rb") as there:
                if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) == 0:
                    made.append(_tun(name))

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        if not made:
            raise OSError("cannot enter the namespace")
        return made[0]

    def _relay(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        other = {self._ends[0]: self._ends[1], self._ends[1]: self._ends[0]}
        count = 0
        while not self._done.is_set():
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, fd, packet = heapq.heappop(waiting)
                _write(fd, packet)
            limit_s = min(LOOK_S, waiting[0][0] - now) if waiting else LOOK_S
            try:
                ready = select.select(list(other), [], [], max(0.0, limit_s))[0]
                packets = [(other[fd], os.read(fd, MTU + 100)) for fd in ready]
            except OSError:
                return  # closed
            for fd, packet in packets:
                if self.cut or self._dice.random() < self.loss:
                    continue
                count += 1
                due = time.monotonic() + self.delay_s + self._dice.uniform(-1, 1) * self.jitter_s
                heapq.heappush(waiting, (due, count, fd, packet))


def _tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def _write(fd: int, packet: bytes) -> None:
    try:
        os.write(fd, packet)
    except OSError:
        return  # the device is down: the packet is lost, as on any line


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True)
