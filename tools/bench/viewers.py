"""People who look, for the benchmark of the view: readers of MJPEG and RTSP, quick and slow ones."""

from __future__ import annotations

import re
import socket
import threading
import time

STAMP = re.compile(rb"\r\nX-Timestamp: ([0-9.]+)\r\n")
HEAD_BYTES = 200  # a part's head lies within


class Viewer(threading.Thread):
    """Reads an MJPEG stream, counts its pictures, and notes how old they are when their first bytes come."""

    def __init__(self, port: int, camera: str, bytes_per_s: float = 0.0) -> None:
        """Begin to look.

        Args:
            port: Of the page.
            camera: Name of the camera.
            bytes_per_s: Reading speed; 0 for as it comes.
        """
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        if bytes_per_s:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._socket.sendall(f"GET /stream/{camera}.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._bytes_per_s = bytes_per_s
        self.delays_s: list[float] = []
        self.start()

    def run(self) -> None:
        """Read until closed."""
        rest = b""
        try:
            while data := self._socket.recv(2048 if self._bytes_per_s else 65536):
                now = time.time()
                if self._bytes_per_s:
                    time.sleep(len(data) / self._bytes_per_s)
                text = rest + data
                self.delays_s += [now - float(stamp) for stamp in STAMP.findall(text)]
                last = max((match.end() for match in STAMP.finditer(text)), default=0)
                rest = text[max(last - 2, len(text) - HEAD_BYTES) :]
        except OSError:
            pass

    def close(self) -> None:
        """Look no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join(5)
        self._socket.close()


class Player(threading.Thread):
    """Reads an RTSP stream without decoding it."""

    def __init__(self, port: int, camera: str) -> None:
        super().__init__(daemon=True)
        self._url = f"rtsp://127.0.0.1:{port}/{camera}"
        self._end = threading.Event()
        self.pictures = 0
        self.start()

    def run(self) -> None:
        """Read until closed."""
        import av

        with av.open(self._url, options={"rtsp_transport": "tcp"}, timeout=20) as container:
            for packet in container.demux(video=0):
                self.pictures += bool(packet.size)
                if self._end.is_set():
                    return

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self.join(10)
