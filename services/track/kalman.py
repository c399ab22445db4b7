"""A constant-velocity Kalman filter for many boxes at once, in closed form.

Each box is four numbers that never mix: a position with a velocity each, measured directly. So the 8x8 filter falls
apart into four 2x2 filters, and those into three variances a number: no matrix is built and none is inverted.
The table's rows are blocks of four, its columns are the boxes.

Source:
    Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960; the model of Bewley et al., "Simple
    Online and Realtime Tracking", 2016, arXiv:1602.00763, section 3.2.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

X: Final = slice(0, 4)  # positions
V: Final = slice(4, 8)  # velocities, per nominal frame
PXX: Final = slice(8, 12)  # variances of the positions
PXV: Final = slice(12, 16)  # covariances of position and velocity
PVV: Final = slice(16, 20)  # variances of the velocities
ROWS: Final = 20


def predict(table: Array, dt: float, noise_x: Array | float, noise_v: Array | float) -> None:
    """Move every box `dt` nominal frames on, in place.

    Args:
        table: Filter rows, shape (ROWS or more, n).
        dt: Time step in nominal frames.
        noise_x: Variance that a position gains per frame, broadcast to (4, n).
        noise_v: Variance that a velocity gains per frame, broadcast to (4, n).
    """
    pxv, pvv = table[PXV], table[PVV]
    gain = pvv * dt
    table[X] += table[V] * dt
    table[PXX] += (2.0 * pxv + gain) * dt + noise_x * dt
    pxv += gain
    pvv += noise_v * dt


def correct(table: Array, measured: Array, noise: Array | float, weight: Array) -> None:
    """Take one measurement for each box, in place.

    Args:
        table: Filter rows, shape (ROWS or more, n).
        measured: Measured positions, shape (4, n); any finite number where `weight` is 0.
        noise: Variance of a measurement, broadcast to (4, n).
        weight: 1 where a box was measured and 0 where not, shape (n,).
    """
    pxx, pxv = table[PXX], table[PXV]
    scale = weight / (pxx + noise)
    gain = pxx * scale
    residual = measured - table[X]
    velocity_gain = pxv * scale
    table[X] += gain * residual
    table[V] += velocity_gain * residual
    table[PVV] -= velocity_gain * pxv
    pxv -= gain * pxv
    pxx -= gain * pxx
