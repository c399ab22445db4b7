"""Whether pictures of several cameras in one run of the model would be cheaper than one after the other."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from common.config import cache_dir
from common.errors import VedetteError
from common.settings import InferSettings
from services.infer.letterbox import model_size
from services.infer.manifest import find_model
from services.infer.picture_input import AXES

TRIES = 7


def batch_reason(infer: InferSettings, source: tuple[int, int], cameras: int) -> str:
    """One sentence; measured where the model takes more than one picture at a time.

    Vedette itself never waits for a second picture: at 30 frames a second a batch of two costs up to 33 ms of age.
    """
    if cameras < 2:
        return ""
    import onnxruntime as ort

    try:
        spec, path = find_model(infer.model, cache_dir() / "models")
    except VedetteError:
        return ""
    if path.suffix != ".onnx":
        return ""
    options = ort.SessionOptions()
    options.intra_op_num_threads = infer.threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    only = session.get_inputs()[0]
    sizes = dict(zip(AXES[spec.input.layout], only.shape, strict=True))
    if isinstance(sizes["batch"], int):
        return "no batch over cameras: the model takes one picture at a time"
    width, height = model_size(source, infer.width, spec.input.multiple)
    times = {}
    for count in (1, cameras):
        axes = {"batch": count, "channels": 3, "width": width, "height": height}
        tensor = np.zeros([axes[axis] for axis in AXES[spec.input.layout]], np.float32)
        times[count] = _median_ms(session, {only.name: tensor}) / count
    gain = times[1] / times[cameras]
    verdict = "would pay" if gain > 1.1 else "would not pay"
    return (
        f"no batch over cameras: {cameras} pictures at once take {times[cameras]:.1f} ms each, one alone "
        f"{times[1]:.1f} ms, so it {verdict}; and the first would wait for the last, up to a whole frame"
    )


def _median_ms(session: Any, feed: dict[str, Any]) -> float:
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
