"""What a saved classifier learned from, and whether these images are among it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.bundle.archive import INDEX
from medgraft.features.extract import Extractor
from medgraft.profile.reference import Reference
from medgraft.profile.traces import Traces
from medgraft.runs.find import load_object
from medgraft.scenario import DEFAULT_METRIC
from medgraft.studies.store import LearnedFrom, read_learned_from
from medgraft.types import FittedScenario, ImageTable, SeenBefore


def learned_from(folder: Path, fitted: FittedScenario) -> LearnedFrom:
    """What the classifier in a bundle learned from.

    By its study's folder; apart from it only how many images of each class, by its reference.

    Raises
    ------
    BundleError
        A file is damaged.
    """
    found = LearnedFrom(_metric_beside(folder))
    if card_of(folder) is None:  # one that was adapted lies beside other runs, if any
        found = read_learned_from(folder.absolute().parent, fitted.scenario.key)
    if not found.by_class and (reference := Reference.read(folder)):
        counts = dict(zip(fitted.classes, reference.counts.tolist(), strict=True))
        found = dataclasses.replace(found, by_class=counts)
    return found


def _metric_beside(folder: Path) -> str:
    """What its study chose by, where an archive was unpacked to this folder and says so."""
    return str(load_object(folder.parent / INDEX).get("metric") or DEFAULT_METRIC)


def shares_behind(folder: Path, learned: LearnedFrom) -> Mapping[str, float]:
    """How common each class is where the probabilities of a bundle's classifier are right.

    In any unit: images learned from, or the shares that it was adapted to. Empty if not known.
    """
    card = card_of(folder)
    adapted: Mapping[str, float] | None = card and card["class_shares"]
    return learned.by_class if adapted is None else adapted


def card_of(folder: Path) -> dict[str, Any] | None:
    """What a bundle that can be loaded says of its having been adapted to a place, if it was."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    card: dict[str, Any] | None = content.get("adapted")
    return card


def recognise(
    folder: Path, known: LearnedFrom, table: ImageTable, extractor: Extractor
) -> tuple[NDArray[np.bool_], SeenBefore]:
    """Which of a table's images the classifier in a bundle surely learned from.

    By the traces that the bundle keeps of them. Names and patients are counted only: other people
    may bear the same ones.

    known : what its study's folder says of it.

    Returns
    -------
    tuple
        (n,) which of them, and the counts.

    Raises
    ------
    BundleError
        The traces are damaged.
    """
    traces = Traces.read(folder)
    nothing = np.zeros(len(table), bool)
    same_file, same_picture = traces.meet(table, extractor) if traces else (nothing, nothing)
    certain = same_file | same_picture
    patients = np.isin(table.groups, list(known.patients)) & (table.groups != table.ids)
    counted = SeenBefore(
        n=len(table),
        same_file=int(same_file.sum()) if traces else None,
        same_picture=int(same_picture.sum()) if traces else None,
        same_name=int(np.isin(table.ids, list(known.ids)).sum()) if known.ids else None,
        same_patient=int((patients & ~certain).sum()) if known.ids else None,
    )
    return certain, counted
