"""Addresses as people may see them: without user, password and whatever names itself one."""

from __future__ import annotations

import re

MASK = "********"

_USER = re.compile(r"""(?<=://)[^\s'"]*@""")
_NAMES = r"(?:user(?:name)?|login|account|pass(?:word|wd|phrase)?|pwd|psw|token|secret|auth|(?:api_?)?key)"
_NAMED = re.compile(  # some cameras write user=a_password=b_channel=1
    rf"""((?<![a-z]){_NAMES}=)[^&;\s'"]*?(?=[&;\s'"]|_[a-z]+=|\Z)""", re.IGNORECASE
)
_SECRET = re.compile(r"(?:.*[_-])?(?:password|passwd|pwd|token|secret|api[_-]?key)", re.IGNORECASE)


def shown(text: str, user: str = "") -> str:
    """A text with the secrets in its addresses hidden.

    Args:
        text: An address, or words with some in them.
        user: What stands in place of `user:password@`.
    """
    return _NAMED.sub(rf"\g<1>{MASK}", _USER.sub(user, text))


def names_secret(key: str) -> bool:
    """True when the value of a setting or option with this name is not for everybody."""
    return _SECRET.fullmatch(key) is not None
