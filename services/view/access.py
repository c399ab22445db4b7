"""Who may look: the password, sessions, and a brake on guessing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict
from pathlib import Path

from common.errors import ConfigError
from common.settings import ViewSettings

SESSION_S = 30 * 86400
FREE_TRIES = 5
LONGEST_WAIT_S = 300.0
REMEMBERED_PEERS = 1024
KEY_FILE = "view.key"


class Brake:
    """Makes those wait who guess: longer after each failure."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def failed(self, peer: str) -> None:
        """A peer did not know the password."""
        peer = _network(peer)
        count = self._failures.pop(peer, (0, 0.0))[0] + 1
        wait_s = min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT_S) if count >= FREE_TRIES else 0.0
        self._failures[peer] = (count, time.monotonic() + wait_s)
        if len(self._failures) > REMEMBERED_PEERS:
            self._failures.popitem(last=False)

    def passed(self, peer: str) -> None:
        """A peer knew it."""
        self._failures.pop(_network(peer), None)

    def wait_s(self, peer: str) -> float:
        """How long this peer has to wait before it may try again, 0 for not at all."""
        return max(0.0, self._failures.get(_network(peer), (0, 0.0))[1] - time.monotonic())


class Access:
    """Checks passwords and sessions. A session outlives a restart of the process, but not a new password."""

    def __init__(self, settings: ViewSettings, state_dir: Path) -> None:
        """Refuse settings that would show the pictures to everybody.

        Raises:
            ConfigError: The page is to be seen from other machines without a password, or the password is empty.
        """
        if settings.password is not None and not settings.password:
            raise ConfigError("view.password: it is empty; choose one, or leave the key out")
        if settings.password is None and not is_loopback(settings.host):
            raise ConfigError(
                f"view.host={settings.host!r}: seen from other machines, the page needs a password; add the line\n"
                f'  view: {{host: "{settings.host}", password_file: view-password.txt}}\n'
                f"or keep view.host: 127.0.0.1"
            )
        self._password = settings.password
        self._brake = Brake()
        self._key = b""
        if self._password is not None:
            self._key = hashlib.sha256(_secret(state_dir / KEY_FILE) + self._password.encode()).digest()

    @property
    def open(self) -> bool:
        """True when no password is asked."""
        return self._password is None

    def new_session(self) -> str:
        """A cookie value that says: this one knew the password."""
        body = f"{int(time.time()) + SESSION_S}.{secrets.token_hex(8)}"
        return f"{body}.{self._sign(body)}"

    def knows_session(self, cookie: str) -> bool:
        """True for a cookie value that was given out and is not too old."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return False
        return int(body.partition(".")[0]) > time.time()

    def knows_header(self, authorization: str, peer: str) -> bool:
        """True for an Authorization header (Basic with any user name, or Bearer) with the password."""
        kind, _, value = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:  # no Base64, or bytes beyond ASCII
                return False
        elif kind.lower() != "bearer":
            return False
        return self.try_password(value, peer)

    def try_password(self, given: str, peer: str) -> bool:
        """True for the right password, unless this peer has to wait."""
        if self._password is None or self.wait_s(peer):
            return False
        if hmac.compare_digest(given.encode(), self._password.encode()):
            self._brake.passed(peer)
            return True
        self._brake.failed(peer)
        return False

    def wait_s(self, peer: str) -> float:
        """How long this peer has to wait before it may try again, 0 for not at all."""
        return self._brake.wait_s(peer)

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), "sha256").hexdigest()


def is_loopback(host: str) -> bool:
    """True when only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _network(peer: str) -> str:
    """Whom a guesser can be told by: the address, or for IPv6 its network of 64 bits."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    mapped = getattr(address, "ipv4_mapped", None)  # as it comes to a socket that takes both
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _secret(path: Path) -> bytes:
    """Random bytes kept in a file of mode 0600, made at the first use."""
    try:
        key = path.read_bytes()
        if len(key) == 32:
            return key
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    key = secrets.token_bytes(32)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(key)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return key
