"""Drift of a series: a slope that outliers do not move, and the plot of many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 1500  # more are thinned: the pairs grow with the square


def slope_per_hour(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen slope: the median of the slopes between all pairs.

    Args:
        seconds: Time of each value, rising.
        values: As many values.

    Returns:
        Change an hour, nan for fewer than two values.

    Source:
        Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 1968.
    """
    step = -(-len(seconds) // MOST_POINTS)
    at: NDArray[np.float64] = np.asarray(seconds[:: step or 1], np.float64)
    value: NDArray[np.float64] = np.asarray(values[:: step or 1], np.float64)
    first, second = np.triu_indices(len(at), 1)
    spans = at[second] - at[first]
    apart = spans > 0
    if not apart.any():
        return float("nan")
    return float(np.median((value[second] - value[first])[apart] / spans[apart]) * 3600)


def plot(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], title: str, warm_s: float, target: Path
) -> None:
    """Draw panels of lines over minutes.

    Args:
        panels: Label of the vertical axis, to name, to seconds and values.
        title: Above all.
        warm_s: Seconds that count as warming up, shaded.
        target: PNG file.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(panels), 1, figsize=(11, 2.6 * len(panels)), sharex=True, squeeze=False)
    for axis, (label, lines) in zip(axes[:, 0], panels.items(), strict=True):
        for name, (seconds, values) in lines.items():
            axis.plot([second / 60 for second in seconds], values, label=name, linewidth=1)
        axis.axvspan(0, warm_s / 60, color="0.93")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    axes[-1, 0].set_xlabel("minutes")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
    plt.close(figure)
