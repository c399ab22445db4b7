"""Measures ways, input sizes and numbers of workers on this machine, within a bound on time."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.settings import InferSettings
from tools.advise.agreement import agreement, recall
from tools.advise.batch import counts_for, measure_batches
from tools.advise.candidate import Candidate, CandidateFailed, Frames, Sample
from tools.advise.choose import Advice, Crew, Size, Way, best_batch, best_crew, best_size, best_way
from tools.advise.clock import Clock, Progress
from tools.bench.backend_rows import OTHERS, available_providers, int8_files
from tools.bench.report import quantile

CPU = "CPUExecutionProvider"
ROUNDS = 3
WIDTHS = (320, 480, 640, 960, 1280)


def advise(
    infer: InferSettings,
    frames: Frames,
    *,
    demand_fps: float,
    cameras: int,
    cores: int,
    seconds: float,
    progress: Progress,
) -> Advice:
    """Measure and choose.

    Args:
        infer: Settings to begin with: model, width, a plug-in library.
        frames: Pictures of the camera.
        demand_fps: Frames a second that all cameras want looked at.
        cameras: How many there are.
        cores: That workers may use.
        seconds: For all measurements; loading models comes on top.
        progress: Hears what is being done, and which part of the whole is over.
    """
    clock = Clock(seconds, progress)
    infer = dataclasses.replace(infer, max_batch=1)
    ways = measure_ways(candidates(infer, cores), frames, clock)
    way, reasons = best_way(ways, cores)
    sizes = measure_sizes(way.infer, frames, clock)
    width, more = best_size(sizes, way, demand_fps, cores, infer.width)
    reasons += more
    chosen = dataclasses.replace(way.infer, width=width)
    crews = measure_crews(chosen, frames, cores, clock)
    workers, more = best_crew(crews, demand_fps)
    chosen = dataclasses.replace(chosen, workers=workers, max_workers=max(workers, infer.max_workers))
    reasons += more
    counts = [1] if infer.regions else counts_for(cameras, workers)  # with regions a frame fills a run by itself
    batches, problem = measure_batches(chosen, frames, counts, clock) if len(counts) > 1 else ([], "")
    batch, more = best_batch(batches, problem)
    chosen = dataclasses.replace(chosen, max_batch=batch)
    return Advice(chosen, reasons + more, ways, sizes, crews, batches)


def candidates(infer: InferSettings, cores: int) -> list[tuple[str, InferSettings]]:
    """Every way that this machine may have, by name; the plain one first."""
    plain = dataclasses.replace(infer, backend="onnxruntime", providers=[CPU], provider_library=None, workers=1)
    threads = [count for count in (1, 2, 4) if count <= cores]
    rows = [(f"CPU, {count} thread{'s' * (count > 1)}", {"threads": count}) for count in threads]
    made = [(name, dataclasses.replace(plain, **change)) for name, change in rows]  # type: ignore[arg-type]
    one = dataclasses.replace(plain, threads=1)
    made += [(f"int8 ({file.stem})", dataclasses.replace(one, model=str(file))) for file in int8_files(infer)]
    made += [
        (name.removesuffix("ExecutionProvider"), dataclasses.replace(one, providers=[name]))
        for name in available_providers()
        if name not in OTHERS
    ]
    if infer.provider_library or infer.backend not in {"onnxruntime", "openvino"}:
        made.append((infer.provider_name or infer.backend, dataclasses.replace(infer, workers=1)))
    if importlib.util.find_spec("openvino") is not None:
        made.append(("OpenVINO", dataclasses.replace(one, backend="openvino", device=infer.device)))
    return [*made, *_splits(one, infer)]


def measure_ways(rows: Sequence[tuple[str, InferSettings]], frames: Frames, clock: Clock) -> list[Way]:
    """All ways in turns, so that what else the machine does hits all alike."""
    clock.begin(0, len(rows) * ROUNDS)
    running: dict[str, Candidate] = {}
    samples: dict[str, list[Sample]] = {name: [] for name, _ in rows}
    ways: dict[str, Way] = {name: Way(name, infer) for name, infer in rows}
    found: dict[str, list[list[list[float]]]] = {}
    with contextlib.ExitStack() as stack:
        for name, infer in rows:
            clock.say(f"loading {name}")
            child = stack.enter_context(Candidate(infer, frames))
            try:
                loaded = child.load()
                ways[name] = dataclasses.replace(ways[name], nodes=loaded.nodes, problem=loaded.fallback)
                found[name] = child.detect()
                running[name] = child
            except CandidateFailed as error:
                ways[name] = dataclasses.replace(ways[name], problem=str(error))
        for _ in range(ROUNDS):
            for name, child in list(running.items()):
                clock.say(name)
                try:
                    samples[name].append(child.measure(clock.next_s()))
                except CandidateFailed as error:
                    del running[name]
                    ways[name] = dataclasses.replace(ways[name], problem=str(error))
    first = next(iter(found.values()), [])
    return [_judged(ways[name], samples[name], found.get(name, []), first) for name, _ in rows]


def measure_sizes(infer: InferSettings, frames: Frames, clock: Clock) -> list[Size]:
    """The way at several widths, and which faces each finds; the largest is measured for the faces alone."""
    longer = max(frames.geometry.width, frames.geometry.height)
    widths = sorted({*(width for width in WIDTHS if width <= max(longer, WIDTHS[0])), infer.width})
    clock.begin(1, len(widths))
    rows: list[tuple[int, float, list[list[list[float]]]]] = []
    seen: set[tuple[int, int]] = set()
    for width in widths:
        clock.say(f"width {width}")
        with contextlib.suppress(CandidateFailed), Candidate(dataclasses.replace(infer, width=width), frames) as child:
            size = child.load().size
            if size in seen:
                continue  # a model of fixed size
            seen.add(size)
            found = child.detect()
            rows.append((width, statistics.median(child.measure(clock.next_s()).whole_ms), found))
    reference = rows[-1][2] if rows else []
    faces = sum(map(len, reference))
    return [
        Size(width, whole_ms, recall(found, reference) if faces else 0.0, _narrowest(found))
        for width, whole_ms, found in rows
    ]


def measure_crews(infer: InferSettings, frames: Frames, cores: int, clock: Clock) -> list[Crew]:
    """One to so many workers at the same time."""
    most = min(cores, 8)
    clock.begin(2, most)
    crews = []
    for workers in range(1, most + 1):
        clock.say(f"{workers} workers at the same time")
        seconds = clock.next_s()
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Candidate(infer, frames)) for _ in range(workers)]
            for child in children:
                child.load()
            for child in children:
                child.begin(seconds)
            samples = [child.end() for child in children]
        fps = sum(len(sample.whole_ms) / sample.wall_s for sample in samples)
        crews.append(Crew(workers, fps, statistics.median(time for row in samples for time in row.whole_ms)))
    return crews


def _judged(way: Way, samples: Sequence[Sample], found: list[list[list[float]]], first: list[list[list[float]]]) -> Way:
    times = [value for sample in samples for value in sample.whole_ms]
    if not times:
        return way if way.problem else dataclasses.replace(way, problem="not measured")
    return dataclasses.replace(
        way,
        whole_ms=statistics.median(times),
        late_ms=quantile(times, 0.99),
        cpu_ms=1000 * sum(sample.cpu_s for sample in samples) / len(times),
        same=agreement(found, first),
    )


def _narrowest(found: list[list[list[float]]]) -> float:
    return min((box[2] - box[0] for boxes in found for box in boxes), default=0.0)


def _splits(one: InferSettings, infer: InferSettings) -> Iterator[tuple[str, InferSettings]]:
    """The model cut in two, when somebody cut it: a .toml file beside it with [split]."""
    path = Path(infer.model)
    if path.suffix != ".onnx":
        return
    for sidecar in sorted(path.parent.glob(f"{path.stem}*.toml")):
        if "[split]" in sidecar.read_text(encoding="utf-8"):
            yield f"split ({sidecar.stem})", dataclasses.replace(one, model=str(sidecar))
