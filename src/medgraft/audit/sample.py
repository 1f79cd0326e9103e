"""A few of the audited images, for the looks that need not be taken at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medgraft.audit.parts import Part
from medgraft.types import Ints


def balanced_sample(labels: Ints, n: int, seed: int = 0) -> Ints:
    """Rows of n images at most, in order: a seeded draw, classes in equal shares as far as they go.

    labels : (n_images,).
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(order), np.int64)  # of each image among those of its class
    for k in np.unique(labels):
        here = labels[order] == k
        place[here] = np.arange(here.sum())
    return np.sort(order[np.argsort(place, kind="stable")[:n]])


def sampled(parts: Sequence[Part], n: int, seed: int = 0) -> tuple[Part, ...]:
    """The parts with n images together at most, a seeded draw, classes in equal shares.

    Parts that no image was drawn from are left out.
    """
    chosen = balanced_sample(np.concatenate([part.table.labels for part in parts]), n, seed)
    found, first = [], 0
    for part in parts:
        mine = (chosen >= first) & (chosen < first + len(part.table))
        rows = chosen[mine] - first
        first += len(part.table)
        if len(rows):
            found.append(
                replace(
                    part,
                    table=part.table.select(rows),
                    canvases=tuple(part.canvases[i] for i in rows),
                    masks=None if part.masks is None else part.masks[rows],
                    said=part.said.select(rows),
                )
            )
    return tuple(found)
