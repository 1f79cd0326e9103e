"""What is odd about several findings: two that say the same, or the opposite."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from medgraft.panel import ABSENT, PRESENT, Marks
from medgraft.types import Finding

LEAST = 10  # images in which both are known, to say anything


def related_findings(names: tuple[str, ...], marks: Marks) -> list[Finding]:
    """A warning for each two findings that are always alike, or never, where both are known.

    Parameters
    ----------
    names : (k,). marks : (n, k).
    """
    found = []
    for i, j in combinations(range(len(names)), 2):
        a, b = marks[:, i], marks[:, j]
        known = np.isin(a, (ABSENT, PRESENT)) & np.isin(b, (ABSENT, PRESENT))
        if known.sum() < LEAST or len(np.unique(a[known])) < 2:
            continue
        same = a[known] == b[known]
        if same.all() or not same.any():
            said = "say the same" if same.all() else "say the opposite"
            text = f"'{names[i]}' and '{names[j]}' {said} in all {known.sum():,} images of both."
            remedy = f"One question is enough: --leave-out '{names[j]}'."
            numbers = {"n": int(known.sum())}
            found.append(Finding("related_findings", "warn", text, numbers, remedy=remedy))
    return found
