"""Basic and digest authentication (RFC 7617, RFC 2617), for both ends of a connection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

REALM = "vedette"
FIELD = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))')


class Challenge:
    """What a server asks of one connection: a nonce of its own makes an overheard answer worthless elsewhere."""

    def __init__(self, password: str) -> None:
        self._password, self._nonce = password, secrets.token_hex(16)

    @property
    def header(self) -> str:
        """Value of WWW-Authenticate."""
        return f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=MD5, stale=FALSE'

    def accepts(self, authorization: str, method: str) -> bool:
        """True for the right password in any of both forms, with any user name."""
        kind, _, rest = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(rest, validate=True).partition(b":")[2]
            except ValueError:  # no Base64, or bytes beyond ASCII
                return False
            return hmac.compare_digest(given, self._password.encode())
        fields = _fields(rest)
        if kind.lower() != "digest" or not hmac.compare_digest(fields.get("nonce", "").encode(), self._nonce.encode()):
            return False
        wanted = _digest(fields | {"realm": REALM}, fields.get("username", ""), self._password, method)
        return hmac.compare_digest(fields.get("response", "").encode(), wanted.encode())


def authorize(challenge: str, user: str, password: str, method: str, url: str) -> str:
    """Value of Authorization that answers a server's challenge; empty when we know no way."""
    kind, _, rest = challenge.partition(" ")
    if kind.lower() == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    fields = _fields(rest)
    if kind.lower() != "digest" or fields.get("algorithm", "MD5").upper() not in HASHES:
        return ""
    given: dict[str, str] = {key: fields[key] for key in ("realm", "nonce", "opaque", "algorithm") if key in fields}
    given |= {"username": user, "uri": url}
    if "auth" in fields.get("qop", "").split(","):
        given |= {"qop": "auth", "nc": "00000001", "cnonce": secrets.token_hex(8)}
    given["response"] = _digest(given, user, password, method)
    bare = {"nc", "qop", "algorithm"}
    parts = (f"{key}={value}" if key in bare else f'{key}="{value}"' for key, value in given.items())
    return "Digest " + ", ".join(parts)


HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def _digest(fields: Mapping[str, str], user: str, password: str, method: str) -> str:
    name = HASHES.get(fields.get("algorithm", "MD5").upper(), "md5")

    def h(text: str) -> str:
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()  # the standard has no better one

    secret = h(f"{user}:{fields.get('realm', '')}:{password}")
    what = h(f"{method}:{fields.get('uri', '')}")
    nonce = fields.get("nonce", "")
    if fields.get("qop"):
        return h(f"{secret}:{nonce}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}:{what}")
    return h(f"{secret}:{nonce}:{what}")


def _fields(text: str) -> dict[str, str]:
    return {name.lower(): quoted or bare for name, quoted, bare in FIELD.findall(text)}
