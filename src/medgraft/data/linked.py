"""Which things belong together, where some are linked with others over any number of steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.types import Ints


def linked(n: int, pairs: Ints) -> Ints:
    """(n,) the number of the set that each of n things is in; pairs (m, 2) of things are linked.

    >>> linked(4, np.array([[0, 2], [2, 3]])).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def linked_by(*columns: Sequence[str]) -> Ints:
    """(n,) the number of the set that each row is in; rows that share a value of a column are
    linked, but by ''.

    >>> linked_by(["p1", "p1", "", ""], ["s1", "s2", "s2", ""]).tolist()
    [0, 0, 0, 1]
    """
    pairs = []
    for column in columns:
        first: dict[str, int] = {}
        pairs += [(first.setdefault(value, row), row) for row, value in enumerate(column) if value]
    return linked(len(columns[0]), np.array(pairs, np.int64).reshape(-1, 2))
