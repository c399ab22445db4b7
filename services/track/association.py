"""The heaviest one-to-one matching of a sparse set of candidate pairs."""

import lap
import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Array = NDArray[np.float64]


def match(rows: Index, cols: Index, weights: Array, shape: tuple[int, int]) -> tuple[Index, Index, Array]:
    """Choose pairs so that no row or column is used twice and the sum of weights is largest.

    A pair that outweighs all pairs it excludes together belongs to the heaviest matching whatever the others do. In a
    frame of faces that settles nearly all of them, and the solver sees the few that are left.

    Args:
        rows: Row of each candidate pair, shape (pairs,).
        cols: Column of each candidate pair, shape (pairs,).
        weights: Weight of each candidate pair, positive, shape (pairs,).
        shape: Number of rows and columns.

    Returns:
        Row, column and weight of each chosen pair.

    Source:
        Jonker and Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment
        Problems", Computing 1987 (the solver).
    """
    n, m = shape
    rivals = np.bincount(rows, weights, n).take(rows) + np.bincount(cols, weights, m).take(cols)
    sure = 3.0 * weights > rivals  # w > (row sum - w) + (column sum - w)
    free = (np.bincount(rows, sure, n).take(rows) + np.bincount(cols, sure, m).take(cols) == 0.0).nonzero()[0]
    sure_rows, sure_cols, sure_weights = rows[sure], cols[sure], weights[sure]
    if not len(free):
        return sure_rows, sure_cols, sure_weights
    r, c, w = _solve(rows[free], cols[free], weights[free])
    return np.concatenate((sure_rows, r)), np.concatenate((sure_cols, c)), np.concatenate((sure_weights, w))


def _solve(rows: Index, cols: Index, weights: Array) -> tuple[Index, Index, Array]:
    """The same for pairs that do depend on each other, by the dense solver on the rows and columns they touch."""
    row_of, col_of = np.bincount(rows).nonzero()[0], np.bincount(cols).nonzero()[0]
    i, j = row_of.searchsorted(rows), col_of.searchsorted(cols)
    dense = np.zeros((len(row_of), len(col_of)))
    dense[i, j] = weights
    if dense.shape == (2, 2):  # two faces that cross: most of what comes here, and 15 us for the solver
        straight = dense[0, 0] + dense[1, 1] >= dense[0, 1] + dense[1, 0]
        chosen = np.array([0, 1] if straight else [1, 0])
    else:
        chosen = lap.lapjv(-dense, extend_cost=True)[1]
    r = (chosen >= 0).nonzero()[0]
    c = chosen[r]
    w = dense[r, c]
    real = w > 0.0
    return row_of[r[real]], col_of[c[real]], w[real]
