"""Has a saved classifier learned from the images that it is to be judged on?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgraft.features.extract import Extractor
from medgraft.profile.traces import Traces
from medgraft.studies.store import LearnedFrom
from medgraft.types import ImageTable, SeenBefore


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
