"""Bytes of a message: one msgpack array, version first, fields of exact types; arrays as their little-endian bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgpack import Packer, unpackb
from numpy.typing import NDArray

from common.errors import WireError

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20  # 1 MiB: 5,000 faces with landmarks are 400 kB
MAX_ENTRIES = 4096  # rows of a list; a real frame has below 1,000
PACKER_BYTES = 1024  # at first, and it grows; msgpack's own 256 KiB are fetched from the kernel for each message

F4, I4, I8, U1 = np.dtype("<f4"), np.dtype("<i4"), np.dtype("<i8"), np.dtype("u1")  # what arrays travel as


def pack_fields(*fields: Any) -> bytes:
    """Bytes of a message with these fields."""
    return Packer(buf_size=PACKER_BYTES).pack((VERSION, *fields))  # type: ignore[no-any-return]


def unpack_fields(data: bytes, types: tuple[type, ...], name: str) -> list[Any]:
    """Fields of a message after its version, each of exactly the expected type.

    Raises:
        WireError: The bytes are not such a message.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{name}: {len(data)} bytes, {MAX_MESSAGE_BYTES} at most")
    try:
        fields = unpackb(data, max_array_len=MAX_ENTRIES)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError(f"{name}: not a msgpack message ({type(error).__name__})") from error
    if type(fields) is not list or tuple(map(type, fields)) != (int, *types) or fields[0] != VERSION:
        raise _misfit(fields, name)
    del fields[0]
    return fields


def _misfit(fields: Any, name: str) -> WireError:
    """What is wrong with a message."""
    if type(fields) is not list or not fields:
        return WireError(f"{name}: not an array")
    if fields[0] != VERSION or type(fields[0]) is not int:
        return WireError(f"{name}: version {fields[0]!r}, this node speaks {VERSION}")
    return WireError(f"{name}: fields {[type(field).__name__ for field in fields[1:]]} do not fit")


def array_bytes(array: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """Bytes of an array as it travels."""
    return (array if array.dtype == dtype else array.astype(dtype)).tobytes()


def unpack_array(raw: bytes, columns: int, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Array of shape (N, columns), or (N,) for one column, from its bytes; it may not be written to."""
    count, rest = divmod(len(raw), dtype.itemsize * columns)
    if rest:
        raise WireError(f"{name}: {len(raw)} bytes are no multiple of {dtype.itemsize * columns}")
    return np.ndarray((count, columns) if columns > 1 else (count,), dtype, raw)


def check_lengths(count: int, name: str, *arrays: NDArray[Any]) -> None:
    """Raise WireError unless every array has `count` rows."""
    for array in arrays:
        if len(array) != count:
            raise WireError(f"{name}: arrays of {[count, *map(len, arrays)]} rows")


def check_texts(values: list[Any], name: str) -> tuple[str, ...]:
    """The values, all texts; raises WireError otherwise."""
    if any(type(value) is not str for value in values):
        raise WireError(f"{name}: a text expected")
    return tuple(values)
