"""What a model's raw numbers mean: told from its answers to real images, or asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.evaluate.intervals import wilson
from medgraft.results.foreign_model import OutputKind
from medgraft.types import Floats, Ints

SUM = 1e-3  # by which rows of probabilities may miss 1, for files round
SURELY = 1e-4  # p below which the classes stand in another order than was assumed


def check_columns(raw: Floats, classes: Sequence[str], name: str, given: bool) -> None:
    """There is a number for each class, or one for two.

    Raises
    ------
    ForeignModelError
        There is another number of them.
    """
    k, n_classes = raw.shape[1], len(classes)
    if k == n_classes or (k == 1 and n_classes == 2):
        return
    whose = "--classes names" if given else "the data has"
    raise ForeignModelError(
        f"{name} answers {k} numbers for an image, and {whose} {n_classes} classes "
        f"({', '.join(classes)}); pass --classes with a name for each of its {k} outputs, in their "
        "order"
    )


def kind_of_outputs(raw: Floats, name: str) -> OutputKind:
    """Whether numbers (n, k) are probabilities or logits, by their values.

    Probabilities lie in 0..1 and sum to 1; one number alone is taken for one where all lie in 0..1
    and on both sides of a half, for logits there would call every image the same. Log
    probabilities are logits, too: their softmax gives them back.

    Raises
    ------
    AmbiguousModelError
        The values do not tell.
    ForeignModelError
        They are neither, such as percents.
    """
    low, high = float(raw.min()), float(raw.max())
    sums, k = raw.sum(axis=1), raw.shape[1]
    inside = low >= -SUM and high <= 1 + SUM
    asked = "pass --outputs logits, or --outputs probabilities"
    if k == 1:
        if not inside:
            return "logits"
        if low < 0.5 < high:
            return "probabilities"
        raise AmbiguousModelError(
            f"{name} answers one number for an image, {low:.3g} to {high:.3g} on {len(raw)} "
            f"images: all on one side of a half, as weak logits or lopsided probabilities; {asked}"
        )
    if inside and np.abs(sums - 1).max() <= SUM:
        return "probabilities"
    if inside:
        raise AmbiguousModelError(
            f"{name} answers numbers from 0 to 1 that sum to {sums.min():.3g} to {sums.max():.3g} "
            f"on {len(raw)} images, as weak logits or separate sigmoids; {asked} (rows are then "
            "divided by their sum)"
        )
    if low >= 0 and np.ptp(sums) <= SUM * sums.mean():
        raise ForeignModelError(
            f"{name} answers numbers that always sum to {sums.mean():.4g}, as percents or counts "
            f"would; divide them by {sums.mean():.4g}, or pass --outputs logits if they are logits"
        )
    return "logits"


def log_probabilities(raw: Floats, outputs: str, name: str) -> Floats:
    """(n, n_classes) natural logs of probabilities from numbers (n, k); rows sum to 1 in `exp`.

    One number for two classes is the second one's.

    Raises
    ------
    ForeignModelError
        Probabilities are none.
    """
    if outputs == "logits":
        both = np.concatenate([np.zeros_like(raw), raw], axis=1) if raw.shape[1] == 1 else raw
        logs: Floats = both - np.logaddexp.reduce(both, axis=1, keepdims=True)
        return logs
    if raw.min() < -SUM or raw.max() > 1 + SUM:
        raise ForeignModelError(
            f"{name} answered {raw.min():.4g} to {raw.max():.4g} where probabilities from 0 to 1 "
            "were expected; pass --outputs logits if they are logits"
        )
    p = np.clip(raw, 0, 1)
    p = np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    sums = p.sum(axis=1, keepdims=True)
    if (sums == 0).any():
        raise ForeignModelError(
            f"{name} gave every class the probability 0; it should answer numbers that sum to 1"
        )
    with np.errstate(divide="ignore"):
        found: Floats = np.maximum(np.log(p / sums), np.log(np.finfo(np.float64).tiny))
    return found


def check_order(logs: Floats, labels: Ints, classes: Sequence[str], name: str) -> None:
    """The classes do not surely stand in another order than was assumed.

    logs : (n, n_classes). labels : (n,) of the same images.

    Raises
    ------
    AmbiguousModelError
        Another order fits the labels surely better.
    """
    found = _two(logs, labels) if len(classes) == 2 else _several(logs, labels)
    if found is None:
        return
    order, how = found
    better = ",".join(classes[k] for k in order)
    raise AmbiguousModelError(
        f"nobody said in which order {name} names its classes, and the order of the data does not "
        f"fit its answers ({how}); pass --classes {better} if that is their order, or --classes "
        f"{','.join(classes)} to audit it as it is"
    )


def _two(logs: Floats, labels: Ints) -> tuple[list[int], str] | None:
    """The order of two classes the other way round, where the model ranks surely backwards."""
    from scipy.stats import mannwhitneyu

    first, second = logs[labels == 0, 1], logs[labels == 1, 1]
    if not (len(first) and len(second)):
        return None
    test = mannwhitneyu(second, first, alternative="less")
    area = float(test.statistic) / (len(first) * len(second))
    return ([1, 0], f"AUROC {area:.2f}") if test.pvalue < SURELY else None


def _several(logs: Floats, labels: Ints) -> tuple[list[int], str] | None:
    """The order that fits most labels, where it surely fits more than the one assumed."""
    from scipy.optimize import linear_sum_assignment

    n, said = logs.shape[1], logs.argmax(axis=1)
    counts = np.zeros((n, n), np.int64)  # of what was said, by what is true
    np.add.at(counts, (said, labels), 1)
    _, order = linear_sum_assignment(-counts)
    now, best = int(counts.trace()), int(counts[np.arange(n), order].sum())
    total = len(labels)
    if wilson(best, total).low <= wilson(now, total).high:
        return None
    return [int(k) for k in order], f"{now} of {total} labels are right, and {best} would be"
