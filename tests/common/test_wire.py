"""The messages: round trip, bytes that never change, foreign bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codec import VERSION
from common.errors import WireError
from common.wire import (
    CONFIRMED,
    LOST,
    TOPICS,
    CameraControl,
    CameraState,
    Claim,
    Command,
    ControlState,
    DetectionResult,
    EventNotice,
    FrameHandle,
    TrackFrame,
)

GOLDEN = Path(__file__).parents[1] / "data" / "wire.json"
HANDLE = FrameHandle("door", 2**62 + 3, 4, 77, 1234, 10**12, 41_000_000, 10**12 + 500, 1)
BOXES = np.array([[1, 2, 30.5, 40.25], [5, 6, 7, 8]], "<f4")
LANDMARKS = np.arange(20, dtype="<f4").reshape(2, 10)
MESSAGES: dict[str, Any] = {
    "frames": HANDLE,
    "camera": CameraState("door", "offline", "no such file: café.mp4", 1280, 720, 29.97, 30.0, 99, 10**12),
    "results": DetectionResult(
        HANDLE, Claim(2**61, 2**20 - 1, 3, -1, 0, 10**12 + 9), 1280, 720, 10**12 + 10, BOXES,
        np.array([0.5, 0.75], "<f4"), LANDMARKS, 76, np.array([1, 0, -3.5, 0, 1, 2], "<f4"),
        np.array([1], "<i4"), np.array([[0.25, -0.5, 1]], "<f4"),
    ),
    "tracks": TrackFrame(
        HANDLE, 1280, 720, 1, 2, 3, ids=np.array([7, 9], "<i8"), boxes=BOXES, velocities=BOXES * 0,
        scores=np.array([0.5, 0.75], "<f4"), states=np.array([CONFIRMED, LOST], "u1"), shown=np.array([1, 0], "u1"),
        detection_index=np.array([0, -1], "<i4"), hits=np.array([5, 6], "<i4"), ages_s=np.array([0.1, 2], "<f4"),
        event_ids=("01J0000000000000000000TEST", ""), detections=BOXES, landmarks=LANDMARKS,
    ),
    "events": EventNotice(12, 10**12),
    "control": ControlState((CameraControl("door", True, 5.0, False), CameraControl("yard", False, 0.0, True)), 5),
    "commands": Command("door", "privacy", "ON"),
}  # fmt: skip


def plain(message: Any) -> Any:
    """A message as nested plain values, for comparison."""
    if isinstance(message, np.ndarray):
        return message.tolist()
    if hasattr(message, "__dataclass_fields__"):
        return {name: plain(getattr(message, name)) for name in message.__dataclass_fields__}
    return [plain(item) for item in message] if isinstance(message, tuple) else message


def test_every_topic_has_a_message_here() -> None:
    assert set(MESSAGES) == set(TOPICS)
    assert all(type(MESSAGES[name]) is topic.message for name, topic in TOPICS.items())


@pytest.mark.parametrize("topic", TOPICS)
def test_message_comes_back_as_it_went(topic: str) -> None:
    message = MESSAGES[topic]
    assert plain(type(message).unpack(message.pack())) == plain(message)


@pytest.mark.parametrize("topic", TOPICS)
def test_bytes_are_those_that_other_versions_know(topic: str) -> None:
    assert MESSAGES[topic].pack().hex() == json.loads(GOLDEN.read_text())[topic]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_truncation_is_refused(topic: str) -> None:
    data = MESSAGES[topic].pack()
    for length in range(len(data)):
        with pytest.raises(WireError):
            TOPICS[topic].message.unpack(data[:length])


@pytest.mark.parametrize("topic", TOPICS)
def test_other_versions_types_and_lengths_are_refused(topic: str) -> None:
    fields = msgpack.unpackb(MESSAGES[topic].pack())
    unpack = TOPICS[topic].message.unpack
    for bad in (
        [VERSION + 1, *fields[1:]],
        [True, *fields[1:]],
        fields[:-1],
        [*fields, 1],
        [VERSION, None, *fields[2:]],
        [*fields[:-1], {}],
        {},
        [],
        5,
    ):
        with pytest.raises(WireError):
            unpack(msgpack.packb(bad))
    with pytest.raises(WireError):
        unpack(b"\xdd\xff\xff\xff\xff" + bytes(2**20))


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(topic: str, data: bytes) -> None:
    with pytest.raises(WireError):
        TOPICS[topic].message.unpack(data)


nested = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=90),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=40,
)


@given(fields=st.lists(nested, max_size=12))
def test_well_formed_foreign_arrays_are_parsed_or_refused(fields: list[Any]) -> None:
    data = msgpack.packb([VERSION, *fields])
    for topic in TOPICS.values():  # making up the arrays costs far more than reading them
        try:
            parsed = topic.message.unpack(data)
        except WireError:
            continue
        assert isinstance(parsed, topic.message), topic.name


def test_tables_that_do_not_agree_are_refused() -> None:
    fields = msgpack.unpackb(MESSAGES["tracks"].pack())
    for change in ((7, ["only one"]), (8, [*fields[8][:5], b"", *fields[8][6:]]), (8, [b"", *fields[8][1:]])):
        bad = list(fields)
        bad[change[0]] = change[1]
        with pytest.raises(WireError):
            TrackFrame.unpack(msgpack.packb(bad))


@pytest.mark.parametrize(
    ("looked", "vectors"),
    [([2], [[1.0]]), ([-1], [[1.0]]), ([0, 1, 0], [[1.0]] * 3), ([], [[1.0]]), ([0, 1], [[1.0, 2.0, 3.0]])],
)
def test_looks_at_faces_that_are_not_there_are_refused(looked: list[int], vectors: list[list[float]]) -> None:
    wrong = MESSAGES["results"]._replace(looked=np.array(looked, "<i4"), vectors=np.array(vectors, np.float32))
    with pytest.raises(WireError, match="results: "):
        DetectionResult.unpack(wrong.pack())
