"""The frame ring."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from common.errors import FrameGone, RingError
from common.pixels import Geometry, PixelFormat
from common.ring.layout import HEADER
from common.ring.reader import RingReader
from common.ring.writer import RingWriter
from common.settings import Settings
from common.shm import SHM, segments
from common.wire import FrameHandle

SMALL = Geometry(64, 48, PixelFormat.I420)


def publish(writer: RingWriter, seq: int, value: int = 0) -> FrameHandle:
    slot = writer.acquire()
    assert slot is not None
    slot.pixels[:] = value
    return writer.publish(slot, seq, seq * 1_000_000, 0)


def test_reader_sees_the_pixels_in_their_planes(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        slot = writer.acquire()
        assert slot is not None
        for value, plane in enumerate(slot.planes, 1):
            plane[:] = value
        handle = writer.publish(slot, 1, 5, 7)
        with RingReader(settings, "door").lease(handle) as lease:
            assert lease.geometry == SMALL
            assert [(plane.shape, plane.min(), plane.max()) for plane in lease.planes] == [
                ((48, 64), 1, 1),
                ((24, 32), 2, 2),
                ((24, 32), 3, 3),
            ]


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_planes_cover_every_byte_of_each_format(pixel_format: PixelFormat) -> None:
    geometry = Geometry(32, 16, pixel_format)
    pixels = np.zeros(geometry.frame_bytes, np.uint8)
    for plane in geometry.planes(pixels):
        np.add(plane, 1, out=plane)
    assert pixels.min() == pixels.max() == 1


def test_reader_cannot_write(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        handle = publish(writer, 1)
        with RingReader(settings, "door").lease(handle) as lease, pytest.raises(ValueError, match="read-only"):
            lease.pixels[0] = 1


def test_writer_skips_leased_slots_and_never_the_newest(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL, slots=4) as writer:
        reader = RingReader(settings, "door")
        held = publish(writer, 1, 1)
        lease = reader.lease(held)
        assert writer.leased() == [held.slot]
        newest = held
        for seq in range(2, 20):
            handle = publish(writer, seq, seq)
            assert handle.slot not in {held.slot, newest.slot}
            newest = handle
        assert set(lease.pixels) == {1}
        lease.release()
        assert writer.leased() == []


def test_acquire_gives_none_when_all_is_leased_and_recovers(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL, slots=3) as writer:
        reader = RingReader(settings, "door")
        leases = [reader.lease(publish(writer, seq)) for seq in range(3)]
        assert writer.acquire() is None
        leases[0].release()
        slot = writer.acquire()
        assert slot is not None
        assert slot.index == leases[0].handle.slot


def test_two_leases_of_one_slot_count(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        reader = RingReader(settings, "door")
        handle = publish(writer, 1)
        first, second = reader.lease(handle), reader.lease(handle)
        first.release()
        first.release()
        assert writer.leased() == [handle.slot]
        second.release()
        assert writer.leased() == []


def test_overwritten_frame_is_gone(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL, slots=3) as writer:
        reader = RingReader(settings, "door")
        old = publish(writer, 1)
        for seq in range(2, 5):
            publish(writer, seq)
        with pytest.raises(FrameGone, match="overwritten"):
            reader.lease(old)
        assert writer.leased() == []


def test_frame_that_is_being_written_is_gone(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL, slots=2) as writer:
        reader = RingReader(settings, "door")
        old = publish(writer, 1)
        publish(writer, 2)
        slot = writer.acquire()
        assert slot is not None
        assert slot.index == old.slot
        with pytest.raises(FrameGone, match="overwritten"):
            reader.lease(old)


def test_reader_follows_a_new_epoch_and_old_frames_are_gone(settings: Settings) -> None:
    reader = RingReader(settings, "door")
    with RingWriter(settings, "door", SMALL) as writer:
        old = publish(writer, 1, 1)
        kept = reader.lease(old)
    with RingWriter(settings, "door", Geometry(32, 32, PixelFormat.BGR)) as writer:
        handle = publish(writer, 1, 2)
        with reader.lease(handle) as lease:
            assert lease.geometry.width == 32
            assert set(lease.pixels) == {2}
        with pytest.raises(FrameGone):
            reader.lease(old)
        assert set(kept.pixels) == {1}, "a held frame outlives its ring"
        kept.release()


def test_stale_epochs_are_removed_and_others_are_not(settings: Settings) -> None:
    writer = RingWriter(settings, "door", SMALL)
    os.close(writer._guard)  # as if it had been killed: the lock is free, the file stays
    with RingWriter(settings, "yard", SMALL) as other, RingWriter(settings, "door", SMALL) as again:
        assert segments(settings.runtime_dir, "door") == [again.path]
        assert other.path.exists()
    assert segments(settings.runtime_dir) == []


def test_second_live_writer_is_refused_by_name_of_the_first(settings: Settings) -> None:
    with (
        RingWriter(settings, "door", SMALL),
        pytest.raises(RingError, match=f"door is captured already by process {os.getpid()}"),
    ):
        RingWriter(settings, "door", SMALL)


def test_too_small_shared_memory_says_needed_and_available_bytes(settings: Settings) -> None:
    huge = Geometry(32000, 32000, PixelFormat.BGR)
    with pytest.raises(RingError, match=r"needs \d+ bytes, \d+ are available"):
        RingWriter(settings, "door", huge, slots=50)
    assert segments(settings.runtime_dir) == []


@pytest.mark.parametrize(
    "damage", [b"", b"x" * 10, b"x" * 8192, HEADER.pack(b"VEDRING\0", 1, 4096, 7, 64, 48, 99, 4, 8192, 4608)]
)
def test_foreign_file_is_refused(settings: Settings, damage: bytes) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        handle = publish(writer, 1)
        alien = SHM / f"{writer.path.name[:-16]}{7:016x}"
        alien.write_bytes(damage)
        other = FrameHandle("door", 7, 0, 1, 1, 1, 1, 1)
        with pytest.raises(RingError):
            RingReader(settings, "door").lease(other)
        alien.unlink()
        with RingReader(settings, "door").lease(handle):
            pass


def test_header_that_promises_more_than_the_file_holds_is_refused(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        handle = publish(writer, 1)
        with writer.path.open("r+b") as file:
            file.seek(HEADER.size - 16)
            file.write((1 << 40).to_bytes(8, sys.byteorder))
        with pytest.raises(RingError, match="damaged"):
            RingReader(settings, "door").lease(handle)


def test_file_is_private_and_slots_begin_on_pages(settings: Settings) -> None:
    with RingWriter(settings, "door", SMALL) as writer:
        assert writer.path.stat().st_mode & 0o777 == 0o600
        addresses = writer.addresses()
        assert len(set(addresses)) == writer.slots
        assert all(address % os.sysconf("SC_PAGESIZE") == 0 for address in addresses)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_no_size_or_offset_assumes_a_page_of_4_kib(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("mmap.PAGESIZE", page)
    geometry = Geometry(66, 50, PixelFormat.NV12)
    with RingWriter.create(settings, "door", geometry) as writer:
        handles = []
        for number in range(writer.slots - 1):
            slot = writer.acquire()
            assert slot is not None
            start = writer.addresses()[slot.index] - writer.addresses()[0]
            assert start == slot.index * writer.stride
            assert writer.stride % page == 0
            slot.pixels[:] = number
            handles.append(writer.publish(slot, seq=number + 1, captured_ns=1, media_ns=0))
        assert writer.path.stat().st_size % page == 0
        assert (writer.path.stat().st_size - writer.slots * writer.stride) % page == 0
        reader = RingReader(settings, "door")
        for number, handle in enumerate(handles):
            with reader.lease(handle) as lease:
                assert (lease.pixels == number).all()
        reader.close()
