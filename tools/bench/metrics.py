"""How well tracks tell the truth: MOTA, IDF1, HOTA and what they are made of, counted by TrackEval."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from tools.bench.mot import Labelled

Array = NDArray[np.float64]
Row = dict[str, float | int | str]


class Judge:
    """TrackEval's metrics, sequence by sequence and together."""

    def __init__(self) -> None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it tells of data sets that cannot be read here
                from trackeval.metrics import CLEAR, HOTA, Identity
        except ImportError:
            # its declared dependencies bring a second OpenCV that overwrites ours; its metrics need scipy alone
            how = "pip install 'vedette[bench]' and pip install --no-deps trackeval"
            raise ConfigError(f"accuracy needs TrackEval: {how}") from None
        quiet = {"PRINT_CONFIG": False}
        self._metrics = {"hota": HOTA(), "clear": CLEAR(quiet), "identity": Identity(quiet)}

    def judge(self, truth: list[Labelled], tracks: list[Array]) -> dict[str, Any]:
        """Raw counts of one sequence."""
        data = _data(truth, tracks)
        return {name: metric.eval_sequence(data) for name, metric in self._metrics.items()}

    def together(self, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Raw counts of several sequences as one."""
        return {
            name: metric.combine_sequences({key: part[name] for key, part in parts.items()})
            for name, metric in self._metrics.items()
        }


def row(counts: dict[str, Any]) -> Row:
    """The figures that people compare, in per cent, and counts."""
    hota, clear, identity = counts["hota"], counts["clear"], counts["identity"]
    return {
        "IDF1": _percent(identity["IDF1"]),
        "HOTA": _percent(hota["HOTA"]),
        "MOTA": _percent(clear["MOTA"]),
        "AssA": _percent(hota["AssA"]),
        "switches": int(clear["IDSW"]),
        "false": int(clear["CLR_FP"]),
        "missed": int(clear["CLR_FN"]),
        "breaks": int(clear["Frag"]),
    }


def iou(a: Array, b: Array) -> Array:
    """Intersection over union of every pair of boxes xyxy, shape (n, m)."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    inter = np.clip(high - low, 0.0, None).prod(axis=2)
    area_a, area_b = (a[:, 2:4] - a[:, :2]).prod(axis=1), (b[:, 2:4] - b[:, :2]).prod(axis=1)
    return np.asarray(inter / np.maximum(area_a[:, None] + area_b - inter, 1e-12))


def _data(truth: list[Labelled], tracks: list[Array]) -> dict[str, Any]:
    """As TrackEval wants it: ids from 0 without holes, and the similarity of every pair."""
    faces: dict[int, int] = {}
    seen: dict[int, int] = {}
    gt_ids = [np.array([faces.setdefault(int(i), len(faces)) for i in ids], int) for ids, _ in truth]
    ids = [np.array([seen.setdefault(int(i), len(seen)) for i in rows[:, 4]], int) for rows in tracks]
    return {
        "gt_ids": gt_ids,
        "tracker_ids": ids,
        "similarity_scores": [iou(boxes, rows[:, :4]) for (_, boxes), rows in zip(truth, tracks, strict=True)],
        "num_gt_dets": sum(map(len, gt_ids)),
        "num_tracker_dets": sum(map(len, ids)),
        "num_gt_ids": len(faces),
        "num_tracker_ids": len(seen),
        "num_timesteps": len(truth),
    }


def _percent(value: Any) -> float:
    return round(100.0 * float(np.mean(value)), 2)
