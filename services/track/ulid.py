"""Ids of events: 48 bits of wall time in milliseconds and 80 random ones, as 26 letters that sort by time.

Source:
    The ULID specification, https://github.com/ulid/spec
"""

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
LENGTH = 26


def new_ulid(time_ns: int) -> str:
    """A new id; `time_ns` is wall time."""
    value = ((time_ns // 1_000_000) % (1 << 48)) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(LENGTH)))
