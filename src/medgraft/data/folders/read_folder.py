"""Images in folders: the rows that the one right reading of a tree gives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medgraft.data.folders.choose_reading import (
    FolderOptions,
    choose_reading,
    n_classes,
    tables_about,
)
from medgraft.data.folders.folder_findings import (
    left_out_findings,
    mask_findings,
    table_findings,
    unread_findings,
)
from medgraft.data.folders.layout import Layout
from medgraft.data.folders.layout_masks import masks_by_layout
from medgraft.data.folders.layout_questions import no_image, would_fit
from medgraft.data.folders.left_out_folders import without_copies, without_documents
from medgraft.data.folders.mask_files import MaskFiles, find_masks
from medgraft.data.listing import Listing, Row, shown
from medgraft.data.names import kind_of, split_of
from medgraft.data.scan import Parts, Scan, scan
from medgraft.data.tables.join import with_columns
from medgraft.data.tables.reading import TableReading
from medgraft.errors import DataError
from medgraft.types import Reading, Skipped, Source


def read_folder(root: Path, options: FolderOptions) -> Listing:
    """List the images of a folder, by the layout given or the only reading that it can have.

    That is the folders' names, or a table beside the images that gives their labels. Masks, a copy
    of the folder inside itself and what other programs left in it are no images.

    Raises
    ------
    AmbiguousDataError
        It can be read in several ways that differ; the text shows each with its flag.
    DataError
        The folder cannot be read, holds no image with a class, or the layout fits no file.
    """
    found = scan(root)
    for parts, problem in found.problems:
        if not parts:
            raise DataError(f"{root}: {problem}; check the path and its permissions")
    given = Layout.parse(options.layout) if options.layout else None
    images, left_out = without_copies(found)
    if given is None:
        images, papers = without_documents(images)
        left_out += papers
    masks = _masks(root, images, given)
    if not masks.images:
        raise DataError(no_image(found))
    tables = tables_about(found, masks.images, options)
    chosen = choose_reading(found, masks.images, tables, options) if given is None else given
    used: list[TableReading] = []
    if isinstance(chosen, Layout):
        table, layout = None, str(chosen)
        listing, used = with_columns(_of_layout(chosen, masks, root), tables, options)
    else:
        table, layout = chosen, ""
        listing = _of_table(chosen, masks, root)
    reading = Reading(
        table.sentence if table else "layout" if given else "folders",
        layout,
        masks.by,
        (*left_out, *_droppings(found), *_not_named(table, masks.images)),
        dict(sorted((found.others + _unused_tables(found, [table] if table else used)).items())),
    )
    problems = [Skipped(shown("/".join(parts)), why) for parts, why in found.problems]
    findings = [
        *mask_findings(masks),
        *unread_findings(found, len(listing.rows)),
        *left_out_findings(left_out),
        *(table_findings([one for one in tables if one not in used]) if table is None else []),
    ]
    return replace(
        listing,
        root=root,
        skipped=[*problems, *listing.skipped],
        findings=[*listing.findings, *findings],
        reading=reading,
    )


def _masks(root: Path, images: Sequence[Parts], given: Layout | None) -> MaskFiles:
    """Images and masks told apart, as a layout says or by what they are."""
    if given is not None and "mask" in given.words:
        return masks_by_layout(given, images)
    masks = find_masks(root, images)
    if given and n_classes(given, masks.images) < 2 <= n_classes(given, images):
        return MaskFiles(list(images), {}, [])  # a class of them is called like masks
    return masks


# --------------------------------------------------------------------------- rows by folders


def _of_layout(layout: Layout, masks: MaskFiles, root: Path) -> Listing:
    """The rows of the images that a layout reads, which are some."""
    rows, outside = _rows(root, layout, masks)
    if not rows:
        path, why = layout.nearest(masks.images)
        raise DataError(
            f"none of the {len(masks.images):,} images in {root} fits --layout '{layout}'; the "
            f"nearest is {'/'.join(path)}: {why}{would_fit(masks.images)}"
        )
    return Listing(root, sorted(rows, key=lambda row: row.id), outside)


def _rows(root: Path, layout: Layout, masks: MaskFiles) -> tuple[list[Row], list[Skipped]]:
    """A row for each image that the layout reads; the others, with why not."""
    rows, outside = [], []
    base = os.fspath(root)  # joined as text: a `Path` an image takes longer than all else here
    for parts in masks.images:
        meaning = layout.read(parts)
        if meaning is None or meaning.is_mask:
            outside.append(Skipped("/".join(parts), _why_outside(layout, parts)))
            continue
        paths = [os.path.join(base, *mask) for mask in masks.masks_of.get(parts, ())]  # noqa: PTH118
        source = Source(os.path.join(base, *parts))  # noqa: PTH118
        rows.append(
            Row("/".join(parts), source, meaning.label, meaning.split, "\0".join(paths),
                group=meaning.group)
        )  # fmt: skip
    return rows, outside


def _why_outside(layout: Layout, parts: Parts) -> str:
    least = min(len(one.levels) for one in layout.sentences)
    if len(parts) < least:
        return "lies in no class folder, so has no label"
    return f"does not fit the layout {layout}"


# --------------------------------------------------------------------------- rows by a table


def _of_table(table: TableReading, masks: MaskFiles, root: Path) -> Listing:
    """The rows of a table, with what the folders of its images say besides."""
    return _with_splits(_with_masks(table.listing(), masks, root), root)


def _with_masks(listing: Listing, masks: MaskFiles, root: Path) -> Listing:
    """The listing of a table with the masks that lie among the files."""
    of_path = {
        str(root.joinpath(*image)): "\0".join(str(root.joinpath(*mask)) for mask in found)
        for image, found in masks.masks_of.items()
    }
    rows = [
        row if row.mask else replace(row, mask=of_path.get(row.source.path, ""))
        for row in listing.rows
    ]
    return replace(listing, rows=rows)


def _with_splits(listing: Listing, root: Path) -> Listing:
    """The listing of a table that says no split, with those of the folders its images lie in."""
    if any(row.split for row in listing.rows):
        return listing
    paths = [Path(row.source.path).relative_to(root).parts[:-1] for row in listing.rows]
    for level in range(min(map(len, paths))):
        splits = [split_of(parts[level]) for parts in paths]
        if all(splits):
            rows = [replace(r, split=s) for r, s in zip(listing.rows, splits, strict=True)]
            return replace(listing, rows=rows)
    return listing


# --------------------------------------------------------------------------- what is left out


def _not_named(table: TableReading | None, images: Sequence[Parts]) -> list[tuple[str, int, str]]:
    """The images that the table chosen does not name."""
    if table is None or not (left := len(images) - table.n_images):
        return []
    return [("images", left, f"{table.path.name} does not name them")]


def _droppings(found: Scan) -> tuple[tuple[str, int, str], ...]:
    ours = {name: n for name, n in found.droppings.items() if name.startswith("medgraft-")}
    return tuple((name, n, "a result of medgraft") for name, n in sorted(ours.items()))


def _unused_tables(found: Scan, used: Sequence[TableReading]) -> Counter[str]:
    """The tables that were not used, by kind."""
    paths = {found.root.joinpath(*parts): kind_of(parts[-1]) for parts in found.tables}
    read = {path for one in used for path in (one.path, *(path for path, _ in one.joined))}
    return Counter(kind for path, kind in paths.items() if path not in read)
