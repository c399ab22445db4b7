"""One MQTT connection: the only file that knows paho.

A session is made for one attempt to connect and thrown away with it: nothing waits inside the library, so what has to
be sent again is decided in one place (`events` by the log, everything retained by `state`).
"""

from __future__ import annotations

import functools
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from common.settings import MqttSettings
from services.publish.payloads import VERSION

CONNECT_S = 5  # TCP, TLS and websocket handshakes, each
NO_SUBSCRIBERS = 0x10
DEFAULT_WINDOW = 100  # unacknowledged messages at most, where the broker names no Receive Maximum
MAX_MESSAGE_BYTES = 1 << 28  # what the protocol can carry
ENVELOPE_BYTES = 400  # topic and properties around a payload
DAMAGED = (ValueError, IndexError, KeyError, struct.error, MQTTException)  # what paho raises at foreign bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the broker sent.

    Attributes:
        topic: Where it was published.
        payload: Its bytes.
        retain: The broker kept it from earlier.
    """

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class Ack:
    """The broker's answer to one message of QoS 1.

    Attributes:
        mid: Number of the message in its session.
        refusal: Why the broker refused it, in words; empty when it took it.
        heard: False when the broker said that nobody has subscribed.
    """

    mid: int
    refusal: str
    heard: bool


class Session:
    """One attempt to connect and, once `accepted`, the connection.

    Attributes:
        accepted: The broker has said yes to CONNECT.
        closed: Why the session is over, in words; empty while it is not.
        refused: `closed` was the broker's answer to CONNECT.
        window: Messages that may be unacknowledged at a time.
        largest: Bytes of the largest message that the broker takes.
        acks: Answers that came in, oldest first; the owner empties it.
        messages: Messages that came in, oldest first; the owner empties it.
        deaf: Why the broker refused a subscription, in words; empty when it took all.
    """

    def __init__(self, settings: MqttSettings, client_id: str, will_topic: str, will: str) -> None:
        self._settings = settings
        self._v5 = settings.protocol == "5"
        self.accepted = self.refused = False
        self.closed = ""
        self.window = DEFAULT_WINDOW
        self.largest = MAX_MESSAGE_BYTES
        self.acks: list[Ack] = []
        self.messages: list[Message] = []
        self.deaf = ""
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if self._v5 else mqtt.MQTTv311,
            transport=settings.transport,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(0)  # the owner keeps to `window`
        client.max_queued_messages_set(0)
        client.will_set(will_topic, will, qos=1, retain=True)
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe

    def open(self) -> None:
        """Resolve, connect, shake hands, send CONNECT. Blocks: call it from a thread of its own.

        Raises:
            OSError: What failed; `describe` has the words.
            ValueError: The broker answered something else than expected.
        """
        settings = self._settings
        if settings.tls:
            self._client.tls_set(settings.tls_ca, settings.tls_certificate, settings.tls_key)
            self._client.tls_insecure_set(settings.tls_insecure)
        if settings.transport == "websockets":
            self._client.ws_set_options(path=settings.websocket_path)
        self._client.connect(settings.host, settings.port, settings.keepalive_s)

    def fileno(self) -> int:
        """Descriptor of the socket, -1 when closed."""
        sock: Any = self._client.socket()
        return sock.fileno() if sock is not None else -1

    def read(self) -> None:
        """Take in what has arrived; fills `acks` and `messages`."""
        try:
            self._client.loop_read()
            while self._pending():
                self._client.loop_read()
        except DAMAGED:
            self._end("the broker sent what is not MQTT")

    def write(self) -> None:
        """Send what did not fit into the socket before."""
        self._client.loop_write()

    def keep_alive(self) -> None:
        """Send a ping when it is time, notice a broker that has gone silent; call it about once a second."""
        self._client.loop_misc()

    @property
    def writing(self) -> bool:
        """There is something left to send."""
        return self._client.want_write()

    def subscribe(self, topic: str) -> None:
        """Hear a topic, without what was retained there."""
        if self._v5:
            self._client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=2))
        else:
            self._client.subscribe(topic, qos=1)

    def publish(
        self, topic: str, payload: bytes | str, qos: int, *, retain: bool, expiry_s: int = 0, json: bool = False
    ) -> int:
        """Send a message at once; returns its number, which comes back in `acks` for QoS 1.

        Args:
            topic: Where.
            payload: What.
            qos: 0 or 1.
            retain: The broker keeps it.
            expiry_s: Seconds that a broker keeps it for absent subscribers (MQTT 5), 0 for always.
            json: It is one of `payloads`; with MQTT 5 it says so, and which version of the schema it follows.
        """
        properties = _properties(expiry_s) if self._v5 and json else None
        if qos:
            return self._client.publish(topic, payload, qos, retain, properties).mid
        self._client.on_publish = None  # that the socket took a message is told with objects dearer than the message
        try:
            return self._client.publish(topic, payload, qos, retain, properties).mid
        finally:
            self._client.on_publish = self._on_publish

    def disconnect(self) -> None:
        """Say goodbye, so that the broker does not send the last will."""
        self._client.disconnect()

    def abandon(self, why: str) -> None:
        """Drop the connection without a word."""
        self._end(why)

    def _end(self, why: str) -> None:
        self.closed = self.closed or why
        sock: Any = self._client.socket()
        if sock is not None:
            sock.close()

    def _pending(self) -> bool:
        """TLS may hold decrypted bytes that no poll shows."""
        sock: Any = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending() > 0

    def _on_socket_open(self, _client: mqtt.Client, _userdata: Any, sock: Any) -> None:
        """No waiting for fuller packets: a track message is worth nothing late."""
        with socket.socket(fileno=os.dup(sock.fileno())) as plain:
            if plain.family in {socket.AF_INET, socket.AF_INET6}:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(
        self, _c: mqtt.Client, _u: Any, _flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.refused = True
            self._end(f"refused: {_words(code, properties)}")
        elif getattr(properties, "MaximumQoS", 1) == 0:
            self.refused = True
            self._end("refused: the broker takes no QoS 1")
        else:
            self.accepted = True
            self.largest = getattr(properties, "MaximumPacketSize", MAX_MESSAGE_BYTES) - ENVELOPE_BYTES
            self.window = min(DEFAULT_WINDOW, getattr(properties, "ReceiveMaximum", DEFAULT_WINDOW))

    def _on_disconnect(self, _c: mqtt.Client, _u: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(f"the broker hung up: {_words(code, properties)}")
        elif not self.accepted:
            self._end("the broker hung up before it answered CONNECT (other protocol, or client certificate missing)")
        else:
            self._end("connection lost")

    def _on_publish(self, _c: mqtt.Client, _u: Any, mid: int, code: ReasonCode, properties: Any) -> None:
        refusal = _words(code, properties) if code.is_failure else ""
        self.acks.append(Ack(mid, refusal, code.value != NO_SUBSCRIBERS))

    def _on_message(self, _c: mqtt.Client, _u: Any, message: mqtt.MQTTMessage) -> None:
        self.messages.append(Message(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(self, _c: mqtt.Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        for code in codes:
            if code.is_failure:
                self.deaf = f"the broker refuses a subscription: {code.getName()}"


def describe(error: Exception) -> str:
    """Why a connection failed, in words and without any secret."""
    match error:
        case socket.gaierror():
            return f"host not found: {error.strerror}"
        case ssl.SSLCertVerificationError():
            return f"certificate not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
        case TimeoutError():
            return f"no answer within {CONNECT_S} s"
        case FileNotFoundError() | PermissionError():
            return f"a TLS file cannot be read: {error.strerror}"
        case OSError():
            return (error.strerror or str(error)).lower()
    return str(error)


def _words(code: ReasonCode, properties: Properties | None) -> str:
    """A reason code by its name, and what the broker adds in words of its own."""
    more = str(getattr(properties, "ReasonString", ""))[:200]
    return f"{code.getName()} ({more})" if more else str(code.getName())


class _Packed(Properties):
    """Properties that are packed once; the library packs them for each message, which takes 0.1 ms of a track's way."""

    def __init__(self, expiry_s: int) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s:
            self.MessageExpiryInterval = expiry_s
        self.PayloadFormatIndicator = 1
        self.ContentType = "application/json"
        self.UserProperty = ("schema", str(VERSION))
        object.__setattr__(self, "_bytes", super().pack())  # type: ignore[no-untyped-call] # others are not settable

    def pack(self) -> bytes:
        """Bytes in the packet."""
        packed: bytes = vars(self)["_bytes"]
        return packed


@functools.lru_cache(maxsize=16)  # one for each time of expiry, which are settings
def _properties(expiry_s: int) -> _Packed:
    return _Packed(expiry_s)
