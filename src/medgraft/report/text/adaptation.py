"""What unlabelled images of another place say of a classifier there, in words."""

from __future__ import annotations

from collections.abc import Iterator

from medgraft.evaluate.unlabelled import OFF, OFF_AT_WORST
from medgraft.report.text.formatting import count, join, number, percent, plural
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
        labels = plural(found.labelled, "image")
        yield (
            f"{labels} came with a label; labels are not looked at here. To measure how the model "
            "does on them: medgraft evaluate."
        )


def _images(found: Adaptation) -> str:
    """Whether they look like those learned from."""
    told = "could not be tried for so few patients"
    if found.shift is not None and found.p is not None:
        told = f"AUROC {_between(found.shift)}, chance {found.p:.3f}"
    unlike = f"{_percent(found.unlike)} are unlike nearly all it learned from, where 5 % would be"
    said = {
        "same place": "look like those learned from",
        "other mix": "look like those learned from, but classes seem to be mixed otherwise",
        "other look": "look different from those learned from, so figures measured there need not "
        "hold here",
    }[found.verdict]
    return f"{plural(found.n, 'image')} {said} (told apart: {told}; {unlike})."


def _accuracy(found: Adaptation) -> str:
    """What is expected of labels, and how little that is worth."""
    return (
        f"Right labels: {_percent(found.out_of_fold)} out of fold; here perhaps "
        f"{_percent(found.atc)} by ATC, {_percent(found.doc)} by DoC. These are guesses from how "
        f"sure the model is: where labels were known they were off by {100 * OFF:.0f} points in "
        f"the middle and by {100 * OFF_AT_WORST:.0f} in one of ten."
    )


def _shares(found: Adaptation) -> str:
    largest = sorted(found.shares, key=lambda one: -abs(one.here.value - one.learned))
    named = [
        f"{one.name} {_percent(one.here)}, learned {percent(one.learned)}"
        for one in largest[: 1 if len(largest) == 2 else MOST_CLASSES]
    ]
    sure = "surely other shares" if found.verdict == "other mix" else "by EM"
    only = "if only the mix of classes changed"
    return f"Classes: {join(named, 'and')} ({sure}, {only})."


def _threshold(found: Adaptation) -> Iterator[str]:
    if found.operating is not None and found.threshold is not None:
        after = found.threshold.operating
        yield (
            f"Threshold: {found.operating.threshold:.3f}; here {after.threshold:.3f} ({after.rule})"
            f", which changes {count(found.threshold.changed)} of {plural(found.n, 'label')}."
        )


def _end(found: Adaptation, out: str) -> str:
    if found.written:
        probabilities = ", its probabilities for these class shares" if found.prior else ""
        return f"Written: {out}{probabilities}. Judge it on labelled images before use."
    if found.verdict == "same place":
        return "Nothing to adapt: use the model as it is."
    return (
        "Nothing was changed. --out DIR writes a model with that threshold; a hundred labelled "
        "images say more than all of this (medgraft evaluate)."
    )


def _between(one: Estimate) -> str:
    return f"{number(one.value)} ({number(one.low)} to {number(one.high)})"


def _percent(one: Estimate) -> str:
    return f"{percent(one.value)} ({percent(one.low)} to {percent(one.high)})"
