"""What the mean of several networks would score, from networks that answered one at a time.

Out of fold an image is judged by the networks of its fold alone; in use the networks of all folds
answer together, and what differs from one to the next by chance is averaged away. So the scores of
the mean lie closer to those of their class, and a calibrator fitted on single networks' scores is
too timid for it. How much is averaged away can be measured without one more training: an image that
another fold's network held out to stop by was learned from by neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.types import Floats, Ints

FEWEST = 20  # images that two networks or more have not learned from, to measure chance by
LEAST = 0.25  # of the variance within classes that is left at least


def variance_between(unseen: Sequence[tuple[Ints, Floats]], n: int) -> float:
    """The variance of a network's scores about the mean of many such networks.

    Parameters
    ----------
    unseen
        Of each network the rows (m,) of images it has not learned from, and their scores
        (m, n_classes). Summed over classes, once each image's scores sum to 0.
    n : the number of images.

    Returns
    -------
    float
        0 where fewer than `FEWEST` images were scored by two networks or more.
    """
    count = np.zeros(n)
    total = np.zeros((n, unseen[0][1].shape[1]))
    squares = np.zeros(n)
    for rows, scores in unseen:
        centred = scores - scores.mean(axis=1, keepdims=True)
        count[rows] += 1
        total[rows] += centred
        squares[rows] += np.square(centred).sum(axis=1)
    several = count >= 2
    if several.sum() < FEWEST:
        return 0.0
    about = squares[several] - np.square(total[several]).sum(axis=1) / count[several]
    return float(about.sum() / (count[several] - 1).sum())


def mean_of_unseen(unseen: Sequence[tuple[Ints, Floats]], n: int) -> Floats:
    """The mean score (n, n_classes) of each image over the networks that have not learned from it.

    Parameters as of `variance_between`; every image was scored by one network or more.
    """
    count = np.zeros((n, 1))
    total = np.zeros((n, unseen[0][1].shape[1]))
    for rows, scores in unseen:
        count[rows] += 1
        total[rows] += scores
    return np.asarray(total / count)


def as_mean_of(scores: Floats, y: Ints, variance: float, judged: int, deployed: int) -> Floats:
    """Scores of n images as the mean of `deployed` networks would spread, from means of `judged`.

    Every score moves towards the mean of its class, or away from it, by one factor for all, so that
    the variance within classes is what it would be. For normal scores of one variance a calibrator
    fitted on them is then that of the mean of the networks. It looks at `y`: only to calibrate.

    Parameters
    ----------
    scores : (n, n_classes), out of fold. y : (n,) true class. variance : of `variance_between`.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    classes = np.unique(y)
    middle = np.zeros_like(centred)
    for k in classes:
        middle[y == k] = centred[y == k].mean(axis=0)
    own = centred - middle
    within = float(np.square(own).sum()) / max(1, len(y) - len(classes))
    if within <= 0:
        return scores
    left = 1 - variance * (1 / judged - 1 / deployed) / within
    return np.asarray(scores + (np.sqrt(max(left, LEAST)) - 1) * own)
