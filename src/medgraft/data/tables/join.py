"""Several tables about the same images or patients: the columns of one are added to another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medgraft.data.groups.columns import PERSON, THING, rank_of
from medgraft.data.groups.keys import coded
from medgraft.data.listing import Listing
from medgraft.data.missing import NOBODY, is_missing
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.columns import with_label, with_split
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.image_columns import ImageColumn
from medgraft.data.tables.images import Matched
from medgraft.data.tables.one_hot import LabelChoice
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.reading import TableReading
from medgraft.data.tables.splits import SplitChoice
from medgraft.errors import DataError
from medgraft.types import Finding

SHARED = 0.9  # the share of a table's patients that another must have, to be joined by them
NAMED = 0.5  # the share of a table's images that another must name …
PART = 0.1  # … or this, if so few of its rows name none


def completed(
    one: TableReading, others: Sequence[TableReading], options: TableOptions
) -> TableReading:
    """A reading with the columns of the other tables about its images or patients.

    Where it has no label and they do, theirs is taken. A column that both have is filled in where
    one has blanks. What two rows of a patient say differently is left out; of the label it becomes
    the reading's `why_not`.
    """
    found = one
    for other in sorted(others, key=lambda other: not other.n_images):  # patients after images
        found = _joined(found, other, options)
    images = one.images
    if found is one or one.label is not None or images is None or images.matched.unsure:
        return found
    try:
        found = with_label(found, options)
    except DataError:
        return one
    torn = next((found.torn[name] for name in found.label_columns if name in found.torn), "")
    return replace(found, label=None, why_not=torn) if torn else found


def with_columns(
    listing: Listing, tables: Sequence[TableReading], options: TableOptions
) -> tuple[Listing, list[TableReading]]:
    """What folders gave, with the columns of tables about the same images; and those tables."""
    files = [row.source.path for row in listing.rows]
    table = TableFile(listing.root, ("",), [(file,) for file in files], list(range(len(files))))
    images = ImageColumn(("",), Matched([Path(file) for file in files], "path"))
    label = LabelChoice((), [row.label for row in listing.rows])
    found = TableReading(listing.root, listing.root, table, images, len(files), label)
    splits = [row.split for row in listing.rows]
    if any(splits):  # and a table's own are left out
        found = replace(found, split=SplitChoice((), list(splits)))
    used = []
    for other in sorted(tables, key=lambda other: not other.n_images):
        more = _joined(found, other, options)
        if more is not found:
            used.append(other)
        found = more
    if not used or found.table is None:
        return listing, []
    split = found.split if found.split and found.split.columns else None
    columns = [n for n in found.table.header[1:] if not split or n not in split.columns]
    values = zip(*map(found.table.column, columns), strict=True)
    rows = [replace(row, extra=extra) for row, extra in zip(listing.rows, values, strict=True)]
    if split is not None:
        rows = [replace(row, split=split.splits[at] or "") for at, row in enumerate(rows)]
    others = [
        f"{', '.join(one.label_columns)} of {one.path} could be the label too, with it as DATA"
        for one in used
        if one.sure and not _says_the_same(*_both_labels(listing, one))
    ]
    text = (
        f"The folders gave the labels; {'; '.join([*(t for _, t in found.joined), *others])}."
        + (f" Splits are by {', '.join(split.columns)}." if split else "")
    )  # fmt: skip
    finding = Finding("table", "warn" if others else "info", text, {"images": len(rows)})
    findings = [*listing.findings, finding]
    return replace(listing, rows=rows, columns=tuple(columns), findings=findings), used


def _both_labels(listing: Listing, one: TableReading) -> tuple[list[str], list[str]]:
    """Of the images that a table labels, its label and the folder's."""
    assert one.label is not None
    assert one.images is not None
    files = (str(file) for file in one.images.matched.files)
    theirs = dict(zip(files, one.label.labels, strict=True))
    return [theirs.get(row.source.path, "") for row in listing.rows], [
        row.label for row in listing.rows
    ]


def _joined(one: TableReading, other: TableReading, options: TableOptions) -> TableReading:
    """`one` with the columns of `other`; as it was where they have nothing in common."""
    if one.table is None or one.images is None or other.table is None:
        return one
    match = _by_image(one, other) or _by_key(one, other)
    if match is None:
        return one
    split = other.split.columns if other.split and one.split is None else ()
    wanted = [*match.columns, *(name for name in split if name not in match.columns)]
    wider = _widened(one, other.table, match, wanted)
    if wider is one or wider.split is not None:
        return wider
    try:
        return with_split(wider, options)
    except DataError:
        return wider


@dataclass(frozen=True)
class _Match:
    """For each row of one table the rows of another, by what, and the columns that it adds."""

    rows: list[list[int]]
    by: str
    columns: tuple[str, ...]


def _by_image(one: TableReading, other: TableReading) -> _Match | None:
    """The rows that name the same images."""
    if one.images is None or other.images is None or other.images.matched.unsure:
        return None
    named: dict[Path, list[int]] = defaultdict(list)
    for row, file in enumerate(other.images.matched.files):
        if file is not None:
            named[file].append(row)
    files = one.images.matched.files
    both = len({file for file in files if file in named})
    few = other.n_nameless <= PART * other.images.matched.n_rows
    if not both or both < (PART if few else NAMED) * one.n_images:
        return None
    rows = [named.get(file, []) if file else [] for file in files]
    return _Match(rows, other.key or "image", other.further)


def _by_key(one: TableReading, other: TableReading) -> _Match | None:
    """The rows that name the same patients or the like, where no row names an image."""
    assert one.table is not None
    assert other.table is not None
    if other.n_images:
        return None
    for name in one.table.header:
        keys = _keys(one.table, name)
        if rank_of(name) not in (PERSON, THING) or len(keys) < 2:
            continue
        known = {}
        for theirs in other.table.header:
            if _are_alike(name, theirs, list(keys)):
                rows_of = _keys(other.table, theirs)
                if sum(key in rows_of for key in keys) >= SHARED * len(keys):
                    known[theirs] = rows_of
        if len(known) == 1:
            ((column, rows_of),) = known.items()
            rows = [rows_of.get(_key(cell), []) for cell in one.table.column(name)]
            return _Match(rows, name, tuple(n for n in other.table.header if n != column))
    return None


def _are_alike(name: str, theirs: str, keys: list[str]) -> bool:
    """Whether two columns are of the same patients or the like, by what they are called."""
    persons = rank_of(name) == rank_of(theirs) == PERSON
    return persons or plain(name) == plain(theirs) or (plain(theirs) == "id" and coded(keys))


def _keys(table: TableFile, column: str) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(table.column(column)):
        if (key := _key(cell)) not in NOBODY:
            found[key].append(row)
    return found


def _key(cell: str) -> str:
    return cell.strip().casefold().removesuffix(".0")


def _widened(
    one: TableReading, other: TableFile, match: _Match, columns: Sequence[str]
) -> TableReading:
    """`one` with these columns of the rows of `other`, but for copies of its label."""
    table = one.table
    assert table is not None
    header, cells = list(table.header), [list(row) for row in table.rows]
    added: list[str] = []
    filled: list[str] = []
    torn: dict[str, str] = {}
    for name in columns:
        values, differ = _values(other, name, match.rows)
        torn |= {name: differ} if differ else {}
        if one.label is not None and _says_the_same(values, one.label.labels):
            continue
        alike = next((at for at, old in enumerate(header) if plain(old) == plain(name)), None)
        if alike is not None and all(
            is_missing(row[alike]) or not value or row[alike].strip() == value
            for row, value in zip(cells, values, strict=True)
        ):
            for row, value in zip(cells, values, strict=True):
                if value and is_missing(row[alike]):
                    row[alike], filled = value, [*filled, *([name] if name not in filled else [])]
            continue
        header.append(name if alike is None else f"{name} ({other.path.stem})")
        added.append(header[-1])
        for row, value in zip(cells, values, strict=True):
            row.append(value)
    if not added and not filled:
        return one
    wider = replace(table, header=tuple(header), rows=[tuple(row) for row in cells])
    did = {"adds": ", ".join(added), "fills in": ", ".join(filled)}
    does = " and ".join(f"{verb} {names}" for verb, names in did.items() if names)
    said_of = other.path, f"{other.name} {does} (by {match.by})"
    return replace(one, table=wider, joined=(*one.joined, said_of), torn={**one.torn, **torn})


def _values(table: TableFile, name: str, rows: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """What a column says in each of n sets of rows, '' where nothing or two things; and of the
    first that says two, that it does.
    """
    cells = [cell.strip() for cell in table.column(name)]
    values, differ = [], ""
    for some in rows:
        said: dict[str, int] = {}
        for row in some:
            if not is_missing(cells[row]):
                said.setdefault(cells[row], row)
        values.append(next(iter(said)) if len(said) == 1 else "")
        if len(said) > 1 and not differ:
            (a, first), (b, second) = list(said.items())[:2]
            differ = (
                f"{table.name} says '{a}' and '{b}' in its column '{name}' of one patient or "
                f"image, in {table.unit} {table.lines[first]} and {table.lines[second]}; keep one "
                "of the rows"
            )
    return values, differ


def _says_the_same(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether values (n,) are the labels (n,), perhaps by other names."""
    pairs = {(a, b) for a, b in zip(values, labels, strict=True) if a and b}
    return bool(pairs) and len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})
