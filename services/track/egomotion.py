"""The shift of the whole picture, told by the faces themselves: the one that most of them agree on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FACES: Final = 16  # more tracks vote no better, and the time grows with the square
FAR: Final = 4.0  # sides; a shift beyond it is not believed
AGREE: Final = 0.25  # sides; how near two shifts are that agree
LEAST_VOTES: Final = 3
LEAST_SHIFT: Final = 0.2  # sides; below it overlap finds the faces anyway


def shift(tracks: Array, boxes: Array) -> Array | None:
    """The shift from predicted to detected places on which at least half of the tracks agree.

    Args:
        tracks: Predicted boxes, shape (4, n), cxcywh in pixels.
        boxes: Detected boxes, shape (4, m), same convention.

    Returns:
        Shift in pixels, shape (2, 1); None where there is no such shift or none that matters.

    Source:
        A vote over all pairs, as in Ballard, "Generalizing the Hough Transform", 1981; what for is section 3.2 of
        Aharon et al. 2022, arXiv:2206.14651, which finds it in the pixels.
    """
    tracks = tracks[:, :FACES]
    n, m = tracks.shape[1], boxes.shape[1]
    if min(n, m) < LEAST_VOTES:
        return None
    boxes = boxes[:, np.lexsort(boxes)]  # the vote must not depend on the order of the detections
    move = boxes[:2, None, :] - tracks[:2, :, None]
    side = np.median(np.sqrt(tracks[2] * tracks[3]))
    area = np.abs(np.log(tracks[2] * tracks[3])[:, None] - np.log(boxes[2] * boxes[3]))
    i, j = ((np.abs(move).max(axis=0) < FAR * side) & (area < 0.5)).nonzero()
    if not len(i):
        return None
    moves = move[:, i, j]
    agree = (np.abs(moves[:, :, None] - moves[:, None, :]).max(axis=0) < AGREE * side).sum(axis=1)
    best = int(agree.argmax())
    still = (np.abs(moves).max(axis=0) < AGREE * side).sum()
    if agree[best] < max(LEAST_VOTES, 0.5 * min(n, m), 2 * still):
        return None
    chosen = np.abs(moves - moves[:, best : best + 1]).max(axis=0) < AGREE * side
    found: Array = np.median(moves[:, chosen], axis=1, keepdims=True)
    return found if np.abs(found).max() > LEAST_SHIFT * side else None
