"""supervisord where nothing can be written any more."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tools.supervisor import launch

DEADLINE_S = 60
CONF = """
[supervisord]
nodaemon=true
logfile=/dev/full
logfile_maxbytes=0
pidfile={work}/pid
[program:talker]
command=sh -c 'for n in $(seq 50); do echo line $n >&2; sleep 0.01; done; touch {work}/said; exec cat'
stdout_logfile=NONE
stderr_logfile=/dev/full
stderr_logfile_maxbytes=0
"""


def test_supervisord_outlives_a_disk_on_which_it_cannot_even_complain(tmp_path: Path) -> None:
    conf = tmp_path / "supervisord.conf"
    conf.write_text(CONF.format(work=tmp_path))
    command = [sys.executable, "-P", launch.__file__, "-n", "-c", str(conf)]
    with Path("/dev/full").open("wb") as full:
        child = subprocess.Popen(command, stdout=full, stderr=full)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not (tmp_path / "said").exists() and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # the pace of looking
        assert child.poll() is None
    finally:
        child.terminate()
        child.wait(DEADLINE_S)
