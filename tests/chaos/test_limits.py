"""No memory, no descriptors: each process of a running node is cut short in turn, and is well again by itself."""

from __future__ import annotations

import http.client
import os
import resource
import signal
from pathlib import Path

import pytest

from tools.bench.patient import CAMERA, leftovers, patient
from tools.bench.waiting import until

pytestmark = [pytest.mark.usefixtures("fetched"), pytest.mark.slow, pytest.mark.timeout(600)]


def virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def look_at_the_page(port: int) -> None:
    for path in ("/", f"/snapshot/{CAMERA}.jpg", "/api/state", "/metrics"):
        try:
            page = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            page.request("GET", path)
            page.getresponse().read()
            page.close()
        except (OSError, http.client.HTTPException):
            continue


@pytest.mark.parametrize("what", ["memory", "descriptors"])
def test_a_process_that_gets_no_more_is_well_again_and_nothing_is_lost(what: str) -> None:
    with patient() as one:
        for name, pid in one.pids().items():
            if what == "memory":
                hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
                resource.prlimit(pid, resource.RLIMIT_AS, (virtual_bytes(pid) + 100_000, hard))
            else:
                hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid), hard))
            look_at_the_page(one.settings.view.port)
            capture = one.pids().get(f"capture:{CAMERA}")
            if capture and name != f"capture:{CAMERA}":
                os.kill(capture, signal.SIGKILL)  # a new ring: everyone has to open and map it
            count = len(one.findings.frames)
            until(lambda: len(one.pids()) == len(one.names()), what="every process")
            if one.pids().get(name) == pid:  # it came through; now it gets what it asks for again
                limit = resource.RLIMIT_AS if what == "memory" else resource.RLIMIT_NOFILE
                resource.prlimit(pid, limit, (hard, hard))
            until(lambda count=count: len(one.findings.frames) > count + 10, what=f"frames after {name}")  # type: ignore[misc]
            until(lambda: len(one.findings.frames[-1][1]) == 4, what=f"faces after {name}")
        one.calm()
        assert one.complaints() == []
    assert leftovers(one.settings) == []
