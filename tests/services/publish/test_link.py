"""Each way in which a broker can be away: one clear state, no secret told, and back again by itself."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SECRET = "tomato-soup-71"


def test_a_closed_port_is_told_once_and_found_again(make_broker, make_node, until) -> None:
    broker = make_broker()
    broker.kill()
    node = make_node(broker.port)
    reason = node.wait_for("waiting", "connection refused")
    assert reason == f"broker 127.0.0.1:{broker.port}: connection refused"
    broker.start()
    node.online()
    assert node.log_text.count(b"connection refused") == 1


def test_a_refused_login_is_told_in_words_without_the_password(make_broker, node_dir, make_node) -> None:
    passwords = node_dir / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "node", SECRET], check=True)
    passwords.chmod(0o644)
    node_dir.chmod(0o755)
    broker = make_broker(listener=f"allow_anonymous false\npassword_file {passwords}\n")
    node = make_node(broker.port, mqtt={"username": "node", "password": "wrong-" + SECRET})
    reason = node.wait_for("waiting", "refused")
    assert "not authorized" in reason.lower()
    assert SECRET.encode() not in node.log_text
    node.stop()
    assert node.log_text.count(b"refused: ") == 1


def test_a_password_file_logs_in(make_broker, node_dir, make_node) -> None:
    passwords, secret = node_dir / "passwords", node_dir / "secret"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "node", SECRET], check=True)
    passwords.chmod(0o644)
    node_dir.chmod(0o755)
    secret.write_text(SECRET + "\n")
    broker = make_broker(listener=f"allow_anonymous false\npassword_file {passwords}\n")
    node = make_node(broker.port, mqtt={"username": "node", "password_file": str(secret)})
    node.online()
    assert SECRET.encode() not in node.log_text
    assert SECRET not in str(node.report)


def test_a_broker_that_never_answers_is_given_up_and_tried_again(make_node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        node = make_node(silent.getsockname()[1])
        with silent.accept()[0]:
            reason = node.wait_for("waiting", "did not answer within 5 s")
            assert reason.startswith(f"broker 127.0.0.1:{node.settings.mqtt.port}: ")
            silent.accept()[0].close()


def test_a_server_that_is_no_broker_is_told(make_node) -> None:
    def talk(server: socket.socket) -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.recv(1000)
                peer.sendall(b"\x20\x05HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=talk, args=(server,), daemon=True).start()
        node = make_node(server.getsockname()[1])
        reason = node.wait_for("waiting", "broker 127")
        assert "connecting" not in node.wait_for("waiting", "the broker") or reason
        server.shutdown(socket.SHUT_RDWR)


def test_an_unknown_host_is_told(make_node, free_port) -> None:
    node = make_node(free_port, mqtt={"host": "no-such-host.invalid"})
    assert node.wait_for("waiting", "host not found").startswith(f"broker no-such-host.invalid:{free_port}: ")


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """An authority, a server, a client, an expired server, and a foreign authority; mosquitto may read them."""
    folder = Path(tempfile.mkdtemp(prefix="vd-tls-"))
    folder.chmod(0o755)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "foreign"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt",
                "-days", "30", "-subj", f"/CN=test {name}", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    (folder / "index").write_text("")
    for name, days in (("server", "30"), ("client", "30"), ("expired", "0")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.crt", "-days", days, "-extfile", "san")  # fmt: skip
    for path in folder.iterdir():
        path.chmod(0o644)
    yield folder
    shutil.rmtree(folder)


def tls_listener(certificates: Path, server: str = "server", *, client: bool = False) -> str:
    return (
        f"cafile {certificates}/ca.crt\ncertfile {certificates}/{server}.crt\nkeyfile {certificates}/{server}.key\n"
        f"require_certificate {str(client).lower()}\nallow_anonymous true\n"
    )


def test_tls_with_a_client_certificate(make_broker, make_node, certificates) -> None:
    broker = make_broker(listener=tls_listener(certificates, client=True))
    tls = {"tls": True, "tls_ca": str(certificates / "ca.crt")}
    pair = {"tls_certificate": str(certificates / "client.crt"), "tls_key": str(certificates / "client.key")}
    node = make_node(broker.port, mqtt=tls | pair)
    node.online()
    assert node.report["reason"] == ""


@pytest.mark.parametrize(
    ("server", "authority", "words"),
    [("server", "foreign", "certificate not accepted"), ("expired", "ca", "certificate has expired")],
)
def test_a_certificate_that_does_not_hold_is_told(
    make_broker, make_node, certificates, server, authority, words
) -> None:
    broker = make_broker(listener=tls_listener(certificates, server))
    node = make_node(broker.port, mqtt={"tls": True, "tls_ca": str(certificates / f"{authority}.crt")})
    assert node.wait_for("waiting", words).startswith(f"broker 127.0.0.1:{broker.port}: ")


def test_a_missing_authority_file_is_told(make_broker, make_node, certificates) -> None:
    broker = make_broker(listener=tls_listener(certificates))
    node = make_node(broker.port, mqtt={"tls": True, "tls_ca": "/nowhere/ca.crt"})
    assert node.wait_for("waiting", "a TLS file cannot be read").endswith("No such file or directory")


def test_a_missing_client_certificate_is_told(make_broker, make_node, certificates) -> None:
    broker = make_broker(listener=tls_listener(certificates, client=True))
    node = make_node(broker.port, mqtt={"tls": True, "tls_ca": str(certificates / "ca.crt")})
    assert node.wait_for("waiting", "client certificate").startswith(f"broker 127.0.0.1:{broker.port}: ")


class Gateway:
    """A websocket in front of a broker's plain port (RFC 6455, binary frames only)."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.paths: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_until_gone, args=(peer,), daemon=True).start()

    def _serve_until_gone(self, peer: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            self._serve(peer)

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as stream, socket.create_connection(("127.0.0.1", self._broker_port)) as broker:
            head = b""
            while (line := stream.readline()) not in {b"\r\n", b""}:
                head += line
            if b"\nsec-websocket-key: " not in head.lower():
                return
            key = head.lower().split(b"sec-websocket-key: ")[1].split(b"\r")[0]
            key = head[(at := head.lower().index(key)) : at + len(key)]
            self.paths.append(head.split()[1])
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")  # fmt: skip
            threading.Thread(target=self._back, args=(broker, peer), daemon=True).start()
            while len(start := stream.read(2)) == 2:
                length = start[1] & 0x7F
                if length >= 126:
                    length = int.from_bytes(stream.read(2 if length == 126 else 8))
                mask = stream.read(4)
                data = stream.read(length)
                broker.sendall(bytes(byte ^ mask[index % 4] for index, byte in enumerate(data)))

    def _back(self, broker: socket.socket, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := broker.recv(125):
                peer.sendall(bytes([0x82, len(data)]) + data)


def test_websockets_carry_the_same(broker, make_node, make_faces, listen, until) -> None:
    listener = listen(broker.port)
    with Gateway(broker.port) as gateway:
        node = make_node(gateway.port, mqtt={"transport": "websockets", "websocket_path": "/house/mqtt"})
        node.online()
        node.ring_doorbell(make_faces(node.settings).live(20))
        until(lambda: len(listener.on("vedette/hall/events")) == 60, "events")
        assert gateway.paths == [b"/house/mqtt"]


def test_a_refused_websocket_is_told(make_node, broker) -> None:
    node = make_node(broker.port, mqtt={"transport": "websockets"})
    assert node.wait_for("waiting", "websocket").startswith(f"broker 127.0.0.1:{broker.port}: ")
