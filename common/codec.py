"""Bytes of a message: one msgpack array, version first, fields of exact types; arrays as their little-endian bytes."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from common.errors import WireError

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20  # 1 MiB: 5,000 faces with landmarks are 400 kB
MAX_ENTRIES = 4096  # rows of a list; a real frame has below 1,000


def pack_fields(*fields: Any) -> bytes:
    """Bytes of a message with these fields."""
    return msgpack.packb((VERSION, *fields))  # type: ignore[no-any-return]


def unpack_fields(data: bytes, types: tuple[type, ...], name: str) -> list[Any]:
    """Fields of a message after its version, each of exactly the expected type.

    Raises:
        WireError: The bytes are not such a message.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{name}: {len(data)} bytes, {MAX_MESSAGE_BYTES} at most")
    try:
        fields = msgpack.unpackb(data, max_array_len=MAX_ENTRIES)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError(f"{name}: not a msgpack message ({type(error).__name__})") from error
    if type(fields) is not list or not fields:
        raise WireError(f"{name}: not an array")
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise WireError(f"{name}: version {fields[0]!r}, this node speaks {VERSION}")
    del fields[0]
    if tuple(map(type, fields)) != types:
        raise WireError(f"{name}: fields {[type(field).__name__ for field in fields]} do not fit")
    return fields


def unpack_array(raw: bytes, columns: int, dtype: str, name: str) -> NDArray[Any]:
    """Array of shape (N, columns), or (N,) for one column, from its bytes."""
    item = np.dtype(dtype).itemsize * columns
    if len(raw) % item:
        raise WireError(f"{name}: {len(raw)} bytes are no multiple of {item}")
    array = np.frombuffer(raw, dtype=dtype)
    return array.reshape(-1, columns) if columns > 1 else array


def check_lengths(count: int, name: str, *arrays: NDArray[Any]) -> None:
    """Raise WireError unless every array has `count` rows."""
    if any(len(array) != count for array in arrays):
        raise WireError(f"{name}: arrays of {[count, *map(len, arrays)]} rows")


def check_texts(values: list[Any], name: str) -> tuple[str, ...]:
    """The values, all texts; raises WireError otherwise."""
    if any(type(value) is not str for value in values):
        raise WireError(f"{name}: a text expected")
    return tuple(values)
