"""One XML-RPC call over a unix socket, as supervisord takes it."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from common.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the other side did not do it: its number for the fault, and its words."""

    code: int
    text: str


def call(path: Path, timeout_s: float, method: str, arguments: tuple[Any, ...]) -> tuple[Refusal | None, Any]:
    """Call a method; gives a refusal and None, or None and the answer.

    Raises:
        DeviceError: Nobody answers.
    """
    try:
        with xmlrpc.client.ServerProxy("http://node", transport=_UnixTransport(path, timeout_s)) as proxy:
            return None, getattr(proxy, method)(*arguments)
    except xmlrpc.client.Fault as fault:
        return Refusal(fault.faultCode, fault.faultString), None
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        raise DeviceError(f"no supervisord answers at {path}: {error}") from error


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, one connection a call."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:  # noqa: ARG002
        """Send one call and parse its answer."""
        connection = http.client.HTTPConnection("localhost", timeout=self._timeout_s)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(self._timeout_s)
            connection.sock.connect(str(self._path))
            connection.request("POST", "/RPC2", request_body, {"Content-Type": "text/xml"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise xmlrpc.client.ProtocolError(host, response.status, response.reason, {})
            parser, unmarshaller = self.getparser()
            parser.feed(response.read())
            parser.close()
            return unmarshaller.close()
        finally:
            connection.close()
