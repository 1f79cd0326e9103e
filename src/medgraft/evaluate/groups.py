"""What is said of a patient, from what was said of each of the patient's images."""

from __future__ import annotations

import dataclasses

import numpy as np

from medgraft.types import Floats, Operating, Predictions


def by_group(predictions: Predictions) -> Predictions:
    """One row a group: the mean of its images' probabilities and scores, for results by patient.

    Nothing is decided about groups whose images have different labels (or splits): they
    give one row for each, which keeps their group, so that intervals still know they belong
    together. Ids become the group's name, with label and split where that is not unique.
    """
    p = predictions
    keys = np.array([p.groups, p.y_true.astype(str), p.splits])
    _, first, index, count = np.unique(
        keys, axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    index = index.ravel()

    def mean(columns: Floats) -> Floats:
        sums = np.zeros((len(count), columns.shape[1]))
        np.add.at(sums, index, columns)
        return sums / count[:, None]

    groups = p.groups[first]
    _, inverse, times = np.unique(groups, return_inverse=True, return_counts=True)
    names = np.array(p.classes)[p.y_true[first]]
    full = [
        f"{group} {name} {split}".rstrip()
        for group, name, split in zip(groups, names, p.splits[first], strict=True)
    ]
    return Predictions(
        scenario=p.scenario,
        classes=p.classes,
        positive=p.positive,
        ids=np.where(times[inverse] > 1, full, groups),
        groups=groups,
        splits=p.splits[first],
        fold=p.fold[first],
        y_true=p.y_true[first],
        scores=mean(p.scores),
        y_prob=mean(p.y_prob),
    )


def operating_of_groups(operating: Operating) -> Operating:
    """The operating point by which the rows of `by_group` are labelled."""
    if operating.by_group is None:
        return operating
    return dataclasses.replace(operating, threshold=operating.by_group, by_group=None)
