"""The settings of a node as frozen dataclasses; the committed vedette.yml explains each key.

Field types carry their limits, which `common.config` checks once; services get the finished object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from common.fleet import MAX_WORKERS
from common.limits import Ge, Gt, Le, Len

STRICT: dict[str, Any] = {"extra": "forbid"}

Port = Annotated[int, Ge(1), Le(65535)]
Fraction = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """Where and how the node speaks MQTT."""

    __pydantic_config__ = STRICT

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    base: Annotated[str, Len(1)] = "vedette"
    discovery: Literal["device", "component", "off"] = "device"
    discovery_prefix: Annotated[str, Len(1)] = "homeassistant"
    protocol: Literal["5", "3.1.1"] = "5"
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = "/mqtt"
    client_id: str | None = None
    keepalive_s: Annotated[int, Ge(5), Le(3600)] = 30
    tls: bool = False
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """One camera. Polygons (zones, masks) are lists of [x, y] in 0..1."""

    __pydantic_config__ = STRICT

    source: Annotated[str, Len(1)]
    loop: bool = True
    fps: Annotated[float, Gt(0), Le(1000)] | None = None
    width: Annotated[int, Ge(16), Le(8192)] | None = None
    height: Annotated[int, Ge(16), Le(8192)] | None = None
    pixel_format: Literal["auto", "yuyv", "nv12", "mjpeg"] = "auto"
    enabled: bool = True
    detect_fps: Annotated[float, Ge(0), Le(1000)] = 0.0
    privacy: bool = False
    motion_gate: bool = True
    zones: dict[str, list[tuple[Fraction, Fraction]]] = field(default_factory=dict)
    masks: list[list[tuple[Fraction, Fraction]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """The inference server of the backend `remote`."""

    __pydantic_config__ = STRICT

    url: str = "127.0.0.1:8001"
    model: str | None = None  # None: the name that infer.model has
    version: str = ""
    timeout_ms: Annotated[int, Ge(1), Le(60_000)] = 250
    fallback: bool = True
    retry_s: Annotated[float, Ge(0.1), Le(3600)] = 30.0
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InferSettings:
    """How faces are found."""

    __pydantic_config__ = STRICT

    model: Annotated[str, Len(1)] = "yunet"
    width: Annotated[int, Ge(32), Le(4096)] = 640
    workers: Annotated[int, Ge(1), Le(MAX_WORKERS)] = 1
    max_workers: Annotated[int, Ge(1), Le(MAX_WORKERS)] = 4
    threads: Annotated[int, Ge(1), Le(64)] = 1
    max_batch: Annotated[int, Ge(1), Le(16)] = 1
    backend: Annotated[str, Len(1)] = "onnxruntime"
    providers: list[str] = field(default_factory=lambda: ["CPUExecutionProvider"])
    provider_options: dict[str, dict[str, str]] = field(default_factory=dict)
    provider_library: str | None = None
    provider_name: str | None = None
    device: str | None = None
    remote: RemoteSettings = field(default_factory=RemoteSettings)
    min_score: Fraction = 0.6
    nms_iou: Fraction | None = None  # None: as the model wants it
    regions: bool = False
    camera_motion: bool = True
    embedder: Annotated[str, Len(1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings:
    """How detections become faces with an id. Ages count nominal frames of the camera."""

    __pydantic_config__ = STRICT

    mode: Literal["face", "sort"] = "face"
    max_age: Annotated[int, Ge(1), Le(10_000)] = 30
    min_hits: Annotated[int, Ge(1), Le(100)] = 3
    iou_threshold: Fraction = 0.3
    low_score: Fraction = 0.3  # mode face: detections from here on go on with a face, from infer.min_score on start one
    recall_s: Annotated[float, Ge(0), Le(3600)] = 60.0  # with infer.embedder
    likeness: Fraction = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """Which faces are told, and how long that is remembered."""

    __pydantic_config__ = STRICT

    min_duration_s: Annotated[float, Ge(0), Le(60)] = 0.0
    min_score: Fraction = 0.0
    min_size: Fraction = 0.0
    update_s: Annotated[float, Ge(0.2), Le(3600)] = 5.0
    reattach_s: Annotated[float, Ge(0), Le(60)] = 2.0
    off_delay_s: Annotated[float, Ge(0), Le(3600)] = 0.0
    zone_point: Literal["bottom", "centre"] = "bottom"
    keep_days: Annotated[float, Gt(0), Le(3650)] = 30.0
    keep_mb: Annotated[float, Gt(0), Le(100_000)] = 64.0
    keep_snapshots: Annotated[int, Ge(0), Le(1_000_000)] = 500
    keep_snapshots_mb: Annotated[float, Ge(0), Le(1_000_000)] = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    """What is told over MQTT, and how often."""

    __pydantic_config__ = STRICT

    tracks: bool = False
    tracks_hz: Annotated[float, Ge(0), Le(1000)] = 10.0
    stats_s: Annotated[float, Ge(0.5), Le(3600)] = 5.0
    snapshots: bool = True
    snapshot_height: Annotated[int, Ge(32), Le(2160)] = 320
    snapshot_margin: Annotated[float, Ge(0), Le(2)] = 0.3
    snapshot_quality: Annotated[int, Ge(1), Le(100)] = 85
    stills_s: Annotated[float, Ge(0), Le(86_400)] = 10.0
    stills_width: Annotated[int, Ge(64), Le(4096)] = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSettings:
    """The page and the pictures."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 8770
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    fps: Annotated[float, Gt(0), Le(120)] = 15.0
    width: Annotated[int, Ge(64), Le(4096)] = 960
    quality: Annotated[int, Ge(1), Le(100)] = 80
    picture: Literal["matched", "newest"] = "matched"
    allowed_hosts: list[str] = field(default_factory=list)
    frame_ancestors: list[str] = field(default_factory=list)
    root_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspSettings:
    """H.264 over RTSP: served on demand, pushed to other servers."""

    __pydantic_config__ = STRICT

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 8554
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    fps: Annotated[float, Gt(0), Le(120)] = 15.0
    width: Annotated[int, Ge(64), Le(4096)] = 640
    bitrate_kbps: Annotated[int, Ge(50), Le(100_000)] = 1000
    encoder: Annotated[str, Len(1)] = "auto"
    push: dict[str, list[str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSettings:
    """The picture on a display of this machine."""

    __pydantic_config__ = STRICT

    output: Annotated[str, Len(1)] = "none"
    camera: str | None = None
    connector: str | None = None
    mode: str | None = None
    fullscreen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Where and how a process, or each of its family, runs."""

    __pydantic_config__ = STRICT

    cores: list[Annotated[int, Ge(0), Le(4095)]] | None = None
    policy: Literal["other", "fifo"] | None = None
    priority: Annotated[int, Ge(1), Le(99)] = 10
    nice: Annotated[int, Ge(-20), Le(19)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a node. Everything but `cameras` has a default."""

    __pydantic_config__ = STRICT

    cameras: Annotated[dict[str, CameraSettings], Len(1)]
    node: Annotated[str, Len(1)] = "vedette"
    state_dir: str = ""
    runtime_dir: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    infer: InferSettings = field(default_factory=InferSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    events: EventSettings = field(default_factory=EventSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    view: ViewSettings = field(default_factory=ViewSettings)
    rtsp: RtspSettings = field(default_factory=RtspSettings)
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    processes: dict[str, ProcessSettings] = field(default_factory=dict)
    replay: bool = False

    @property
    def optional(self) -> tuple[str, ...]:
        """Families of the fleet that run only because these settings ask for them."""
        return ("screen",) if self.screen.output != "none" else ()
