"""Several findings an image: one column a finding, or the names of all in one cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medgraft.data.missing import is_missing
from medgraft.data.tables.column_names import plain, words_of
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.labels import class_names, findings_mark, parts_of
from medgraft.data.tables.one_hot import LabelChoice, MarkedRows, bit_of
from medgraft.errors import DataError
from medgraft.panel import ABSENT, PRESENT, UNCERTAIN, UNKNOWN, Marks
from medgraft.types import Finding

NOTHING = frozenset(
    ["nofinding", "nofindings", "normal", "none", "nothing", "healthy", "noabnormality"]
)
DEVICES = frozenset(["device", "devices"])  # of which "no finding" says nothing
UNDECIDED = frozenset(["uncertain", "equivocal", "possible", "u"])


def says_nothing_found(name: str) -> bool:
    """Whether a finding's name says that there is none.

    >>> [says_nothing_found(name) for name in ("No Finding", "normal", "benign lesion")]
    [True, True, False]
    """
    return plain(name) in NOTHING


def fits_both(table: TableFile, rows: Sequence[int], flags: Sequence[str]) -> bool:
    """Whether columns of 0 and 1 may be classes, of which some rows have none, as well as findings:
    no row has two, and none leaves a cell blank or uncertain.
    """
    columns = [[bit_of(cell) if cell.strip() else None for cell in table.column(name, rows)]
               for name in flags]  # fmt: skip
    if any(bit is None for column in columns for bit in column):
        return False
    return bool((np.array(columns).sum(axis=0) <= 1).all())


def marked_columns(table: TableFile, rows: Sequence[int], columns: Sequence[str]) -> LabelChoice:
    """The marks of columns of 0 and 1, of blanks (not known) and -1 (uncertain).

    A column that says that nothing was found is no finding: where it holds 1, blanks of the others
    are findings that are not there, devices aside, which it does not speak of. Where not one cell
    of all columns holds 0, blanks stand for it.

    Raises
    ------
    DataError
        A cell says something else, or fewer than two columns are findings.
    """
    cells = {name: [_mark(table, name, c) for c in table.column(name, rows)] for name in columns}
    names = [name for name in columns if not says_nothing_found(name)]
    if len(names) < 2:
        raise DataError(
            f"{', '.join(columns)} of {table.name} name {len(names)} finding(s), and several are "
            "two at least; pass --binarize FINDING for two classes, with it and without"
        )
    matrix = np.array([cells[name] for name in names], np.int8).T.reshape(len(rows), len(names))
    findings = []
    seen = {mark for column in cells.values() for mark in column}
    if seen == {PRESENT, UNKNOWN}:
        matrix[matrix == UNKNOWN] = ABSENT
        text = f"No finding of {table.name} is marked 0: blanks were taken as findings not there."
        findings.append(Finding("blanks_are_absent", "info", text))
    for name in columns:
        if says_nothing_found(name):
            findings += _nothing_found(matrix, names, name, np.array(cells[name]) == PRESENT)
    marks = [tuple(row) for row in matrix.tolist()]
    return _choice(tuple(columns), MarkedRows(tuple(names), marks), findings)


def _nothing_found(
    matrix: Marks, names: Sequence[str], column: str, here: NDArray[np.bool_]
) -> list[Finding]:
    """Write into `matrix` (n, k) what a column tells that says nothing was found; warn of rows in
    which a finding is there all the same, and stays.
    """
    about = np.array([not DEVICES.intersection(words_of(name)) for name in names])
    block = here[:, None] & about & (matrix == UNKNOWN)
    matrix[block] = ABSENT
    against = int((here & (matrix[:, about] == PRESENT).any(axis=1)).sum())
    if not against:
        return []
    text = f"{against:,} images have '{column}' and a finding as well, which was kept."
    remedy = "Look at these rows: one of the two is wrong."
    return [Finding("finding_and_none", "warn", text, {"n": against}, remedy=remedy)]


def _mark(table: TableFile, column: str, cell: str) -> int:
    small = cell.strip().lower()
    if is_missing(cell):
        return UNKNOWN
    if small in UNDECIDED or re.fullmatch(r"-1(\.0*)?", small):
        return UNCERTAIN
    bit = bit_of(cell)
    if bit is None:
        raise DataError(
            f"column '{column}' of {table.name} holds '{cell.strip()[:60]}', and findings are 0, "
            "1, blank (not known) or -1 (uncertain); pass --finding-columns with others"
        )
    return bit


def joined_findings(table: TableFile, rows: Sequence[int], column: str) -> LabelChoice:
    """The marks of a column that names all findings of an image (`Mass|Nodule`, `No Finding`).

    What a cell does not name is not there; of a blank cell nothing is known.

    Raises
    ------
    DataError
        It names fewer than two findings.
    """
    labels = class_names(table.column(column, rows))
    mark = findings_mark(Counter(label for label in labels if label))
    parts = [[p for p in parts_of(label, mark) if p] if label else None for label in labels]
    counts = Counter(part for found in parts if found for part in set(found))
    names = tuple(sorted(name for name in counts if not says_nothing_found(name)))
    if len(names) < 2 or all(bit_of(name) is not None for name in names):
        raise DataError(
            f"column '{column}' of {table.name} is no list of several findings; "
            "pass --finding-columns with all of their columns, or another --label-column"
        )
    marks = [
        (UNKNOWN,) * len(names) if found is None
        else tuple(PRESENT if name in found else ABSENT for name in names)
        for found in parts
    ]  # fmt: skip
    return _choice((column,), MarkedRows(names, marks), [])


def _choice(columns: tuple[str, ...], marked: MarkedRows, findings: list[Finding]) -> LabelChoice:
    """The choice, with a text for each row that is '' where nothing at all is known of it."""
    texts = [
        "|".join(n for n, mark in zip(marked.names, row, strict=True) if mark == PRESENT) or "0"
        if any(mark != UNKNOWN for mark in row)
        else ""
        for row in marked.marks
    ]
    return LabelChoice(columns, texts, findings=findings, marked=marked)


def named_columns(table: TableFile, rows: Sequence[int], names: Sequence[str]) -> LabelChoice:
    """The findings of the columns that a person named: of one, all that its cells name."""
    columns = [table.named(name, "--finding-columns") for name in names]
    if len(columns) == 1:
        return joined_findings(table, rows, columns[0])
    return marked_columns(table, rows, columns)


def agreed(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """What two rows of one image say: uncertain where one says yes and the other no.

    >>> agreed((1, 0, -1), (1, 1, 0))
    (1, -2, 0)
    """
    return tuple(
        a if a == b or b == UNKNOWN else b if a == UNKNOWN else UNCERTAIN
        for a, b in zip(first, second, strict=True)
    )


def differ(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two rows of one image say otherwise of a finding that both know."""
    return any(a != b and UNKNOWN not in (a, b) for a, b in zip(first, second, strict=True))


def opposed_finding(table: TableFile, ids: Sequence[str]) -> list[Finding]:
    """That rows of one image, as of several readers, do not agree."""
    if not ids:
        return []
    text = (
        f"Rows of {table.name} differ in a finding of {len(ids):,} images, as several readers do; "
        "it was taken as uncertain there."
    )
    return [Finding("rows_differ", "warn", text, {"n": len(ids)}, tuple(ids[:12]))]
