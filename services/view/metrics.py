"""The node in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(state: Mapping[str, Any]) -> bytes:
    """The answer to a scrape.

    Args:
        state: As `/api/state` gives it.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_State(state))
    return generate_latest(registry)


class _State(Collector):
    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """All families of metrics."""
        info = GaugeMetricFamily("vedette_info", "Version of the node, always 1.", labels=["node", "version"])
        info.add_metric([self._state["node"], self._state["version"]], 1)
        yield info
        yield from _camera_metrics(self._state["cameras"])
        yield from _process_metrics(self._state["processes"])


def _camera_metrics(cameras: list[dict[str, Any]]) -> Iterator[Metric]:
    gauges: dict[str, tuple[str, Callable[[dict[str, Any]], float]]] = {
        "fps": ("Frames captured per second.", lambda row: row["fps"]),
        "detected_fps": ("Frames searched for faces per second.", lambda row: row["detected_fps"]),
        "faces": ("Faces that are shown now.", lambda row: row["faces"]),
        "viewers": ("Who looks at the stream now.", lambda row: row["viewers"]),
        "online": ("1 when the camera brings frames.", lambda row: row["status"] == "online"),
        "privacy": ("1 when faces are covered.", lambda row: row["controls"]["privacy"]),
    }
    for name, (text, value) in gauges.items():
        family = GaugeMetricFamily(f"vedette_camera_{name}", text, labels=["camera"])
        for row in cameras:
            family.add_metric([row["name"]], float(value(row)))
        yield family
    stages = GaugeMetricFamily(
        "vedette_stage_seconds", "Delay of a stage over the last 10 s.", labels=["camera", "stage", "quantile"]
    )
    for row in cameras:
        for stage, numbers in row["latency_ms"].items():
            for key, quantile in (("p50", "0.5"), ("p99", "0.99")):
                stages.add_metric([row["name"], stage, quantile], numbers[key] / 1e3)
    yield stages


def _process_metrics(processes: list[dict[str, Any]]) -> Iterator[Metric]:
    up = GaugeMetricFamily("vedette_process_up", "1 when the process runs.", labels=["process"])
    restarts = CounterMetricFamily("vedette_process_restarts", "Restarts of the process.", labels=["process"])
    cpu = GaugeMetricFamily("vedette_process_cpu_ratio", "Share of one core.", labels=["process"])
    memory = GaugeMetricFamily("vedette_process_memory_bytes", "Proportional memory.", labels=["process"])
    drops = CounterMetricFamily("vedette_drops", "What was dropped, by reason.", labels=["process", "reason"])
    counts = CounterMetricFamily("vedette_count", "What was done, by kind.", labels=["process", "what"])
    latency = GaugeMetricFamily(
        "vedette_latency_seconds", "Latencies over the last 5 s.", labels=["process", "what", "quantile"]
    )
    for row in processes:
        name = row["name"]
        up.add_metric([name], float(row["state"] in {"running", "waiting", "starting"}))
        restarts.add_metric([name], row["restarts"])
        if row["pid"] is None:
            continue
        cpu.add_metric([name], (row["cpu_percent"] or 0) / 100)
        memory.add_metric([name], (row["pss_mb"] or row["rss_mb"] or 0) * 1e6)
        for reason, total in row["drops"].items():
            drops.add_metric([name, reason], total)
        for what, total in row["totals"].items():
            counts.add_metric([name, what], total)
        for what, numbers in row["latency_ms"].items():
            for key, quantile in (("p50", "0.5"), ("p99", "0.99")):
                latency.add_metric([name, what, quantile], numbers[key] / 1e3)
    yield from (up, restarts, cpu, memory, drops, counts, latency)
