"""Box layouts and their overlap, for boxes stored one per column, and which detections are boxes at all."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LIMIT: Final = 1e7  # px and score; beyond it areas lose the digits that the filter needs
MIN_SIDE_PX: Final = 1e-3  # thinner boxes have aspect ratios that swamp the filter
LIKE_AREA: Final = 0.8  # natural logarithm of the ratio of two areas that may be one face


def usable(detections: Array) -> Index | None:
    """Columns that hold a finite box with an area and a finite score; None stands for all of them.

    Args:
        detections: Shape (5, n): box xyxy in pixels, score.
    """
    if not detections.shape[1]:
        return None
    if np.vdot(detections, detections) < LIMIT * LIMIT:  # NaN compares false
        wide = detections[2:4] - detections[:2] > MIN_SIDE_PX
        if np.count_nonzero(wide) == wide.size:
            return None
    near = np.abs(detections) < LIMIT
    calm = np.where(near, detections, 0.0)
    return np.flatnonzero(near.all(axis=0) & (calm[2:4] - calm[:2] > MIN_SIDE_PX).all(axis=0))


def to_cxcysr(xyxy: Array) -> Array:
    """Centre, area and aspect ratio (width over height), shape (4, n), of boxes xyxy, shape (4, n)."""
    out = np.empty_like(xyxy)
    low = xyxy[:2]
    side = xyxy[2:4] - low
    wide, high = side
    np.multiply(wide, high, out[2])
    np.divide(wide, high, out[3])
    side *= 0.5
    np.add(low, side, out[:2])
    return out


def from_cxcysr(cxcysr: Array) -> Array:
    """The inverse of `to_cxcysr`; rows after the fourth are not looked at."""
    out = np.empty((4, cxcysr.shape[1]))
    centre, half = cxcysr[:2], out[2:]
    wide, high = half
    np.sqrt(cxcysr[2] * cxcysr[3], wide)
    np.divide(cxcysr[2], wide, high)
    half *= 0.5
    np.subtract(centre, half, out[:2])
    half += centre
    return out


def overlaps(a: Array, area_a: Array, b: Array, area_b: Array) -> tuple[Index, Index, Array]:
    """Pairs of boxes that overlap, and their intersection over union.

    Only pairs that overlap are computed: of 200 x 200 boxes that is about one in a hundred. Nor is there ever an array
    of numbers of all pairs, which would come from the kernel page by page, every time.

    Args:
        a: Boxes, shape (4, n), xyxy in pixels.
        area_a: Their areas, shape (n,).
        b: Boxes, shape (4, m), same convention.
        area_b: Their areas, shape (m,).

    Returns:
        Columns of `a`, columns of `b`, and IoU in (0, 1], each of shape (pairs,), ordered by column of `a`.

    Source:
        Everingham et al., "The PASCAL VOC Challenge", IJCV 2010, eq. 4.
    """
    touch = (a[:2, :, None] < b[2:, None]) & (b[:2, None] < a[2:, :, None])
    flat: Index = (touch[0] & touch[1]).ravel().nonzero()[0]  # 10 times faster than in 2-D
    i = flat // max(b.shape[1], 1)
    j = flat - i * b.shape[1]
    p: Array = a.take(i, 1)
    q: Array = b.take(j, 1)
    side = np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2])
    inter = side[0] * side[1]
    return i, j, inter / (area_a.take(i) + area_b.take(j) - inter)


def to_cxcywh(xyxy: Array) -> Array:
    """Centre and sides, shape (4, n), of boxes xyxy, shape (4, n)."""
    out = np.empty_like(xyxy)
    np.subtract(xyxy[2:4], xyxy[:2], out=out[2:])
    np.add(xyxy[2:4], xyxy[:2], out=out[:2])
    out[:2] *= 0.5
    return out


def from_cxcywh(cxcywh: Array) -> Array:
    """The inverse of `to_cxcywh`; rows after the fourth are not looked at."""
    out = np.empty((4, cxcywh.shape[1]))
    half = cxcywh[2:4] * 0.5
    np.subtract(cxcywh[:2], half, out=out[:2])
    np.add(cxcywh[:2], half, out=out[2:])
    return out


def distances(a: Array, seen: Array, reach: Array, b: Array) -> tuple[Index, Index, Array]:
    """Pairs of boxes of like size whose centres are in reach, and the distance in reaches.

    Args:
        a: Boxes, shape (4 or more, n), cxcywh in pixels.
        seen: A second place where each box of `a` may be, shape (2, n); the nearer one counts.
        reach: Half axes of the ellipse around each box of `a`, shape (2, n), px.
        b: Boxes, shape (4, m), cxcywh in pixels.

    Returns:
        Columns of `a`, columns of `b`, and distance in [0, 1), each of shape (pairs,), ordered by column of `a`.
    """
    away = np.hypot(*((a[:2, :, None] - b[:2, None, :]) / reach[:, :, None]))
    away = np.minimum(away, np.hypot(*((seen[:, :, None] - b[:2, None, :]) / reach[:, :, None])))
    area = np.log(a[2] * a[3])[:, None] - np.log(b[2] * b[3])
    i, j = ((away < 1.0) & (np.abs(area) < LIKE_AREA)).nonzero()
    return i, j, away[i, j]
