"""Which column of a table says train, val or test; or which of 0 and 1, `is_test` and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medgraft.data.missing import is_missing
from medgraft.data.names import SPLIT_NAMES, says_only_split, words
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.one_hot import bit_of
from medgraft.errors import DataError
from medgraft.types import Finding, Split

MOST_FOLDS = 20
FOLDS = {"fold", "folds", "kfold", "cvfold", "foldid"}
BESIDE = {"is", "in", "for", "image", "images", "sample", "set", "subset", "flag"}  # in `is_test`


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """The split (n,) of each row by these columns, '' where it has none; None: its cell names none.

    flags : the columns hold 0 and 1.
    """

    columns: tuple[str, ...]
    splits: list[Split | None]
    flags: bool = False

    def at(self, table: TableFile, row: int) -> Split:
        """The split of a row.

        Raises
        ------
        DataError
            Its cell names none.
        """
        split = self.splits[row]
        if split is None:
            cell = table.column(self.columns[0], [row])[0].strip()[:60]
            raise DataError(
                f"{table.place(row)}: the split '{cell}' is none of {', '.join(SPLIT_NAMES)}; "
                "rename it, or pass --split-column for another column, or none"
            )
        return split


def choose_split(table: TableFile, wanted: str | None, taken: set[str]) -> SplitChoice | None:
    """The column that says train, val or test, or the columns of 0 and 1 that do.

    Without a wish: `split`, else the only one that holds nothing else, else `is_test`, `train` and
    their like. 'none' options for none.

    Raises
    ------
    DataError
        The wanted column is absent, two columns divide the rows differently, or a row has a 1 in
        two.
    """
    if wanted is not None and wanted.casefold() in ("", "none") and wanted not in table.header:
        return None
    if wanted is not None:
        name = table.named(wanted, "--split-column")
        flags = _flags(table, [name])
        return _by_flags(table, flags) if flags else _of_words(table, name)
    free = [name for name in table.header if name not in taken]
    for name in free:
        if plain(name) == "split":
            flags = _flags(table, free) if _counts(table.column(name)) else {}
            return _by_flags(table, flags) if flags else _of_words(table, name)
    found: dict[tuple[Split | None, ...], SplitChoice] = {}
    for name in free:
        choice = _of_folds(table, name) or _of_words(table, name)
        said = {*choice.splits}
        if None not in said and len(said - {""}) > 1:
            found.setdefault(tuple(choice.splits), choice)
    if len(found) > 1:
        ways = " or ".join(f"--split-column '{one.columns[0]}'" for one in found.values())
        raise DataError(f"two columns of {table.name} divide the rows into splits; pass {ways}")
    if found:
        return next(iter(found.values()))
    flags = _flags(table, free)
    others = [name for name in free if name not in flags]  # a lone `test` may be the label
    return _by_flags(table, flags) if flags and others else None


def _of_words(table: TableFile, name: str) -> SplitChoice:
    cells = table.column(name)
    said = {cell: split_of(cell) for cell in {*cells}}
    return SplitChoice((name,), [said[cell] for cell in cells])


def _of_folds(table: TableFile, name: str) -> SplitChoice | None:
    """A column of folds in which some rows have a split's word instead of a number."""
    if plain(name) not in FOLDS:
        return None
    choice = _of_words(table, name)
    if not {"test", "val"} & {*choice.splits}:
        return None
    cells = [cell.strip() for cell in table.column(name)]
    pairs = list(zip(cells, choice.splits, strict=True))
    if not all(split is not None or cell.isdecimal() for cell, split in pairs):
        return None
    return SplitChoice((name,), ["train" if split is None else split for _, split in pairs])


def split_of(cell: str) -> Split | None:
    """The split that a cell names, '' where it says nothing; None: it names none."""
    return "" if is_missing(cell) else says_only_split(cell) or None


def flag_of(name: str) -> Split:
    """The split that a column of 0 and 1 is about, by its name.

    >>> [flag_of(name) for name in ("is_test", "isTraining", "validation", "prediction", "tested")]
    ['test', 'train', 'val', '', '']
    """
    left = [word for word in words(name) if word not in BESIDE]
    said = SPLIT_NAMES.get("".join(left)) or SPLIT_NAMES.get(plain(name).removeprefix("is"), "")
    return "" if any(word.startswith("pred") for word in left) else said


def _flags(table: TableFile, names: Sequence[str]) -> Mapping[str, Split]:
    """The columns of 0 and 1 whose names are splits'.

    `valid` says mostly 1 where it is about the pictures and not about a split.
    """
    found: dict[str, Split] = {}
    for name in names:
        split = flag_of(name)
        bits = [bit_of(cell) for cell in table.column(name)] if split else []
        ones = sum(bit == 1 for bit in bits)
        most = len(bits) // 2 if split == "val" else len(bits) - 1
        if None not in bits and 0 < ones <= most:
            found[name] = split
    return found


def _by_flags(table: TableFile, flags: Mapping[str, Split]) -> SplitChoice:
    said = {*flags.values()}
    rest: Split = "train" if "train" not in said else "test" if "test" not in said else ""
    columns = [[bit_of(cell) == 1 for cell in table.column(name)] for name in flags]
    splits: list[Split | None] = []
    for row, ones in enumerate(zip(*columns, strict=True)):
        here = {split: name for (name, split), one in zip(flags.items(), ones, strict=True) if one}
        if len(here) > 1:
            raise DataError(
                f"{table.place(row)} has a 1 in {' and '.join(here.values())}, and an image lies "
                "in one split; correct it, or pass --split-column with one of them, or none"
            )
        splits.append(next(iter(here), rest))
    return SplitChoice(tuple(flags), splits, True)


def _counts(cells: Sequence[str]) -> bool:
    return all(bit_of(cell) is not None for cell in cells)


def folds_finding(table: TableFile, free: Sequence[str]) -> list[Finding]:
    """That a column numbers folds, and so says no split."""
    for name in free:
        values = {cell.strip() for cell in table.column(name) if not is_missing(cell)}
        numbers = sorted(float(value) for value in values if value.replace(".", "", 1).isdecimal())
        if plain(name) in FOLDS and len(numbers) == len(values) and 2 <= len(values) <= MOST_FOLDS:
            text = (
                f"Column '{name}' of {table.name} numbers folds ({numbers[0]:g} … {numbers[-1]:g}) "
                "and says no split; the images are divided anew, groups whole."
            )
            remedy = "For a test split of one of them, write a column split with train and test."
            return [Finding("folds", "info", text, {"folds": len(values)}, remedy=remedy)]
    return []
