"""The frame ring between processes: a reader that is killed, a writer that laps a reader."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from common.bus import Bus
from common.pixels import Geometry, PixelFormat
from common.ring.writer import RingWriter
from common.settings import Settings
from common.wire import FrameHandle

SMALL = Geometry(64, 48, PixelFormat.I420)
HOLDER = """
import sys
from common.config import check
from common.ring.reader import RingReader
from common.wire import FrameHandle
settings = check({"cameras": {"door": {"source": "x:"}}, "runtime_dir": sys.argv[1]})
lease = RingReader(settings, "door").lease(FrameHandle.unpack(bytes.fromhex(sys.argv[2])))
print("held", flush=True)
sys.stdin.read()
"""


def test_slot_of_a_killed_reader_is_free_at_once(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL, slots=3) as writer:
        slot = writer.acquire()
        assert slot is not None
        handle = writer.publish(slot, 1, 1, 0)
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, settings.runtime_dir, handle.pack().hex()],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            assert writer.leased() == [handle.slot]
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert writer.leased() == []


READER = """
import sys
from common.bus import Bus
from common.config import check
from common.errors import FrameGone
from common.ring.reader import RingReader
settings = check({"cameras": {"door": {"source": "x:"}}, "runtime_dir": sys.argv[1]})
bus = Bus(settings.runtime_dir)
frames, reader = bus.subscriber("frames", ["door"]), RingReader(settings, "door")
print("ready", flush=True)
read = gone = torn = 0
while bus.wait(3000, frames):
    for handle in frames.drain():
        try:
            with reader.lease(handle) as lease:
                copy = lease.pixels.copy()
        except FrameGone:
            gone += 1
            continue
        read += 1
        torn += copy.min() != copy.max() or copy[0] != handle.seq % 251
    if handle.seq < 0:
        break
print(read, gone, torn, flush=True)
"""


def test_lapping_writer_never_waits_and_no_torn_frame_is_accepted(settings: Settings) -> None:
    with (
        RingWriter(settings, "door", Geometry(640, 480, PixelFormat.BGR), slots=3) as writer,
        Bus(settings.runtime_dir) as bus,
        subprocess.Popen(
            [sys.executable, "-c", READER, settings.runtime_dir], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as child,
    ):
        sender = bus.publisher("frames", "door")
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        skipped = 0
        end = time.monotonic() + 1.5
        seq = 0
        while time.monotonic() < end:
            seq += 1
            slot = writer.acquire()
            if slot is None:
                skipped += 1
                continue
            slot.pixels[:] = seq % 251
            sender.send(writer.publish(slot, seq, seq, 0))
        while child.poll() is None and time.monotonic() < end + 30:
            sender.send(FrameHandle("door", writer.epoch, 0, 0, -1, 0, 0, 0))
            time.sleep(0.05)  # the pace of the end mark
        read, _gone, torn = map(int, child.stdout.read().split())
        assert read > 10
        assert torn == 0
        assert seq - skipped > read, "the writer laps the reader"
