"""How scenarios that were judged already are joined, out of fold and for use.

What joins them for fold k is fitted on what models said that had seen neither fold k nor the image
(`Probabilities.without`), and so is its calibrator; what joins them in use, on out-of-fold
probabilities under the strengths that are deployed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.learn.out_of_fold import OutOfFold, Probabilities
from medgraft.learn.stacking import Stack, fit_stack, log, log_mean, stacked
from medgraft.types import Floats, Ints

COMBINE = ("mean", "stack")


def cross_combine(
    how: str, members: Sequence[Probabilities], y: Ints, fold: Ints
) -> tuple[OutOfFold, Stack | None]:
    """Scores of members joined by their probabilities, and the stack of all images.

    how : `mean`, which fits nothing, or `stack`, whose weights for fold k the other folds choose.
    y : (n,) true classes. fold : (n,) the fold that judged each image, the same for all members.

    Raises
    ------
    FitError
        As `fit_stack`.
    """
    shape, n_folds = members[0].unchanged.shape, int(fold.max()) + 1
    scores, inner = np.empty(shape), np.full((n_folds, *shape), np.nan)
    changed = [member.changed for member in members if member.changed is not None]
    in_view = np.empty(shape) if len(changed) == len(members) else None
    final, joined = [member.final for member in members], np.empty(shape)
    for k in range(n_folds):
        here = fold == k
        others = [member.without(k)[~here] for member in members]
        stack = _fitted(how, others, y[~here])
        inner[k][~here] = _join(others, stack)
        scores[here] = _join([member.unchanged[here] for member in members], stack)
        if in_view is not None:
            in_view[here] = _join([prob[here] for prob in changed], stack)
        # What calibrates the stack in use is by weights that the image had no part in.
        weighed = _fitted(how, [prob[~here] for prob in final], y[~here])
        joined[here] = _join([prob[here] for prob in final], weighed)
    return OutOfFold(scores, inner, joined, in_view), _fitted(how, final, y)


def _fitted(how: str, prob: Sequence[Floats], y: Ints) -> Stack | None:
    return fit_stack([log(p) for p in prob], y) if how == "stack" else None


def _join(prob: Sequence[Floats], stack: Stack | None) -> Floats:
    return log_mean(prob) if stack is None else stacked(prob, stack)
