"""An emulated machine with a real kernel: our root read-only, a shell on a serial line, a screen to look at."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import RESOLVED, cache_dir, check

ROOT = Path(__file__).parents[2]
BUILD = Path(__file__).with_name("build")
BOOT_S, COMMAND_S = 180, 120  # on a machine that does much else
WARM_UP = (
    "import av, cv2, numpy, zmq, msgpack; a = numpy.zeros((64, 64, 3), numpy.uint8); "
    'cv2.resize(a, (128, 128)); cv2.putText(a, "a", (0, 9), (0, 0, 0), cv2.FontFace("sans"), 9, 400)'
)
EMULATED, NATIVE = ("-accel", "tcg,thread=multi"), ("-accel", "kvm")
PROBE_S = 20  # a machine under KVM has its shell after 2 s
NEEDED = ("qemu-system-x86_64", "busybox", "cpio", "dpkg-deb")


class Machine:
    """A running guest; commands go to its shell one after the other."""

    def __init__(
        self, files: Path, *devices: str, accelerator: tuple[str, ...] = EMULATED, boot_s: float = BOOT_S
    ) -> None:
        self.files, self.kernel = files, files / "files"
        self._directory = Path(tempfile.mkdtemp(prefix="vd-vm-", dir="/tmp"))
        wired = [word for device in devices for word in ("-device", device)]
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64", *accelerator, "-m", "1024", "-smp", "1", "-cpu", "max",
                "-nodefaults", "-no-reboot", "-display", "none", *wired,
                "-serial", f"file:{self._directory}/console.log", "-serial", "stdio",
                "-qmp", f"unix:{self._directory}/qmp,server=on,wait=off",
                "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
                "-kernel", str(files / "vmlinuz"), "-initrd", str(files / "initrd.gz"),
                "-append", "console=ttyS0 quiet rdinit=/init panic=-1",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self._lines: Queue[str | None] = Queue()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()
        self._number = 0
        self.settings = self._directory / "settings.json"
        self._boot(boot_s)

    def _boot(self, boot_s: float) -> None:
        """Wait for the shell: what is sent before it listens is lost."""
        end, said = time.monotonic() + boot_s, list[str]()
        try:
            while (line := self._line(end)) != "shell is ready":
                said.append(line)
        except Empty:
            console = self.console()
            self.close()
            raise AssertionError("\n".join(["the machine does not boot", *said, console])) from None
        self.run("export PYTHONDONTWRITEBYTECODE=1; mkdir -p /run/vd/stats")
        self.run(f"{sys.executable} -c '{WARM_UP}'", BOOT_S)  # what a disk has at hand comes over 9p once

    def run(self, command: str, deadline_s: float = COMMAND_S, *, check: bool = True) -> str:
        """Output of a command in the guest."""
        self._number += 1
        mark = f"@@{self._number}="
        assert self._process.stdin
        self._process.stdin.write(f"{command}\necho; echo '{mark}'$?\n")
        self._process.stdin.flush()
        lines: list[str] = []
        end = time.monotonic() + deadline_s
        while True:
            try:
                line = self._line(end)
            except Empty:
                raise AssertionError(f"{command!r}: no end after {deadline_s} s\n{self.console()}") from None
            if line.startswith(mark):
                text = "\n".join(lines).strip()
                assert not check or line == mark + "0", f"{command!r}: {text}"
                return text
            lines.append(line)

    def until(self, command: str, wanted: Callable[[str], Any], deadline_s: float = 240) -> str:
        """Output of a command once it is as wanted."""
        end = time.monotonic() + deadline_s
        while True:
            text = self.run(command, check=False)
            if wanted(text):
                return text
            assert time.monotonic() < end, f"{command!r} says after {deadline_s} s: {text}\n{self.logs()}"
            self.run("sleep 0.3")  # the pace of looking

    def logs(self) -> str:
        """What the services and the kernel have said."""
        return self.run("tail -n 30 /run/*.log", check=False) + self.console()

    def console(self) -> str:
        """What the kernel has said."""
        return (self._directory / "console.log").read_text(errors="replace")[-4000:]

    def configure(self, **tree: Any) -> None:
        """Settings for the services, as `vedette up` would hand them on."""
        tree |= {"runtime_dir": "/run/vd", "state_dir": "/run/state"}
        name = self._directory / f"settings-{self._number}.json"  # a new name: the guest remembers what it has read
        name.write_text(json.dumps(dataclasses.asdict(check(tree))))
        self.settings = name

    def start(self, family: str, argument: str = "", prefix: str = "") -> int:
        """Start a service of the node in the guest; gives the id of its keeper."""
        log = f"/run/{family}.log"
        program = f"{sys.executable} -m services.{family} {argument}"
        once = f"{prefix} env {RESOLVED}={self.settings} {program}"
        # again after a failure, as supervisord does: a starved machine lets a process look hung
        text = self.run(f"(cd {ROOT}; until {once} || [ -e /run/enough ]; do sleep 1; done) >>{log} 2>&1 & echo pid=$!")
        return int(text.rpartition("pid=")[2])

    def stop(self, service: int) -> None:
        """End what `start` has started."""
        self.run(f"touch /run/enough; pkill -TERM -P {service}; wait {service}; rm /run/enough", check=False)

    def report(self, name: str) -> dict[str, Any]:
        """What a service reports of itself."""
        text = self.run(f"cat '/run/vd/stats/{name}.json'", check=False)
        try:
            return dict(json.loads(text))
        except ValueError:
            return {}

    def report_until(
        self, name: str, wanted: Callable[[dict[str, Any]], Any], deadline_s: float = 240
    ) -> dict[str, Any]:
        """The report of a service once it is as wanted."""

        def parsed(text: str) -> bool:
            try:
                return bool(wanted(json.loads(text)))
            except ValueError:
                return False

        return dict(json.loads(self.until(f"cat '/run/vd/stats/{name}.json'", parsed, deadline_s)))

    def screen(self) -> NDArray[np.uint8]:
        """What a display would show, BGR."""
        path = self._directory / "screen.ppm"
        with socket.socket(socket.AF_UNIX) as line, contextlib.ExitStack() as stack:
            line.connect(f"{self._directory}/qmp")
            talk = stack.enter_context(line.makefile("rw"))
            talk.readline()
            for order in (
                {"execute": "qmp_capabilities"},
                {"execute": "screendump", "arguments": {"filename": str(path)}},
            ):
                talk.write(json.dumps(order) + "\n")
                talk.flush()
                while "return" not in (answer := json.loads(talk.readline())):
                    assert "error" not in answer, answer
        head, data = re.match(rb"P6\n(\d+) (\d+)\n255\n", path.read_bytes()), path.read_bytes()
        assert head
        width, height = int(head[1]), int(head[2])
        return np.frombuffer(data, np.uint8, offset=head.end()).reshape(height, width, 3)[..., ::-1]

    def close(self) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait()
        self._ear.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _line(self, end: float) -> str:
        """The next line; `Empty` at the end of the time, or of the machine."""
        line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
        if line is None:
            raise Empty
        return line

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)  # it has ended


@pytest.fixture(scope="session")
def kernel() -> Path:
    """Folder with a kernel and an initramfs of Debian."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: sudo apt install qemu-system-x86 busybox-static cpio kmod")
    path = cache_dir() / "vm"
    subprocess.run(["sh", str(BUILD), str(path)], check=True)
    for package in ("common", "services"):  # the guest cannot write, and compiles slowly
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(ROOT / package)], check=True)
    return path


@pytest.fixture(scope="session")
def accelerator(kernel: Path) -> tuple[str, ...]:
    """KVM where Debian's kernel boots under it (not under every hypervisor that has /dev/kvm), else emulation."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATED
    try:
        Machine(kernel, accelerator=NATIVE, boot_s=PROBE_S).close()
    except AssertionError:
        return EMULATED
    return NATIVE


@pytest.fixture(scope="module")
def boot(kernel: Path, accelerator: tuple[str, ...]) -> Iterator[Callable[..., Machine]]:
    """Starts machines: `boot("virtio-gpu-pci,xres=1280,yres=720")`; they run until the module's end."""
    machines: dict[tuple[str, ...], Machine] = {}

    def begin(*devices: str) -> Machine:
        if devices not in machines:
            for machine in machines.values():
                machine.close()
            machines.clear()
            machines[devices] = Machine(kernel, *devices, accelerator=accelerator)
        return machines[devices]

    yield begin
    for machine in machines.values():
        machine.close()
