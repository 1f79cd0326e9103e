"""Labels in several columns of 0 and 1: one column a class, or one a finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medgraft.data.tables.column_names import describes
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.labels import class_names
from medgraft.errors import DataError
from medgraft.panel import PRESENT, UNKNOWN
from medgraft.types import Finding

WORDS = {"": 0, "false": 0, "true": 1, "no": 0, "yes": 1, "n": 0, "y": 1}


@dataclass(frozen=True, slots=True)
class MarkedRows:
    """What rows say of findings: `names` (k,), and for each row a mark a finding (`panel.py`)."""

    names: tuple[str, ...]
    marks: list[tuple[int, ...]]

    def counts(self, rows: Sequence[int]) -> dict[str, int]:
        """In how many of these rows each finding is there."""
        return {
            name: sum(self.marks[row][at] == PRESENT for row in rows)
            for at, name in enumerate(self.names)
        }


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """The class (n,) of each row, '' where it has none; `columns` gave it, `copies` say the same;
    `empty` are one-hot columns without a row, `others` could be the label too. `marked` where an
    image has several findings and no class: a label then only says that something is known.
    """

    columns: tuple[str, ...]
    labels: list[str]
    copies: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    others: tuple[str, ...] = ()
    marked: MarkedRows | None = None

    def spread(self, rows: Sequence[int], n: int) -> LabelChoice:
        """The same for all `n` rows of a table, of which `rows` were looked at."""
        at = {row: i for i, row in enumerate(rows)}
        labels = [self.labels[at[row]] if row in at else "" for row in range(n)]
        if self.marked is None:
            return replace(self, labels=labels)
        nothing = (UNKNOWN,) * len(self.marked.names)
        marks = [self.marked.marks[at[row]] if row in at else nothing for row in range(n)]
        return replace(self, labels=labels, marked=replace(self.marked, marks=marks))


def one_hot_columns(table: TableFile, rows: Sequence[int], free: Sequence[str]) -> tuple[str, ...]:
    """The longest run of neighbouring columns of 0 and 1 of which every row has a single 1.

    Raises
    ------
    DataError
        There are two such runs.
    """
    columns = [(name, _ones(table, rows, name)) for name in free]
    runs: list[tuple[str, ...]] = []
    start = 0
    while start < len(columns):
        end = start
        total = np.zeros(len(rows), np.int64)
        best = start
        while end < len(columns) and (ones := columns[end][1]) is not None:
            total = total + ones
            end += 1
            if end - start > 1 and len(rows) and (total == 1).all():
                best = end
        names = tuple(name for name, _ in columns[start:best])
        used = [n for n, ones in columns[start:best] if ones is not None and ones.any()]
        if len(used) > 1 and not all(describes(name) for name in names):
            runs.append(names)
        start = max(best, start + 1)
    if len(runs) > 1:
        flags = " or ".join(f"--label-columns '{','.join(run)}'" for run in runs)
        raise DataError(
            f"{table.name} has several runs of columns of which every row has a single 1; pass "
            f"{flags}"
        )
    return runs[0] if runs else ()


def binary_columns(table: TableFile, rows: Sequence[int], free: Sequence[str]) -> list[str]:
    """The columns that hold 0 and 1, or -1 and nothing besides: findings that are there or not."""
    found = []
    for name in free:
        cells = table.column(name, rows)
        values = {label for label in class_names(cells) if label}
        values = {
            "1" if v.lower() == "true" else "0" if v.lower() == "false" else v for v in values
        }
        if values and values <= {"0", "1", "-1"} and not describes(name):
            found.append(name)
    return found


def one_hot_labels(table: TableFile, rows: Sequence[int], names: Sequence[str]) -> LabelChoice:
    """The class of each row by the column that has its 1; no label where none has.

    Raises
    ------
    DataError
        A column holds anything but 0 and 1, or a row has a second 1.
    """
    found = [_ones(table, rows, name) for name in names]
    for name, ones in zip(names, found, strict=True):
        if ones is None:
            others = [c for c in table.column(name, rows) if bit_of(c) is None]
            raise DataError(
                f"column '{name}' of {table.name} holds '{(others or ['nothing'])[0][:60]}', and "
                "--label-columns takes columns of 0 and 1; pass --label-column with the one that "
                "holds the classes"
            )
    ones = np.array(found).T.reshape(len(rows), len(names))
    several = np.flatnonzero(ones.sum(axis=1) > 1)
    if len(several):
        at = int(several[0])
        has = [name for name, one in zip(names, ones[at], strict=True) if one]
        raise DataError(
            f"{table.place(rows[at])} has a 1 in {' and '.join(has)}, and an image has one class; "
            f"pass --binarize {has[0]} for two classes, with it and without"
        )
    labels = [names[int(row.argmax())] if row.any() else "" for row in ones]
    filled = {int(at) for at in np.flatnonzero(ones.sum(axis=0))}
    empty = tuple(name for at, name in enumerate(names) if at not in filled)
    findings = []
    if empty:
        text = f"{len(empty)} of the {len(names)} classes have no image: {', '.join(empty)}."
        findings.append(Finding("empty_classes", "info", text, {"n": len(empty)}))
    return LabelChoice(tuple(names), labels, (), empty, findings)


def _ones(table: TableFile, rows: Sequence[int], name: str) -> NDArray[np.int64] | None:
    """(n,) the 0 and 1 of a column, of which 0 may be left blank; None: it holds anything else."""
    bits = {cell: bit_of(cell) for cell in {*table.column(name, rows)}}
    if None in bits.values() or not any(cell.strip() for cell in bits):
        return None
    return np.array([bits[cell] for cell in table.column(name, rows)], np.int64)


def bit_of(cell: str) -> int | None:
    """Whether a cell says yes (1) or no (0), None where it says anything else.

    >>> [bit_of(cell) for cell in ("1.0", "0.000000e+00", "Yes", "", "0.5", "mass")]
    [1, 0, 1, 0, None, None]
    """
    small = cell.strip().lower()
    if small in WORDS:
        return WORDS[small]
    number = re.fullmatch(r"([01])\.?0*(?:e[-+]?0+)?", small)
    return int(number[1]) if number else None
