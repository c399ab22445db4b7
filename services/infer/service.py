"""The main loop of a worker: load the model, then serve frames until it is told to stop."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from common.claims import Claims
from common.errors import ConfigError, DeviceError, ModelError, RingError
from common.service import Service
from common.settings import InferSettings, Settings
from services.infer.worker import Worker

if TYPE_CHECKING:
    from services.infer.detector import Detector
    from services.infer.embedder import Embedder

LOAD_S = 300.0  # an accelerator may compile a model for minutes
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
BEAT_MS = 100

log = logging.getLogger(__name__)


def main(service: Service) -> None:
    """Serve frames; a model or accelerator that is away is waited for, a wrong one is a wrong configuration.

    Raises:
        ConfigError: The settings name something that does not exist, or a model that does not fit.
    """
    retry_s = FIRST_RETRY_S
    claims = _open_claims(service)
    if claims is None:
        return
    with claims, Worker(service, claims) as worker:
        while not service.stopping:
            try:
                detector, embedder = _load(service), _load_embedder(service)
                retry_s = FIRST_RETRY_S
                worker.serve(detector, embedder)
            except ModelError as error:
                raise ConfigError(f"infer.model={service.settings.infer.model!r}: {error}") from error
            except DeviceError as error:
                log.warning("waiting seconds=%.1f reason=%s", retry_s, error)
                worker.pause(retry_s, str(error))
                retry_s = min(2 * retry_s, LAST_RETRY_S)


def _open_claims(service: Service) -> Claims | None:
    """The claims file, as soon as there is room for it; None when asked to end."""
    while not service.stopping:
        try:
            return Claims.open(service.settings)
        except RingError as error:
            again_at = time.monotonic() + FIRST_RETRY_S
            while not service.stopping and time.monotonic() < again_at:
                service.beat("waiting", str(error))
                service.bus.wait(BEAT_MS)
    return None


def _for_detector(settings: Settings) -> InferSettings:
    """Settings of the detector: a tracker that can go on with unsure detections is given them.

    A batch has one frame a camera at most.
    """
    floor = settings.track.low_score if settings.track.mode == "face" else 1.0
    infer = settings.infer
    batch = min(infer.max_batch, max(1, len(settings.cameras)))
    return dataclasses.replace(infer, min_score=min(infer.min_score, floor), max_batch=batch)


def _load(service: Service) -> Detector:
    from services.infer.detector import build_detector

    service.beat("starting", "loading the model")
    start = time.monotonic()
    infer = _for_detector(service.settings)
    with service.grace(LOAD_S):
        detector = build_detector(infer)
    placement = detector.placement
    service.stats.gauge("load_ms", round(1000 * (time.monotonic() - start), 1))
    log.info("model loaded model=%s backend=%s nodes=%s", infer.model, infer.backend, dict(placement.nodes))
    return detector


def _load_embedder(service: Service) -> Embedder | None:
    """What tells faces apart, when wished.

    Raises:
        ConfigError: A wrong name, or a model that does not fit.
        DeviceError: It is away.
    """
    if service.settings.infer.embedder is None:
        return None
    from services.infer.embedder import load_embedder

    service.beat("starting", "loading the embedder")
    try:
        with service.grace(LOAD_S):
            return load_embedder(service.settings.infer)
    except ModelError as error:
        raise ConfigError(f"infer.embedder={service.settings.infer.embedder!r}: {error}") from error
