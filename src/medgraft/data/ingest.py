"""The door through which data comes in: `load` turns what a user has into an `ImageTable`.

Files are read and hashed here; only a sample is decoded, where values of more than eight bits ask
for a rule or a folder may hold masks. What the images look like, and whether they leak, is for the
room `profile`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medgraft.data.class_names import (
    change_classes,
    choose_positive,
    classes_of,
    label_findings,
    one_spelling,
    with_class_names,
)
from medgraft.data.dicom.headers import (
    COLUMNS,
    dicom_groups,
    header_findings,
    one_row_a_frame,
    with_pictures,
)
from medgraft.data.dicom.identity import nameless, withhold, write_ids
from medgraft.data.file_hashes import hash_rows
from medgraft.data.finding_names import with_finding_names
from medgraft.data.folders.read_folder import read_folder
from medgraft.data.grades import in_order
from medgraft.data.groups.columns import PERSON, THING, rank_of
from medgraft.data.groups.grouping import apply_grouping
from medgraft.data.groups.keys import Candidate, known
from medgraft.data.listing import Listing, Row
from medgraft.data.npz import read_npz
from medgraft.data.panel_findings import related_findings
from medgraft.data.pixel_rule import with_rule
from medgraft.data.scan import TABLE_SUFFIXES
from medgraft.data.skipped import warn_of_skipped
from medgraft.data.tables.files import LISTS
from medgraft.data.tables.options import Several
from medgraft.data.tables.read_table import read_table
from medgraft.errors import DataError, UnreadableDataError
from medgraft.panel import Panel, Uncertain, check_uncertain
from medgraft.types import Finding, Grouping, ImageTable, Progress, Skipped, Strings


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a user's words for things differ from ours.

    `layout` says how a folder is read (`folders/layout.py`); `group` is a column of the table or
    `regex:PATTERN`; `positive` a class of two. `leave_out` names classes that are not studied,
    `rename` (old, new) pairs, two of one new name being joined, and classes of fewer images than
    `drop_classes_below` are left out. `one_class` lets data of a single class in, which can be
    judged and not learned from. `window` (centre, width) is how all DICOM images are shown, `ids`
    where to write which id is which file.

    Of tables: columns are found by what they hold where none is named; `label_columns` are one a
    class, of 0 and 1; `binarize` makes two classes of a finding (`Mass`) or a value (`>=50`);
    `images` are folders below which the images lie; `encoding` and `sheet` say how to read the
    file. `class_names` are pairs (label, name). `finding_columns` are those of several findings an
    image (or the one that names them all); `several` says in which tables there may be some:
    none, or those whose cells name them (`joined`), or `any`.

    `ordered` says that the classes are grades, in the order that their names count up, `order` in
    which order they are, the lowest first (`grades.py`).

    `page` is the one read of files with several, from 1; `pixel_range` the stored values shown
    black and white in images of more than eight bits (by default those that the data set uses:
    `pixel_rule.py`).
    """

    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group: str | None = None
    no_groups: bool = False
    positive: str | None = None
    one_class: bool = False
    layout: str = ""
    window: tuple[float, float] | None = None
    ids: Path | None = None
    leave_out: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    drop_classes_below: int = 0
    label_columns: tuple[str, ...] = ()
    binarize: str | None = None
    class_names: tuple[tuple[str, str], ...] = ()
    images: tuple[str | Path, ...] = ()
    encoding: str | None = None
    sheet: str | None = None
    page: int | None = None
    pixel_range: tuple[float, float] | None = None
    finding_columns: tuple[str, ...] = ()
    several: Several = ""
    ordered: bool = False
    order: tuple[str, ...] = ()


def load_any(
    data: str | Path,
    options: LoadOptions | None = None,
    progress: Progress | None = None,
    *,
    uncertain: Uncertain = "unknown",
) -> ImageTable | Panel:
    """The same as `load`, or a `Panel` where data of which it would ask has several findings.

    Parameters
    ----------
    uncertain
        What findings are taken as that were looked for and not decided.

    Raises
    ------
    DataError
        As `load`; or an option speaks of classes, which findings are not.
    """
    options, path = options or LoadOptions(), Path(data).absolute()
    check_uncertain(uncertain)
    try:
        listing = _read(path, options, progress)
    except DataError:
        listing = _read(path, replace(options, several="any"), progress)
    beside = bool(listing.columns or TABLE_SUFFIXES & listing.reading.unread.keys())
    if listing.reading.by == "folders" and beside:
        # Folders that look like classes, and a table that names findings: one asks which it is.
        listing = _read(path, replace(options, several="joined"), progress)
    if not listing.marked:
        return _images(data, options, progress, listing)[0]
    listing = with_finding_names(listing, options)
    images, rows = _images(data, options, progress, listing)
    marks = np.array([row.marks for row in rows], np.int8).reshape(len(rows), len(listing.marked))
    odd = related_findings(listing.marked, marks)
    images = replace(images, findings=(*images.findings, *odd))
    return Panel(images, listing.marked, marks, uncertain)


def load(
    data: str | Path, options: LoadOptions | None = None, progress: Progress | None = None
) -> ImageTable:
    """Read the images at `data`: a folder, a table or an `.npz`.

    Parameters
    ----------
    data
        A folder (`folders/read_folder.py` says how it is read), a table (CSV, TSV, Excel, Parquet:
        `tables/read_table.py`), or an `.npz`.
    options
        What the user says of the data; by default what its names and values say.

    Returns
    -------
    ImageTable
        Rows sorted by id (MedMNIST: by split and frame). k files that cannot be used are k
        entries of `skipped`. An image without a label is a row of label -1.

    Raises
    ------
    DataError
        There is nothing to read, fewer than two classes (unless `one_class`), classes that differ
        only in case, or what the options name is not there.
    """
    options = options or LoadOptions()
    listing = _read(Path(data).absolute(), options, progress)
    if listing.marked:
        raise DataError(
            f"{', '.join(listing.marked)} are findings of which an image has several, and here it "
            "has one class; pass --binarize FINDING for two, with it and without (`medgraft study` "
            "takes all)"
        )
    return _images(data, options, progress, with_class_names(listing, options.class_names))[0]


def _images(
    data: str | Path, options: LoadOptions, progress: Progress | None, listing: Listing
) -> tuple[ImageTable, list[Row]]:
    """The table of what was listed, and its rows; without classes where rows tell of findings."""
    rows, unread, headers = hash_rows(listing.rows, progress)
    rows, without_picture = with_pictures(rows)
    dicom = any(row.dicom for row in rows)
    unread += without_picture if dicom else nameless(without_picture)
    skipped = (*listing.skipped, *unread)
    if not rows:
        raise UnreadableDataError(
            f"none of the images in {data} can be read; the first: {skipped[0].reason}"
        )
    lost = warn_of_skipped(skipped, _by_class(listing.rows, listing.skipped), _by_class(rows))
    columns = listing.columns
    if dicom:  # from here on a row is a frame, and no longer a file
        file_of = {row.source.path: row.content_hash for row in rows if row.dicom}
        rows, columns = one_row_a_frame(rows), (*columns, *COLUMNS)
        headers |= {
            row.content_hash: headers[file_of[row.source.path]]
            for row in rows
            if file_of.get(row.source.path) in headers
        }
    rows, classes, ordered, about = _classes(rows, data, options, listing)
    positive, guess = (None, ()) if listing.marked else choose_positive(classes, options.positive)
    labels = np.array([classes.index(r.label) if r.label else -1 for r in rows], np.int64)
    ids = np.array([row.id for row in rows])
    splits = np.array([row.split for row in rows], dtype="U5")  # room for every split's name
    values = zip(*(row.extra for row in rows), strict=True)
    metadata = {n: np.array(v) for n, v in zip(columns, values, strict=True)}
    named = np.array([row.label for row in rows])

    def by_table() -> tuple[Strings, Grouping, tuple[Finding, ...]]:
        return apply_grouping(
            ids, splits, metadata, named, group=options.group, no_groups=options.no_groups,
            in_layout=_in_layout(rows, listing),
        )  # fmt: skip

    groups, grouping, possible = (
        dicom_groups(rows, options.group, options.no_groups, by_table) if dicom else by_table()
    )
    table = ImageTable(
        ids=ids,
        sources=tuple(row.source for row in rows),
        content_hashes=np.array([row.content_hash for row in rows]),
        labels=labels,
        groups=groups,
        splits=splits,
        masks=np.array([row.mask for row in rows]),
        classes=classes,
        positive=positive,
        root=str(listing.root),
        metadata=metadata,
        grouping=grouping,
        skipped=skipped,
        findings=(
            *listing.findings,
            *(header_findings(rows, windowed=options.window is not None) if dicom else ()),
            *about,
            *guess,
            *possible,
            *(() if listing.marked else label_findings(labels, classes, ids.tolist())),
            *lost,
        ),
        reading=listing.reading,
        ordered=ordered,
    )
    table = with_rule(
        table, headers, page=options.page, span=options.pixel_range, window=options.window,
        progress=progress,
    )  # fmt: skip
    if dicom:
        table = withhold(table, rows, Path(data).absolute(), options.ids)
    elif options.ids is not None:
        write_ids(options.ids, rows, ids.tolist(), {})
    return table, rows


def _classes(
    rows: list[Row], data: str | Path, options: LoadOptions, listing: Listing
) -> tuple[list[Row], tuple[str, ...], bool, tuple[Finding, ...]]:
    """The rows of classes that are studied, the classes, whether grades, and what is to say."""
    if listing.marked:
        if options.ordered or options.order:
            raise DataError(
                "--ordered and --order are of classes, and an image has several findings here "
                f"({', '.join(listing.marked)}); leave them out, or --binarize one finding"
            )
        return rows, (), False, ()
    rows, changed = change_classes(
        one_spelling(rows), options.leave_out, options.rename, options.drop_classes_below
    )
    classes = classes_of(rows, data, options.one_class)
    classes, ordered, graded = in_order(classes, options.ordered, options.order)
    return rows, classes, ordered, (*changed, *graded)


def _by_class(rows: Sequence[Row], skipped: Sequence[Skipped] = ()) -> Counter[str]:
    """Images by class; skipped ones count as without a label."""
    counts = Counter(row.label for row in rows)
    counts[""] += len(skipped)
    return counts


def _in_layout(rows: Sequence[Row], listing: Listing) -> Candidate | None:
    """The groups that the layout of the folders gives, or a table of patients."""
    keys = np.array([row.group for row in rows])
    if not keys.any():
        return None
    if key := listing.key:
        keys = known(keys)
        if len(np.unique(keys)) == len(keys):
            return None  # an image's own id, written before its name
        rank = THING if rank_of(key) == THING else PERSON
        why = "its rows name patients or the like, and not images"
        return Candidate(key, keys, f"by column '{key}'", "column", True, rank, why)
    source = "asked" if listing.reading.by == "layout" else "folder"
    by = "by the folders that they lie in"
    return Candidate(f"layout:{listing.reading.layout}", keys, by, source, True, rank=PERSON)


def _read(path: Path, options: LoadOptions, progress: Progress | None) -> Listing:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path} does not exist; give a folder, a table or a MedMNIST .npz"
        ) from error
    except (OSError, ValueError) as error:  # a name too long, a folder above closed
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read ({reason}); check the path and its permissions"
        ) from error
    for folder in options.images:
        if not Path(folder).is_dir():
            raise DataError(f"--images {folder} is no folder; give the one that the images lie in")
    if path.is_dir():
        return read_folder(path, options)
    if path.suffix.lower() in TABLE_SUFFIXES | LISTS:
        return read_table(path, options)
    if path.suffix.lower() == ".npz":
        return read_npz(path, progress, several=options.several == "any")
    raise DataError(
        f"{path} is neither a folder nor a .csv, .tsv, .xlsx, .parquet or .npz file; put the "
        "images into class folders, or list them in a CSV with the columns path,label"
    )
