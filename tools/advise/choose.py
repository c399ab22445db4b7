"""Chooses from what was measured, and says why in words. Nothing here measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.settings import InferSettings

SPARE = 1.3  # of the rate that is needed: cameras come in bursts, and a warm machine is slower than a cold one
ALIKE = 1.1  # two ways that differ by less are equally fast: the machine's own noise
PAYS = 1.2  # times cheaper that frames must be together: what goes together is also answered together, later
ENOUGH = 0.97  # of the faces that the largest input finds


@dataclass(frozen=True, slots=True)
class Way:
    """A provider, backend, file and number of threads, measured.

    Attributes:
        name: In words.
        infer: Settings of it.
        whole_ms: Median time of a frame, resize to boxes.
        late_ms: 99th percentile of that.
        cpu_ms: CPU time of a frame, all threads.
        nodes: Nodes of the graph by provider.
        problem: Why it was not measured, or who does the work instead; empty when all is well.
        same: Part of the faces in common with the first way.
    """

    name: str
    infer: InferSettings
    whole_ms: float = float("inf")
    late_ms: float = float("inf")
    cpu_ms: float = float("inf")
    nodes: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    same: float = 1.0

    def capacity(self, cores: int) -> float:
        """Frames a second if this way had the cores for itself, with as many workers as fit on them."""
        workers = max(1, cores // self.infer.threads)
        return min(workers * 1000 / self.whole_ms, cores * 1000 / max(self.cpu_ms, 1e-3))


@dataclass(frozen=True, slots=True)
class Size:
    """An input size, measured.

    Attributes:
        width: Longer side of the input, pixels.
        whole_ms: Median time of a frame.
        recall: Part of the faces of the largest size that it finds; 0 where there are none.
        smallest_px: Width of the narrowest face that it found, pixels of the camera; 0 without faces.
    """

    width: int
    whole_ms: float
    recall: float
    smallest_px: float = 0.0


@dataclass(frozen=True, slots=True)
class Crew:
    """A number of workers, measured: frames a second of all, and the time of one frame."""

    workers: int
    fps: float
    whole_ms: float


@dataclass(frozen=True, slots=True)
class Batch:
    """A number of frames in one run of the model, measured.

    Attributes:
        count: Frames in one run.
        whole_ms: Time of one frame, its part of the run.
        gain: How many times cheaper than alone it was in the round of measuring where it gained least.
    """

    count: int
    whole_ms: float
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Advice:
    """What to set, and why."""

    infer: InferSettings
    reasons: list[str]
    ways: list[Way]
    sizes: list[Size]
    crews: list[Crew]
    batches: list[Batch]


def best_way(ways: Sequence[Way], cores: int) -> tuple[Way, list[str]]:
    """The way with the most frames a second for the machine; of equals the one that answers first.

    Raises:
        ValueError: None was measured.
    """
    sound = [way for way in ways if not way.problem and way.same >= ENOUGH]
    most = max(way.capacity(cores) for way in sound)
    near = [way for way in sound if way.capacity(cores) * ALIKE >= most]
    chosen = min(near, key=lambda way: way.whole_ms)
    within = f"99 of 100 within {chosen.late_ms:.1f} ms"
    reasons = [f"{chosen.name}: {chosen.whole_ms:.1f} ms a frame ({within}), {chosen.cpu_ms:.1f} ms of CPU"]
    return chosen, reasons + [_against(way, chosen, cores) for way in ways if way is not chosen]


def best_size(sizes: Sequence[Size], way: Way, demand_fps: float, cores: int, usual: int) -> tuple[int, list[str]]:
    """The smallest input that finds nearly all faces that the largest finds, and that the machine can keep up with."""
    if not any(size.recall for size in sizes) or len(sizes) == 1:
        return usual, [f"width {usual}: no face was seen in the pictures, so other widths cannot be compared"]
    fits = [size for size in sizes if cores * 1000 / size.whole_ms >= demand_fps]
    said = ", ".join(f"{size.width}: {100 * size.recall:.0f} % in {size.whole_ms:.1f} ms" for size in sizes)
    table = f"of the faces that the largest width finds, each width finds ({way.name}): {said}"
    if not fits:
        least = min(sizes, key=lambda size: size.whole_ms)
        too_much = f"even this one cannot look at all {demand_fps:.0f} frames a second"
        return least.width, [table, f"width {least.width}: {too_much}; lower detect_fps, or add an accelerator"]
    good = [size for size in fits if size.recall >= ENOUGH]
    chosen = min(good, key=lambda size: size.width) if good else max(fits, key=lambda size: size.recall)
    why = "the smallest that finds nearly all" if good else "the best that keeps up with the cameras"
    face = f"the smallest face in these pictures is {sizes[-1].smallest_px:.0f} pixels wide: smaller ones need more"
    return chosen.width, [table, f"width {chosen.width}: {why}; {face}"]


def best_crew(crews: Sequence[Crew], demand_fps: float) -> tuple[int, list[str]]:
    """The fewest workers that keep up with the cameras, with some room; else the most productive number."""
    said = ", ".join(f"{crew.workers}: {crew.fps:.0f} frames/s" for crew in crews)
    need = f"the cameras give {demand_fps:.0f} frames a second"
    enough = [crew for crew in crews if crew.fps >= SPARE * demand_fps]
    if enough:
        chosen = min(enough, key=lambda crew: crew.workers)
        return chosen.workers, [f"workers {chosen.workers}: {need}; measured with so many workers: {said}"]
    chosen = max(crews, key=lambda crew: crew.fps)
    short = f"no number of workers does {SPARE:g} times that; measured: {said}; frames are skipped, never queued"
    return chosen.workers, [f"workers {chosen.workers}: {need}, and {short}"]


def best_batch(batches: Sequence[Batch], problem: str) -> tuple[int, list[str]]:
    """The smallest number of frames in one run that makes a frame clearly cheaper than alone.

    Args:
        batches: Measured, one frame first; empty where a worker has one camera.
        problem: Why they could not be.
    """
    if problem:
        return 1, [f"max_batch 1: {problem}"]
    if not batches:
        return 1, []
    said = ", ".join(f"{batch.count} in one run: {batch.whole_ms:.1f} ms a frame" for batch in batches)
    paying = [batch for batch in batches if batch.gain >= PAYS]
    if not paying:
        return 1, [f"max_batch 1: frames of several cameras together gain too little, or not always: {said}"]
    best = min(batch.whole_ms for batch in paying)
    chosen = next(batch for batch in paying if batch.whole_ms <= best * ALIKE)
    whole = chosen.count * chosen.whole_ms
    return chosen.count, [f"max_batch {chosen.count}: {said}; answers of a whole batch come after {whole:.1f} ms"]


def settings_tree(infer: InferSettings, usual: InferSettings) -> dict[str, object]:
    """The `infer:` section: what differs from the defaults, and always what was decided here."""
    always = {"model", "width", "workers", "threads", "backend", "providers"}
    tree: dict[str, object] = {}
    for item in dataclasses.fields(infer):
        value = getattr(infer, item.name)
        if item.name in always or value != getattr(usual, item.name):
            tree[item.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    if infer.backend not in {"onnxruntime", "split"}:
        del tree["providers"]
    return tree


def _against(way: Way, chosen: Way, cores: int) -> str:
    if way.problem:
        return f"not {way.name}: {way.problem}"
    if way.same < ENOUGH:
        return f"not {way.name}: only {100 * way.same:.0f} % of its faces are those of the first way"
    times = chosen.capacity(cores) / way.capacity(cores)
    figures = f"{way.whole_ms:.1f} ms a frame, {way.cpu_ms:.1f} ms of CPU"
    if times < ALIKE:
        return f"not {way.name}: {figures}; the machine would do about as many frames, but each of them later"
    return f"not {way.name}: {figures}; the machine would do {times:.1f} times fewer frames with it"
