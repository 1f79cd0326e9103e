"""Which column of a table is the label; a question where two could be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medgraft.data.tables.column_names import (
    describes,
    holds_label_word,
    is_label_name,
    is_last_label_name,
    plain,
    words_of,
)
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.findings import fits_both, joined_findings, marked_columns, named_columns
from medgraft.data.tables.label_questions import (
    classes_or_findings,
    no_classes,
    no_label,
    several_ones,
    which_column,
)
from medgraft.data.tables.labels import Kind, binarized, class_names, kind_of, spelling_finding
from medgraft.data.tables.one_hot import (
    LabelChoice,
    binary_columns,
    bit_of,
    one_hot_columns,
    one_hot_labels,
)
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.reading import TableReading
from medgraft.data.tables.splits import choose_split
from medgraft.errors import DataError
from medgraft.types import Finding


def with_split(reading: TableReading, options: TableOptions) -> TableReading:
    """The same with the columns that say the split, if any do.

    Raises
    ------
    DataError
        As `choose_split`.
    """
    assert reading.table is not None
    taken = {*_taken(reading), *reading.label_columns}
    return replace(reading, split=choose_split(reading.table, options.split_column, taken))


def with_label(reading: TableReading, options: TableOptions) -> TableReading:
    """The same with the label that its columns give the rows that name images.

    Raises
    ------
    DataError
        As `choose_labels`.
    """
    table, images = reading.table, reading.images
    assert table is not None
    assert images is not None
    rows = [row for row, file in enumerate(images.matched.files) if file is not None]
    label = choose_labels(table, rows, _taken(reading), options)
    return replace(reading, label=label.spread(rows, len(table.rows)), why_not="")


def _taken(reading: TableReading) -> set[str]:
    """The columns that cannot be the label."""
    images = reading.images.columns[-1:] if reading.images else ()
    split = reading.split.columns if reading.split else ()
    return {*images, *split, reading.mask_column or "", reading.key} - {""}


def choose_labels(
    table: TableFile, rows: Sequence[int], taken: set[str], options: TableOptions
) -> LabelChoice:
    """The classes of some rows of a table, by the column or columns that are sure to be the label.

    Raises
    ------
    DataError
        What was wished for does not hold, nothing could be the label, or several columns could:
        the text lists them with their classes and flags.
    """
    if options.finding_columns:
        return named_columns(table, rows, options.finding_columns)
    if options.label_columns:
        names = [table.named(name, "--label-columns") for name in options.label_columns]
        return one_hot_labels(table, rows, names)
    if options.label_column is not None:
        return _named(
            table, rows, table.named(options.label_column, "--label-column"), options, True
        )
    free = [name for name in table.header if name not in taken]
    labels = {name: _labels(table, rows, name, options) for name in free}
    kinds = {name: kind_of(values) for name, values in labels.items()}
    flags = binary_columns(table, rows, free)
    explicit = [name for name in free if plain(name) == "label"]
    if options.binarize is not None and (hit := _flag_named(flags, options.binarize)):
        return _named(table, rows, hit, options, False)
    if len(explicit) == 1:  # by name, whatever else speaks of the same classes
        chosen = _named(table, rows, explicit[0], options, False)
        return _with_others(_without_copies(chosen, free, labels), free, labels, kinds, flags)
    block = one_hot_columns(table, rows, free)
    named = _sounding(free, kinds, flags)
    if (block or len(flags) > 1) and all(kinds[name] in ("text", "measured") for name in named):
        named = []
    if block and not named:
        return one_hot_labels(table, rows, block)
    if len(flags) > 1 and not named:
        if options.several != "any":
            raise DataError(several_ones(table, rows, flags))
        if fits_both(table, rows, flags):
            raise classes_or_findings(table, rows, flags)
        return marked_columns(table, rows, flags)
    compared = block if named else ()
    if not named:
        named = [name for name in free if kinds[name] not in ("empty", "constant")]
        if len(named) != 1 or describes(named[0]):
            plausible = [name for name in named if kinds[name] == "classes"]
            raise no_label(table, plausible, labels, free)
    candidates = _apart(table, rows, named, labels, compared)
    if len(candidates) == 1:
        candidates += [((name,), labels[name]) for name in _rivals(candidates[0], labels, kinds)]
    if len(candidates) > 1:
        raise which_column(table, candidates)
    chosen = _named(table, rows, candidates[0][0][0], options, False)
    return _with_others(_without_copies(chosen, free, labels, compared), free, labels, kinds, flags)


def _sounding(free: Sequence[str], kinds: Mapping[str, Kind], flags: Sequence[str]) -> list[str]:
    """The columns whose names are a label's, by the surest names that there are."""
    good = [name for name in free if kinds[name] != "empty"]
    if any(plain(name) == "x" for name in free):  # then `y` is a coordinate
        good = [name for name in good if plain(name) != "y"]
    named = [name for name in good if is_label_name(name)]
    single = [name for name in good if name not in flags or len(flags) < 2]  # `No Finding`
    for sounds in (holds_label_word, is_last_label_name):
        named = named or [name for name in single if sounds(name)]
    for kind in ("constant", "text", "measured"):
        named = [name for name in named if kinds[name] != kind] or named
    return named


def _without_copies(
    choice: LabelChoice, free: Sequence[str], labels: Mapping[str, list[str]],
    block: Sequence[str] = (),
) -> LabelChoice:  # fmt: skip
    """The choice, with the columns that say the same by the name of a label or of its classes."""
    pattern = _pattern(choice.labels)
    classes = {plain(label) for label in choice.labels if label}
    copies = [
        name
        for name in free
        if name not in choice.columns
        and (name in block or plain(name) in classes or _is_called_label(name, labels[name]))
        and (name in block or _pattern(labels[name]) == pattern)
    ]
    return replace(choice, copies=tuple(copies))


def _with_others(
    choice: LabelChoice, free: Sequence[str], labels: Mapping[str, list[str]],
    kinds: Mapping[str, Kind], flags: Sequence[str],
) -> LabelChoice:  # fmt: skip
    """The choice, with the columns that could be the label too, though their names say it less."""
    several = len(flags) > 1  # of 0 and 1: findings beside the label
    others = [
        name
        for name in free
        if name not in (*choice.columns, *choice.copies)
        and kinds[name] == "classes"
        and not (several and name in flags)
        and (_is_called_label(name, labels[name]) or is_last_label_name(name))
    ]
    return replace(choice, others=tuple(others))


def _rivals(
    chosen: tuple[tuple[str, ...], list[str]], labels: Mapping[str, list[str]],
    kinds: Mapping[str, Kind],
) -> list[str]:  # fmt: skip
    """The columns that name the same classes, but not always of the same image: a second reader,
    a diagnosis before and after the biopsy.
    """
    columns, own = chosen
    first: dict[tuple[int, ...], str] = {}
    for name, values in labels.items():
        classes = name not in columns and kinds[name] == "classes" and not describes(name)
        if classes and _speaks_of(own, values):
            first.setdefault(_pattern(values), name)
    return list(first.values())


def _speaks_of(own: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two columns say the same of most images, in the same words, and not of all."""
    both = [(a, b) for a, b in zip(own, other, strict=True) if a and b]
    shared = {a for a, _ in both} & {b for _, b in both}
    worded = {name for name in shared if bit_of(name) is None and re.search(r"[^\W\d_]", name)}
    agreeing = sum(a == b for a, b in both)
    return len(worded) > 1 and 2 * agreeing > len(both) > agreeing


def _is_called_label(name: str, values: Sequence[str]) -> bool:
    """Whether a column is called like a label, or by its own values (`benign_malignant`)."""
    own = set(words_of(name)) <= {word for value in {*values} for word in words_of(value)}
    return is_label_name(name) or holds_label_word(name) or (own and bool(words_of(name)))


def _pattern(values: Sequence[str]) -> tuple[int, ...]:
    """How values divide the rows, whatever they are called."""
    numbers: dict[str, int] = {"": -1}
    return tuple(numbers.setdefault(value, len(numbers)) for value in values)


def _labels(table: TableFile, rows: Sequence[int], name: str, options: TableOptions) -> list[str]:
    return class_names(table.column(name, rows), dict(options.class_names))


def _named(
    table: TableFile, rows: Sequence[int], name: str, options: TableOptions, forced: bool
) -> LabelChoice:
    """One column as the label, if it holds classes or `--binarize` makes two of it."""
    cells = table.column(name, rows)
    labels = class_names(cells, dict(options.class_names))
    findings = spelling_finding(cells, labels, name)
    words = sorted({c.strip() for c, label in zip(cells, labels, strict=True) if not label} - {""})
    if words:
        n = sum(not label and cell.strip() != "" for cell, label in zip(cells, labels, strict=True))
        findings.append(
            Finding(
                "missing_words", "warn",
                f"{n:,} images whose {name} is {' or '.join(words)} were taken to have no label.",
                {"n": n},
                remedy=f"If it is a class, pass --class-names '{words[0]}=NAME'.",
            )
        )  # fmt: skip
    if options.binarize is not None:
        flag = _flag_named([name], options.binarize)
        if flag and set(labels) <= {"0", "1", "-1", ""}:
            two = {"1": name, "0": f"no {name}"}
            if "0" not in labels:  # then a blank is a finding that is not there
                two[""] = two["0"]
            return LabelChoice((name,), [two.get(label, "") for label in labels], (), (), findings)
        return LabelChoice((name,), binarized(labels, options.binarize, name), (), (), findings)
    renamed = {
        name for name, _ in options.class_names
    }  # a person who names a label calls it a class
    kind = kind_of([label for label in labels if label not in renamed])
    if kind == "constant" and words and not forced:
        only = next(label for label in labels if label)
        raise DataError(
            f"column '{name}' of {table.name} holds '{only}' and {', '.join(words)}, which usually "
            f"means that nothing is known; if it is a class, pass --class-names '{words[0]}=NAME'"
        )
    asked_for = forced and (kind == "text" or (kind == "measured" and _is_whole(labels)))
    if kind == "joined" and options.several:
        return joined_findings(table, rows, name)
    if kind in ("joined", "measured", "text") and not asked_for:
        raise DataError(no_classes(table, name, labels, kind))
    return LabelChoice((name,), labels, (), (), findings)


def _is_whole(labels: Sequence[str]) -> bool:
    return all(not label or re.fullmatch(r"-?\d+", label) for label in labels)


def _apart(
    table: TableFile, rows: Sequence[int], named: Sequence[str], labels: Mapping[str, list[str]],
    block: Sequence[str],
) -> list[tuple[tuple[str, ...], list[str]]]:  # fmt: skip
    """The candidates that divide the images differently; of those that agree, the one in words."""
    found: dict[tuple[int, ...], tuple[tuple[str, ...], list[str]]] = {}
    candidates: list[tuple[tuple[str, ...], list[str]]] = [((n,), labels[n]) for n in named]
    patterns = {_pattern(values) for _, values in candidates}
    for name, values in labels.items():  # `target` of 0 and 1 beside `benign_malignant`
        if name not in named and _is_called_label(name, values) and _pattern(values) in patterns:
            candidates.append(((name,), values))
    if block:
        candidates.append((tuple(block), one_hot_labels(table, rows, block).labels))

    def worded(values: Sequence[str]) -> bool:
        return not all(re.fullmatch(r"-?[\d.]*", value) for value in values)

    for columns, values in candidates:
        before = found.get(_pattern(values))
        if before is None or (worded(values) and not worded(before[1]) and len(columns) == 1):
            found[_pattern(values)] = columns, values
    return list(found.values())


def _flag_named(flags: Sequence[str], finding: str) -> str | None:
    return next((name for name in flags if plain(name) == plain(finding)), None)
