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
    by_row = np.bincount(rows, weights, shape[0])[rows]
    by_col = np.bincount(cols, weights, shape[1])[cols]
    sure = 3.0 * weights > by_row + by_col  # w > (row sum - w) + (column sum - w)
    if sure.all():
        return rows, cols, weights
    used_row, used_col = np.zeros(shape[0], np.bool_), np.zeros(shape[1], np.bool_)
    used_row[rows[sure]] = True
    used_col[cols[sure]] = True
    rest = ~(used_row[rows] | used_col[cols])
    if not rest.any():
        return rows[sure], cols[sure], weights[sure]
    r, c, w = _solve(rows[rest], cols[rest], weights[rest])
    return (
        np.concatenate((rows[sure], r)),
        np.concatenate((cols[sure], c)),
        np.concatenate((weights[sure], w)),
    )


def _solve(rows: Index, cols: Index, weights: Array) -> tuple[Index, Index, Array]:
    """The same for pairs that do depend on each other, by the dense solver on the rows and columns they touch."""
    row_of, col_of = np.bincount(rows).nonzero()[0], np.bincount(cols).nonzero()[0]
    i, j = row_of.searchsorted(rows), col_of.searchsorted(cols)
    dense = np.zeros((len(row_of), len(col_of)))
    dense[i, j] = weights
    _, chosen, _ = lap.lapjv(-dense, extend_cost=True)
    r = (chosen >= 0).nonzero()[0]
    c = chosen[r]
    w = dense[r, c]
    real = w > 0.0
    return row_of[r[real]], col_of[c[real]], w[real]
