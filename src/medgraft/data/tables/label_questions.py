"""The questions that are asked where no column of a table is sure to be the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgraft.data.tables.files import TableFile
from medgraft.data.tables.labels import SHOWN, Kind, class_names, counted, findings_mark, parts_of
from medgraft.data.tables.one_hot import bit_of
from medgraft.errors import AmbiguousDataError, Choice, DataError


def which_column(
    table: TableFile, candidates: Sequence[tuple[tuple[str, ...], list[str]]]
) -> AmbiguousDataError:
    """Which of several columns is the label, each with its flag and its classes."""
    ways = [
        Choice(
            f"({counted(values)})",
            (("label_column" if len(columns) == 1 else "label_columns", ",".join(columns)),),
        )
        for columns, values in candidates
    ]
    return AmbiguousDataError(
        f"several columns of {table.name} could be the label; pass one of:", ways
    )


def no_label(
    table: TableFile, plausible: Sequence[str], labels: Mapping[str, list[str]], free: Sequence[str]
) -> DataError:
    """Which column is the label, where none sounds like one."""
    start = f"no column 'label' in {table.name} (columns: {', '.join(table.header)})"
    if not plausible:
        several = f", and none of {', '.join(free[:SHOWN])} is sure to be it" if free else ""
        return DataError(f"{start}{several}; pass --label-column COLUMN")
    ways = [
        Choice(f"({counted(labels[name])})", (("label_column", name),))
        for name in plausible[:SHOWN]
    ]
    return AmbiguousDataError(f"{start}; it may be one of:", ways)


def no_classes(table: TableFile, name: str, labels: Sequence[str], kind: Kind) -> str:
    """Why a column is no label, and the flag that makes classes of it."""
    which = f"column '{name}' of {table.name}"
    if kind == "joined":
        counts = {label: 1 for label in labels if label}
        mark = findings_mark(counts)
        several = next(label for label in counts if len(parts_of(label, mark)) > 1)
        parts = [part for label in labels if label for part in parts_of(label, mark)]
        return (
            f"{which} names several findings an image ('{several[:80]}'), and an image has one "
            f"class; pass --label-column '{name}' --binarize '{parts_of(several, mark)[0]}' for "
            f"two classes, with that finding and without (findings: {counted(parts)}); if it is a "
            f"class of its own, --class-names '{several[:80]}=NAME'"
        )
    values = sorted({label for label in labels if label})
    if kind == "measured":
        middle = float(np.median([float(label) for label in labels if label]))
        return (
            f"{which} holds {len(values):,} numbers ({values[0]} … {values[-1]}), as measured "
            f"values do and names of classes do not; pass --label-column '{name}' --binarize "
            f"'>={middle:g}' for two classes"
        )
    return (
        f"{which} holds {len(values):,} texts, most of a single image ('{values[0][:60]}'), which "
        f"are no classes; pass --label-column COLUMN with the one that holds them, or '{name}' "
        "itself if they are"
    )


def several_ones(table: TableFile, rows: Sequence[int], flags: Sequence[str]) -> str:
    """Which finding it is about, where rows have several."""
    counts = []
    for name in flags:
        cells = class_names(table.column(name, rows))
        counts.append(f"{name} {sum(cell in ('1', 'True', 'TRUE', 'true') for cell in cells):,}")
    return (
        f"{table.name} has several columns of 0 and 1 ({', '.join(counts[:12])}), and not one 1 in "
        f"every row, so no single class an image; pass --binarize '{flags[0]}' (or another) for "
        "two classes, with it and without, or --label-columns A,B,… with those that exclude each "
        "other"
    )


def classes_or_findings(
    table: TableFile, rows: Sequence[int], flags: Sequence[str]
) -> AmbiguousDataError:
    """Whether columns of 0 and 1, of which no row has two, are classes or findings."""
    ones = [sum(bit_of(cell) == 1 for cell in table.column(name, rows)) for name in flags]
    counts = ", ".join(f"{name} {n:,}" for name, n in zip(flags, ones, strict=True))
    names = ",".join(flags)
    return AmbiguousDataError(
        f"no row of {table.name} has a 1 in two of its columns of 0 and 1 ({counts}), and "
        f"{len(rows) - sum(ones):,} rows have none; pass one of:",
        [
            Choice(shows, ((option, names),))
            for option, shows in (
                ("finding_columns", "findings, each of which an image has or has not"),
                ("label_columns", "classes; an image without any has no label"),
            )
        ],
    )
