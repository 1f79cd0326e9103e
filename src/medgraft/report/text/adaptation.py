"""What unlabelled images of another place say of a classifier there, in words."""

from __future__ import annotations

from collections.abc import Iterator

from medgraft.evaluate.unlabelled import OFF, OFF_AT_WORST
from medgraft.report.text.formatting import count, number, percent, plural
from medgraft.results.adaptation import Adaptation
from medgraft.types import Estimate

MOST_CLASSES = 3  # whose shares are named


def lines(found: Adaptation, out: str = "") -> list[str]:
    """A few sentences, a line each; out : where a classifier was written."""
    return [
        *_ignored(found),
        _images(found),
        _accuracy(found),
        _shares(found),
        *_threshold(found),
        _end(found, out),
    ]


def _ignored(found: Adaptation) -> Iterator[str]:
    if found.labelled:
        yield (
            f"{plural(found.labelled, 'image')} came with a label; labels are not looked at here "
            "(medgraft evaluate does)."
        )


def _images(found: Adaptation) -> str:
    """Whether they look like those learned from."""
    said = {
        "same place": "look like those learned from",
        "other mix": "look like those learned from, and seem to be of another mix of classes",
        "other look": "look different, so figures measured elsewhere need not hold here",
    }[found.verdict]
    told = "too few patients to try whether they can be told apart"
    if found.shift is not None:
        low, high = number(found.shift.low), number(found.shift.high)
        told = f"told apart: AUROC {number(found.shift.value)}, {low} to {high}"
    return (
        f"{plural(found.n, 'image')} {said} ({told}); {_share(found.unlike)} are unlike nearly all "
        "learned from, 5 % is usual."
    )


def _accuracy(found: Adaptation) -> str:
    """What is expected of labels, and how little that is worth."""
    off = ""
    if found.verdict == "other look":
        often, seldom = f"{100 * OFF:.0f}", f"{100 * OFF_AT_WORST:.0f}"
        off = f", which may well miss by {often} points, and one in ten by {seldom}"
    return (
        f"Right labels: {_share(found.out_of_fold)} out of fold; guessed for here "
        f"{_share(found.atc)} by ATC, {_share(found.doc)} by DoC{off}."
    )


def _shares(found: Adaptation) -> str:
    """The class shares that these images seem to have."""
    most = sorted(found.shares, key=lambda one: -abs(one.here.value - one.learned))
    most = most[: 1 if len(most) == 2 else MOST_CLASSES]
    named = [f"{one.name} {_share(one.here)}, learned {percent(one.learned)}" for one in most]
    doubt = {
        "same place": "no sure difference",
        "other mix": "another mix, if nothing else changed",
        "other look": "not to be believed where the look changed",
    }[found.verdict]
    return f"Classes by EM: {'; '.join(named)}: {doubt}."


def _threshold(found: Adaptation) -> Iterator[str]:
    if found.operating is not None and found.threshold is not None:
        after = found.threshold.operating
        if after.threshold == found.operating.threshold:
            yield f"Threshold: {number(after.threshold)}, as before."
            return
        changed = count(found.threshold.changed)
        yield (
            f"Threshold: {number(found.operating.threshold)}, here {number(after.threshold)} "
            f"({after.rule}); {changed} of {plural(found.n, 'label')} would change."
        )


def _end(found: Adaptation, out: str) -> str:
    if found.written:
        return f"Written: {out}. Judge it on labelled images before it is used: medgraft evaluate."
    if found.verdict == "same place":
        return "Nothing to adapt: use the model as it is."
    if found.verdict == "other mix":
        return (
            "A mix alone moves no threshold: nothing to adapt but the probabilities, with "
            "--class-shares (estimate, or as you know them) and --out DIR."
        )
    return (
        "Nothing was changed; --out DIR writes a model set so. Better: say how common the classes "
        "are (--class-shares), or judge on labelled images (medgraft evaluate)."
    )


def _share(one: Estimate) -> str:
    """A share with its interval, in percent.

    >>> _share(Estimate(0.947, 0.922, 0.966, 300, "Wilson"))
    '94.7 % (92.2 to 96.6)'
    """
    low, high = (percent(end).removesuffix(" %") for end in (one.low, one.high))
    return f"{percent(one.value)} ({low} to {high})"
