"""A camera whose driver writes into the ring itself, against a driver played in `conftest.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import FrameGone
from common.ring.reader import RingReader
from common.ring.writer import RingWriter
from common.stats import Stats
from services.capture import v4l2_ioctl as v4l2
from services.capture.v4l2 import V4l2Source


def begun(opened: Any, name: str = "YUYV", **traits: Any) -> tuple[V4l2Source, Any, Stats, bool]:
    """A source on a driver that writes into other people's memory, and whether it does."""
    source, driver, stats = opened({name: (0, 30)})
    driver.takes_pointers = True
    for key, value in traits.items():
        setattr(driver, key, value)
    driver.ring = RingWriter(driver.settings, "door", source.open(), 3 + source.spare_slots)
    return source, driver, stats, source.begin(driver.ring)


@pytest.mark.parametrize("name", ["YUYV", "NV12"])
def test_the_driver_writes_into_the_ring_and_nothing_is_copied(opened: Any, name: str) -> None:
    source, driver, stats, direct = begun(opened, name)
    assert direct and stats.report()["gauges"]["direct"] == 1
    reader = RingReader(driver.settings, "door")
    assert set(driver.pointers.values()) <= set(driver.ring.addresses())
    for number in range(20):
        picture = np.random.default_rng(number).integers(0, 256, driver.ring.geometry.frame_bytes, np.uint8)
        driver.shoot(picture.tobytes(), seconds=number + 1)
        assert source.wait()
        slot, stamp = source.take()
        handle = driver.ring.publish(slot, number + 1, stamp.captured_ns, stamp.media_ns)
        with reader.lease(handle) as lease:
            assert np.array_equal(lease.pixels, picture)
        assert (stamp.captured_ns, stamp.media_ns) == ((int(driver.start_s) + number + 1) * 10**9, number * 10**9)
    reader.close()
    source.close()


def test_a_slot_that_the_driver_has_cannot_be_leased_and_a_leased_one_is_not_lent(opened: Any) -> None:
    source, driver, stats, _ = begun(opened)
    reader, handles, leases = RingReader(driver.settings, "door"), [], []
    data = bytes(driver.ring.geometry.frame_bytes)
    while driver.queued:  # somebody keeps every frame
        driver.shoot(data)
        assert source.wait()
        handles.append(driver.ring.publish(source.take()[0], len(handles) + 1, 1, 0))
        leases.append(reader.lease(handles[-1]))
        source.wait()
    assert len(leases) == driver.ring.slots
    assert not source.wait()
    assert stats.report()["totals"]["starved"] >= 1
    for _ in range(5):
        driver.shoot(data)  # nobody can have these
    leases[0].release()
    assert not source.wait() and list(driver.queued) == [handles[0].slot]
    with pytest.raises(FrameGone):
        reader.lease(handles[0])
    driver.shoot(data)
    assert source.wait()
    assert stats.report()["drops"] == {"missed": 5}
    for lease in leases:
        lease.release()
    reader.close()
    source.close()


def test_damaged_and_late_frames_go_back_to_the_driver_in_the_same_slot(opened: Any) -> None:
    source, driver, stats, _ = begun(opened)
    lent, data = set(driver.queued), bytes(driver.ring.geometry.frame_bytes)
    driver.shoot(data, flags=v4l2.FLAG_ERROR)
    driver.shoot(data)
    driver.shoot(data, seconds=9)
    assert source.wait()
    assert stats.report()["drops"] == {"damaged": 1, "late": 1}
    slot, stamp = source.take()
    assert stamp.captured_ns == (int(driver.start_s) + 9) * 10**9
    assert {slot.index, *driver.queued} == lent
    source.close()


@pytest.mark.parametrize("traits", [{"takes_pointers": False}, {"most_buffers": 4}, {"bad_address": True}])
def test_a_driver_that_cannot_is_told_and_frames_are_copied(opened: Any, traits: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    source, driver, stats, direct = begun(opened, **traits)
    assert not direct and stats.report()["gauges"]["direct"] == 0
    assert "frames are copied into the ring reason=" in caplog.text
    driver.shoot(bytes([5]) * driver.ring.geometry.frame_bytes)
    assert source.wait()
    for _ in range(driver.ring.slots - 1):  # no slot is held by a driver that gave up
        slot = driver.ring.acquire()
        assert slot is not None
    assert source.read(slot.planes) is not None and (slot.pixels == 5).all()
    source.close()
