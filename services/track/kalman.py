"""A constant-velocity Kalman filter for many boxes at once, in closed form.

Each box is four numbers that never mix: a position with a velocity each, measured directly. So the 8x8 filter falls
apart into four 2x2 filters, each told by five numbers, and no matrix is inverted. The table's first ROWS rows are
five blocks of four (position, velocity, and the three variances), its columns are the boxes.

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


def transition(dt: float) -> Array:
    """What `dt` nominal frames do to the five blocks, shape (5, 5).

    The covariance F P F^T of F = [[1, dt], [0, 1]] is linear in its three numbers, so it fits into the same matrix.
    """
    step = np.eye(5)
    step[0, 1] = dt
    step[2, 3:] = 2.0 * dt, dt * dt
    step[3, 4] = dt
    return step


def predict(table: Array, step: Array, noise: Array) -> None:
    """Move every box on, in place.

    Args:
        table: Filter rows first, shape (ROWS or more, n), C order.
        step: What `transition` gives.
        noise: What the five blocks gain, broadcast to (ROWS, n); 0 for positions and velocities.
    """
    blocks = table[:ROWS]
    moved = np.dot(step, blocks.reshape(5, -1))
    np.add(moved.reshape(blocks.shape), noise, out=blocks)


def correct(table: Array, measured: Array, noise: Array, weight: Array) -> None:
    """Take one measurement for each box, in place.

    Args:
        table: Filter rows first, shape (ROWS or more, n), C order.
        measured: Measured positions, shape (4, n); any finite number where `weight` is 0.
        noise: Variance of a measurement, broadcast to (4, n).
        weight: 1 where a box was measured and 0 where not, shape (n,).
    """
    mean, covariance = table[:16].reshape(2, 2, 4, -1)
    pxx, pxv = covariance
    gain = covariance * (weight / (pxx + noise))
    mean += gain * (measured - mean[0])
    gain_x, gain_v = gain
    table[PVV] -= gain_v * pxv
    covariance -= gain_x * covariance
