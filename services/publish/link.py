"""The connection to the broker, kept up: attempts, deadlines, back-off, and the window of unacknowledged messages.

All of it but the handshakes runs in the loop's thread, so that a message leaves in the call that sends it.
"""

from __future__ import annotations

import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.stats import Stats
from services.publish.client import Ack, Message, Session, describe

if TYPE_CHECKING:
    from types import TracebackType

ANSWER_S = 5.0  # from CONNECT to CONNACK; a broker that accepts and stays silent is given up after that
PUBACK_S = 20.0  # without any PUBACK while some are due
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 3.0  # a broker that was away for long is found again within so long
LAST_REFUSED_RETRY_S = 30.0  # asking again soon would only fill the broker's log
STEADY_S = 5.0  # a connection that is lost sooner counts as one more failed attempt
TICK_S = 0.5  # how often pings and deadlines are looked at
GOODBYE_S = 1.0

OnAck = Callable[[Ack], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    topic: str
    payload: bytes | str
    retain: bool
    expiry_s: int
    json: bool
    on_ack: OnAck | None


class Link:
    """Sends while the broker is there; says why when it is not.

    Attributes:
        online: The broker has accepted the connection.
        reason: Why it is not online, in words.
        refusal: What the broker has refused in this connection, and why, in words.
        connections: Raised with each new connection, so that owners of unacknowledged messages notice.
        messages: Commands that came in, oldest first; the owner empties it.
    """

    def __init__(self, new_session: Callable[[], Session], address: str, subscriptions: tuple[str, ...], stats: Stats):
        """Nothing is tried before the first `step`.

        Args:
            new_session: Makes a session for one attempt.
            address: Of the broker, for messages.
            subscriptions: Topics to hear on each connection.
            stats: Where numbers go.
        """
        self._new_session, self._address, self._subscriptions, self._stats = new_session, address, subscriptions, stats
        self.online = False
        self.refusal = ""
        self.reason = f"broker {address}: connecting"
        self.connections = 0
        self.messages: list[Message] = []
        self._epoll = select.epoll()
        self._registered = -1
        self._session: Session | None = None
        self._opening: threading.Thread | None = None
        self._failure: str = ""
        self._attempts = 0
        self._retry_at = self._tick_at = self._steady_at = 0.0
        self._due: dict[int, tuple[_Waiting, int]] = {}  # message number -> the message, and when it was sent
        self._queue: deque[_Waiting] = deque()
        self._deadline = 0.0

    def fileno(self) -> int:
        """Descriptor that becomes readable when `step` has something to do."""
        return self._epoll.fileno()

    def step(self) -> None:
        """Do what is to be done now; never blocks."""
        now = time.monotonic()
        session = self._session
        if session is None:
            if now >= self._retry_at:
                self._begin()
        elif self._opening is None:
            self._serve(session, now)
        elif not self._opening.is_alive():
            self._opened(session, now)

    def send(
        self,
        topic: str,
        payload: bytes | str,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int = 0,
        json: bool = False,
        on_ack: OnAck | None = None,
    ) -> bool:
        """Send a message; False when it was not taken, because nobody is there or (QoS 0) the socket is full."""
        session = self._session
        if not self.online or session is None or session.closed:
            return False
        if len(payload) > session.largest:
            self._stats.drop("too_large_for_broker")
            return False
        if qos == 0:
            if session.writing:
                self._stats.drop("broker_slow")
                return False
            session.publish(topic, payload, 0, retain=retain, json=json)
            self._stats.count("messages")
        else:
            self._queue.append(_Waiting(topic, payload, retain, expiry_s, json, on_ack))
            self._send_queued(session)
        if session.writing:
            self._watch(session)
        return True

    @property
    def room(self) -> int:
        """How many more messages of QoS 1 would leave at once."""
        if not self.online or self._session is None or self._queue:
            return 0
        return max(self._session.window - len(self._due), 0)

    @property
    def idle(self) -> bool:
        """Everything that was sent with QoS 1 is acknowledged."""
        return not (self._queue or self._due)

    def close(self, last: tuple[str, str] | None = None) -> None:
        """Send a last retained message, say goodbye and wait for both to leave, at most a second."""
        session = self._session
        if self.online and session is not None:
            if last is not None:
                session.publish(*last, 1, retain=True)
            session.disconnect()
            end = time.monotonic() + GOODBYE_S
            while session.writing and not session.closed and (left := end - time.monotonic()) > 0:
                self._watch(session)
                self._epoll.poll(left)
                session.write()
        self.online = False
        self._epoll.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._epoll.closed:
            self.close()

    def _begin(self) -> None:
        session = self._session = self._new_session()
        self._failure = ""
        self._opening = threading.Thread(target=self._open, args=(session,), name="connect", daemon=True)
        self._opening.start()

    def _open(self, session: Session) -> None:
        try:
            session.open()
        except (OSError, ValueError) as error:
            self._failure = describe(error)

    def _opened(self, session: Session, now: float) -> None:
        self._opening = None
        if self._failure or session.closed:
            self._lost(self._failure or session.closed, now)
            return
        self._deadline = now + ANSWER_S
        self._watch(session)
        self._serve(session, now)

    def _serve(self, session: Session, now: float) -> None:
        for _, event in self._epoll.poll(0):
            if event & ~select.EPOLLOUT:
                session.read()
            if event & select.EPOLLOUT:
                session.write()
        if session.accepted and not self.online:
            self._accepted(session)
        self._take_acks(session)
        self.refusal = self.refusal or session.deaf
        self.messages += session.messages
        session.messages.clear()
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self._look_at_deadlines(session, now)
        if session.closed:
            self._lost(session.closed, now)
        else:
            self._watch(session)

    def _accepted(self, session: Session) -> None:
        self.online, self.reason = True, ""
        self.connections += 1
        self._steady_at = time.monotonic() + STEADY_S
        self._stats.count("connections")
        for topic in self._subscriptions:
            session.subscribe(topic)

    def _take_acks(self, session: Session) -> None:
        if not session.acks:
            return
        acks, session.acks = session.acks, []
        now_ns = time.monotonic_ns()
        self._deadline = now_ns / 1e9 + PUBACK_S
        for ack in acks:
            if ack.mid not in self._due:
                continue
            row, sent_ns = self._due.pop(ack.mid)
            self._stats.latency("puback", now_ns - sent_ns)
            if not ack.heard:
                self._stats.count("no_subscribers")
            if ack.refusal:
                self._stats.count("refused")
                self.refusal = f"the broker refuses {row.topic}: {ack.refusal}"
            if row.on_ack is not None:
                row.on_ack(ack)
        self._send_queued(session)

    def _send_queued(self, session: Session) -> None:
        while self._queue and len(self._due) < session.window and not session.closed:
            row = self._queue.popleft()
            now_ns = time.monotonic_ns()
            if not self._due:
                self._deadline = now_ns / 1e9 + PUBACK_S
            mid = session.publish(row.topic, row.payload, 1, retain=row.retain, expiry_s=row.expiry_s, json=row.json)
            self._due[mid] = (row, now_ns)
            self._stats.count("messages")

    def _look_at_deadlines(self, session: Session, now: float) -> None:
        session.keep_alive()
        if self.online and now >= self._steady_at:
            self._attempts = 0
        if session.closed or now < self._deadline:
            return
        if not session.accepted:
            session.abandon(f"took the connection, but did not answer within {ANSWER_S:.0f} s")
        elif self._due:
            session.abandon(f"acknowledged nothing for {PUBACK_S:.0f} s")

    def _lost(self, why: str, now: float) -> None:
        refused = self._session is not None and self._session.refused
        self._session, self.online, self._registered = None, False, -1
        self._due.clear()
        self._queue.clear()
        self.reason = f"broker {self._address}: {why}" + (f" ({self.refusal})" if self.refusal else "")
        self.refusal = ""
        self._attempts += 1
        most = LAST_REFUSED_RETRY_S if refused else LAST_RETRY_S
        wait_s = min(FIRST_RETRY_S * 2 ** min(self._attempts - 1, 10), most)
        self._retry_at = now + wait_s * random.uniform(0.5, 1.0)

    def _watch(self, session: Session) -> None:
        """Wake up for what arrives, and while something is left to send also for room in the socket."""
        fd = session.fileno()
        if fd < 0:
            return
        events = select.EPOLLIN | (select.EPOLLOUT if session.writing else 0)
        if self._registered == -1:
            self._epoll.register(fd, events)
        elif self._registered != events:
            self._epoll.modify(fd, events)
        self._registered = events
