"""The process that speaks MQTT. Tracks go first: their way from the bus to the socket is what users feel."""

from __future__ import annotations

import json
import logging
import time

from common.bus import Receiver
from common.eventlog import EventLogReader
from common.service import Service
from common.settings import Settings
from common.wire import TrackFrame
from services.publish import discovery
from services.publish.announced import Announced
from services.publish.cameras import Cameras
from services.publish.client import Session
from services.publish.commands import Commands
from services.publish.events import Delivery
from services.publish.forgetting import Forgetting
from services.publish.link import Link
from services.publish.snapshots import Snapshots
from services.publish.state import Retained
from services.publish.statistics import Collector, power_w, temperature_c
from services.publish.stills import Stills
from services.publish.topics import OFFLINE, ONLINE, Topics

WAIT_MS = 100
LOOK_S = 0.2  # silence and delays are looked at so often
FAREWELL_S = 2.0  # for the last events at the end; what does not leave is sent at the next start
ASK_S = 1.0  # for supervisord's answer at the end

log = logging.getLogger(__name__)


def main(service: Service) -> None:
    """Run until asked to end."""
    settings = service.settings
    topics = Topics(settings.mqtt.base, settings.node)
    with _link(settings, topics, service) as link:
        node = Node(service, link, topics)
        try:
            while not service.stopping:
                node.turn()
            node.farewell()
        finally:
            node.close()
        link.close((topics.status, OFFLINE))


class Node:
    """Everything that publish does, one turn of the loop at a time."""

    def __init__(self, service: Service, link: Link, topics: Topics) -> None:
        self._service, self._link, self._topics = service, link, topics
        settings, bus, stats = service.settings, service.bus, service.stats
        self._tracks = bus.subscriber("tracks")
        self._states = bus.subscriber("camera", settings.cameras)
        self._events = bus.subscriber("events")
        self._wishes = bus.puller("commands")
        self._retained = Retained(link, service.state_dir)
        self._cameras = Cameras(settings, link, self._retained, topics, stats)
        self._snapshots = Snapshots(settings, self._retained, topics, stats)
        self._stills = Stills(settings, self._retained, topics, stats, service.pulse("stills"))
        self._commands = Commands(
            settings, bus.publisher("control"), link, self._retained, topics, stats, self._on_privacy
        )
        for camera, control in self._commands.controls.items():
            self._snapshots.begin(camera, privacy=control.privacy)
            self._stills.set_privacy(camera, control.privacy)
        self._delivery = Delivery(
            EventLogReader(service.state_dir), link, topics, stats, service.state_dir, settings.events.keep_days
        )
        self._delivery.snapshots = settings.publish.snapshots
        self._forgetting = Forgetting(service.state_dir, self._delivery, self._snapshots, self._stills)
        self._collector = Collector(
            service.runtime_dir,
            settings.node,
            settings.publish.stats_s,
            self._cameras.summary,
            service.pulse("statistics"),
        )
        self._announce()
        self._home_status = f"{settings.mqtt.discovery_prefix}/status"
        self._connection = 0
        self._look_at = 0.0
        self._collector.start()

    def turn(self) -> None:
        """Wait for something to do, at most a tenth of a second, and do it."""
        ready = self._service.bus.wait(WAIT_MS, *self._receivers(), fds=[self._link.fileno()])
        if self._tracks in ready:
            self._on_tracks()
        if self._events in ready:
            self._events.drain()
            self._delivery.ring()
        self._link.step()
        if self._link.online and self._connection != self._link.connections:
            self._connection = self._link.connections
            self._birth()
        self._delivery.step()
        if self._states in ready:
            for state in self._states.drain():
                self._cameras.on_state(state)
        self._take_commands(self._wishes in ready)
        self._commands.step()
        self._snapshots.step()
        self._stills.step()
        self._forgetting.step()
        if time.monotonic() >= self._look_at:
            self._look()
        self._beat()

    def farewell(self) -> None:
        """Tell what the log still holds, and when the whole node ends that its cameras are away."""
        from common.supervisor import Supervisor  # not worth its memory before the last moment

        if Supervisor(self._service.runtime_dir, ASK_S).stopping():
            self._cameras.end()
        end = time.monotonic() + FAREWELL_S
        self._delivery.ring()
        while self._link.online and not (self._delivery.done and self._link.idle) and time.monotonic() < end:
            self._link.step()
            self._delivery.step()
            self._service.bus.wait(WAIT_MS, fds=[self._link.fileno()])
            self._service.beat("running")

    def close(self) -> None:
        """Write what is to be kept."""
        self._collector.close()
        self._snapshots.close()
        self._stills.close()
        self._delivery.close()
        self._retained.remember()

    def _receivers(self) -> tuple[Receiver, ...]:
        return self._tracks, self._states, self._events, self._wishes

    def _on_tracks(self) -> None:
        frames = self._tracks.drain(until=TrackFrame.is_just_sent)
        for frame in frames:
            self._cameras.on_tracks(frame)
        for frame in frames:
            self._snapshots.look(frame)
            self._stills.look(frame)

    def _on_privacy(self, camera: str, covered: bool) -> None:
        self._snapshots.set_privacy(camera, covered)
        self._stills.set_privacy(camera, covered)

    def _take_commands(self, wished: bool) -> None:
        for wish in self._wishes.drain() if wished else ():
            self._commands.obey(wish.target, wish.what, wish.payload)
        messages, self._link.messages = self._link.messages, []
        for message in messages:
            command = self._topics.command(message.topic)
            if command is not None and not message.retain:  # a kept command would be obeyed at every start
                self._commands.obey(*command, message.payload[:200].decode("utf-8", "replace").strip())
            elif message.topic == self._home_status and message.payload == ONLINE.encode() and not message.retain:
                log.info("home assistant has started, telling it everything")
                self._birth()

    def _announce(self) -> None:
        found = discovery.messages(
            self._service.settings, self._topics, temperature=temperature_c() is not None, power=power_w() is not None
        )
        announced = Announced(self._service.state_dir)
        for topic, payload in found.items():
            self._retained.put(topic, announced.complete(topic, payload))
        announced.keep()

    def _birth(self) -> None:
        """Everything as it is now, and then that the node is there."""
        self._retained.send_all()
        self._link.send(self._topics.status, ONLINE, retain=True)

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_S
        self._cameras.look(self._commands.controls)
        self._retained.remember()
        if not self._collector.alive:
            raise RuntimeError("the thread of the statistics has ended")
        stats = self._collector.take()
        if stats is not None:
            self._link.send(self._topics.stats, json.dumps(stats, separators=(",", ":")), qos=0, json=True)

    def _beat(self) -> None:
        if not self._link.online:
            self._service.beat("waiting", self._link.reason)
        else:
            nobody = f"nobody subscribes to {self._topics.events}" if self._delivery.unheard else ""
            self._service.beat("running", self._delivery.problem or self._link.refusal or nobody)


def _link(settings: Settings, topics: Topics, service: Service) -> Link:
    mqtt = settings.mqtt
    client_id = mqtt.client_id or f"{mqtt.base}-{settings.node}".replace("/", "-")
    subscriptions = (topics.commands, f"{mqtt.discovery_prefix}/status")[: 1 if mqtt.discovery == "off" else 2]
    return Link(
        lambda: Session(mqtt, client_id, topics.status, OFFLINE),
        f"{mqtt.host}:{mqtt.port}",
        subscriptions,
        service.stats,
    )
