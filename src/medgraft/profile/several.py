"""The checks of `profile.py` where images have several findings.

What concerns the images is looked at once; what concerns a label, for each finding's own question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Panel
from medgraft.profile import labels
from medgraft.profile.group_similarity import numbering_or_leakage
from medgraft.profile.leakage import groups_across_splits, identical_files
from medgraft.profile.metadata import Properties, metadata_probe, read_properties, varying
from medgraft.profile.profile import (
    ProfileInputs,
    class_shares,
    examine_pictures,
    small_classes,
    small_test,
    val_joins,
)
from medgraft.profile.shift import train_test_shift
from medgraft.profile.suggestions import one_each
from medgraft.results.data import OF, Checked
from medgraft.types import Finding, ImageTable, Predictions, gravest_first

INSTEAD = "Add images of it, or name the other findings alone: --finding-columns A,B,C."
OF_CLASSES = ("absent_class", "untested_class")  # whose remedy is `INSTEAD`


def by_marks(panel: Panel) -> ImageTable:
    """The images with all that is marked in each as its label; what is not known has a `?`."""
    rows, label_of = np.unique(panel.truth, axis=0, return_inverse=True)
    names = [", ".join(_marked(panel.names, row.tolist())) or "no finding" for row in rows]
    return replace(panel.images, labels=label_of.reshape(-1).astype(np.int64), classes=tuple(names))


def _marked(names: tuple[str, ...], row: list[int]) -> Iterator[str]:
    for name, mark in zip(names, row, strict=True):
        if mark != ABSENT:
            yield name if mark == PRESENT else f"{name}?"


def examine_panel(
    panel: Panel,
    evidence: ProfileInputs,
    oof: Mapping[str, Predictions],
    *,
    seed: int = 0,
) -> Checked:
    """Run all checks of images with several findings.

    Parameters
    ----------
    evidence : of the panel's images; its `oof` is not looked at.
    oof : by finding, where there are any: out-of-fold predictions of its question.

    Raises
    ------
    DataError
        `evidence.codes` holds no development image of the panel.
    LeakError
        `oof` holds test images.
    """
    marked = by_marks(panel)
    alike = replace(marked, labels=np.zeros(len(marked), np.int64), classes=("image",))
    findings = [
        *groups_across_splits(marked),
        *numbering_or_leakage(alike, evidence.codes, seed),
        *identical_files(marked),
        *small_test(marked),
        *val_joins(marked),
    ]
    seen, suggestions = examine_pictures(marked, evidence, seed)
    findings += seen
    if evidence.codes is not None:
        findings += train_test_shift(alike, evidence.codes, seed)
    properties = read_properties(panel.images, evidence.image_stats)
    for name in panel.names:
        findings += _of_question(panel, name, properties, oof.get(name), seed)
    each = "its size, its share in the test split, files that tell it" + ", labels" * bool(oof)
    text = f"Of each finding was checked: {each}. What is not named above drew no warning."
    findings.append(Finding("each_finding", "info", text))
    if unchecked := [name for name in panel.names if name not in oof]:
        text = f"Not checked: wrong labels of {', '.join(unchecked)} ({evidence.no_oof})."
        findings.append(Finding("not_checked", "info", text))
    return Checked(tuple(gravest_first(findings)), one_each(suggestions))


def _of_question(
    panel: Panel, name: str, properties: Properties, oof: Predictions | None, seed: int
) -> Iterator[Finding]:
    """What is grave about one finding, whose name is among the numbers of each."""
    question = panel.question(name)
    known = panel.truth[:, panel.names.index(name)] != UNKNOWN
    own = varying({of: values[known] for of, values in properties.items()})
    found = [*small_classes(question), *class_shares(question)]
    if not any(one.check == "absent_class" for one in found):
        found += metadata_probe(question, own, seed)
    if oof is not None:
        found += labels.wrong_labels(oof, labels.search(oof))
    for one in found:
        if one.severity != "info":
            remedy = INSTEAD if one.check in OF_CLASSES else one.remedy
            yield replace(one, numbers={**one.numbers, OF: name}, remedy=remedy)
