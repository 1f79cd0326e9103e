"""Images in folders: which reading of the tree is right, and the rows that it gives."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from medgraft.data.folders.copied_folders import without_copies
from medgraft.data.folders.layout import Layout, Meaning
from medgraft.data.folders.mask_files import MaskFiles, find_masks
from medgraft.data.folders.recognise import recognise
from medgraft.data.groups.columns import PERSON, THING, rank_of
from medgraft.data.groups.keys import known
from medgraft.data.listing import Listing, Row, shown
from medgraft.data.names import is_about_data, kind_of, says_part, split_of, stem_of
from medgraft.data.scan import IMAGE_SUFFIXES, UNREAD_PICTURES, Scan, scan
from medgraft.data.tables.files import LISTS
from medgraft.data.tables.images import same_name
from medgraft.data.tables.join import completed, with_columns
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.read_table import tables_beside
from medgraft.data.tables.reading import TableReading
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.types import Finding, Reading, Severity, Skipped, Source

Parts = tuple[str, ...]
NAMED = 0.5  # the share of the images that a table must name to be the one about them
ABOUT = 0.2  # the share of the images that pictures about them may be
MOST_TABLES = 20  # that are looked into
SHOWN = 6  # classes of a reading that an error lists
NAMED_BY_CLASS = (
    (r".*\d.*_(\d|[A-Za-z]+)", "{*}_{class}"),
    (r".*\d.*-(\d|[A-Za-z]+)", "{*}-{class}"),
    (r"([A-Za-z]+)\..*\d.*", "{class}.{*}"),
    (r"([A-Za-z]+)_.*\d.*", "{class}_{*}"),
    (r"([A-Za-z]+)-.*\d.*", "{class}-{*}"),
    (r"([A-Za-z]+) ?\(?\d+\)?", "{class}{*}"),
)


class FolderOptions(TableOptions, Protocol):
    """The part of `ingest.LoadOptions` that folders, and tables in them, are read by."""

    @property
    def layout(self) -> str: ...
    @property
    def one_class(self) -> bool: ...


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
    images, left_out = without_copies(found)
    given = Layout.parse(options.layout) if options.layout else None
    if given is None:
        images, about = _without_documents(images)
        left_out += about
    if given is not None and "mask" in given.words:
        masks = _masks_by(given, images)
    else:
        masks = find_masks(root, images)
        if given and _n_classes(given, masks.images) < 2 <= _n_classes(given, images):
            masks = MaskFiles(list(images), {}, [])  # a class of them is called like masks
    if not masks.images:
        raise DataError(_no_image(found))
    tables = _tables(found, masks.images, options)
    table, layout = (None, given) if given else _chosen(found, masks.images, tables, options)
    used: list[TableReading] = []
    if layout is not None:
        rows, outside = _rows(root, layout, masks)
        if not rows:
            path, why = layout.nearest(masks.images)
            raise DataError(
                f"none of the {len(masks.images):,} images in {root} fits --layout '{layout}'; the "
                f"nearest is {'/'.join(path)}: {why}{_would_fit(masks.images)}"
            )
        listing = Listing(root, sorted(rows, key=lambda row: row.id), outside)
        listing, used = with_columns(listing, tables, options)
    else:
        assert table is not None
        listing = _with_splits(_with_masks(table.listing(), masks, root), root)
    reading = Reading(
        table.sentence if table else "layout" if given else "folders",
        str(layout or ""),
        masks.by,
        (*left_out, *_droppings(found), *_not_named(table, masks.images)),
        dict(sorted((found.others + _kinds(found, [table] if table else used)).items())),
    )
    problems = [Skipped(shown("/".join(parts)), why) for parts, why in found.problems]
    findings = [
        *_unused(masks), *_unread(found, len(listing.rows)), *_copies(left_out),
        *(_beside([one for one in tables if one not in used]) if table is None else []),
    ]  # fmt: skip
    return replace(
        listing,
        root=root,
        skipped=[*problems, *listing.skipped],
        findings=[*listing.findings, *findings],
        reading=reading,
    )


def _without_documents(images: list[Parts]) -> tuple[list[Parts], list[tuple[str, int, str]]]:
    """The images without the few in folders such as `docs` beside two or more of others."""
    total = Counter(path[:i] for path in images for i in range(1, len(path)))
    found = []
    for folder in sorted(one for one in total if is_about_data(one[-1])):
        beside = [
            n for one, n in total.items() if one[:-1] == folder[:-1] and not is_about_data(one[-1])
        ]
        few = total[folder] < ABOUT * len(images)
        if few and len(beside) > 1 and 2 * total[folder] < min(beside):  # else a class of papers
            found.append(folder)
    outermost = [one for one in found if not any(one[:i] in found for i in range(1, len(one)))]
    why = "by its name about the data, and no part of it"
    kept = [path for path in images if not any(path[: len(one)] == one for one in outermost)]
    return kept, [("/".join(one), total[one], why) for one in outermost]


# --------------------------------------------------------------------------- which reading


def _tables(found: Scan, images: Sequence[Parts], options: FolderOptions) -> list[TableReading]:
    """What the tables in a folder say of its images."""
    paths = [found.root.joinpath(*parts) for parts in found.tables[:MOST_TABLES]]
    files = [found.root.joinpath(*parts) for parts in images]
    return tables_beside(found.root, paths, files, options) if paths else []


def _ties(one: TableReading) -> bool:
    """Whether a table names images, but each of its names is that of several."""
    return one.images is not None and bool(one.images.matched.unsure)


def _chosen(
    found: Scan, images: Sequence[Parts], tables: Sequence[TableReading], options: FolderOptions
) -> tuple[TableReading | None, Layout | None]:
    """The table or the layout that gives the labels; exactly one of them is not None."""
    proposals = recognise(images)
    sure = len(proposals.layouts) == 1 and _n_classes(proposals.layouts[0], images) > 1
    about = _about(found, tables, images, options, proposals.layouts[0] if sure else None)
    if len(about) == 1 and len(proposals.layouts) != 1 and (more := _of_others(about[0], tables)):
        ways = "".join(f"\n  {_pass(one)}  {_classes(one.classes)}" for one in (*about, *more))
        raise AmbiguousDataError(
            f"{found.root} has {1 + len(more)} tables that label different images; put them into "
            f"one, with a column split if they are parts, or pass one as DATA:{ways}"
        )
    if len(about) == 1 and not sure:
        others = [one for one in tables if _pass(one) != _pass(about[0])]
        return completed(about[0], others, options), None
    unsure = [one for one in tables if not one.sure and one.n_images >= NAMED * len(images)]
    if len(proposals.layouts) == 1 and not sure and unsure and not options.one_class:
        raise DataError(f"{found.root} has one class only by its folders; {_remedy(found, unsure)}")
    if len(proposals.layouts) == 1:
        layout = proposals.layouts[0]
        other = next((one for one in about if not _same_classes(found, layout, one)), None)
        if other is None or len(other.classes) < 2:
            return None, layout
        raise AmbiguousDataError(
            f"{found.root} can be read in two ways; say which:\n  --layout '{layout}'  "
            f"{_counts(layout, images)}\n  {other.path} as DATA  {_classes(other.classes)}"
        )
    if len(about) > 1:
        ways = "".join(f"\n  {_pass(one)}  {_classes(one.classes)}" for one in about)
        raise AmbiguousDataError(
            f"{found.root} has {len(about)} tables that label its images; pass one as DATA:{ways}"
        )
    if proposals.layouts:
        ways = "".join(f"\n  --layout '{one}'  {_counts(one, images)}" for one in proposals.layouts)
        raise AmbiguousDataError(
            f"{found.root} can be read in {len(proposals.layouts)} ways; pass the one that is "
            f"right:{ways}"
        )
    why = proposals.why or "they all lie in one folder"
    raise DataError(
        f"{found.root} does not say which class each image has: {why}{_in_names(images)}; "
        f"{_remedy(found, tables)}"
    )


def _about(
    found: Scan, tables: Sequence[TableReading], images: Sequence[Parts], options: FolderOptions,
    folders: Layout | None,
) -> list[TableReading]:  # fmt: skip
    """The tables that label the images, and differ: by image; else, where folders do not, by
    patient, or two together of which one names the images and one has the labels.

    Of those that label by patient, beside `folders` only one whose patients are the classes.
    """
    many = [one for one in tables if one.n_images >= NAMED * len(images)]
    by_image = [one for one in many if one.sure and not one.key]
    by_patient = [one for one in many if one.sure and one.key]
    if by_image:
        return _unlike(by_image)
    if folders is not None:
        return [one for one in by_patient if _are_its_patients(found, folders, one)]
    if by_patient:
        return _unlike(by_patient)
    together = [
        completed(one, [other for other in tables if other is not one], options) for one in many
    ]
    for one in together:
        if one.why_not and one.why_not in one.torn.values():
            raise DataError(one.why_not)
    return _unlike([one for one in together if one.sure])


def _unlike(tables: Sequence[TableReading]) -> list[TableReading]:
    """The tables without those that give no other classes, and of no other images, than one."""
    kept: list[tuple[TableReading, dict[str, str]]] = []
    if len(tables) < 2:
        return list(tables)
    for one in sorted(tables, key=lambda one: -one.n_images):
        labels = _labels(one)
        if not any(
            labels.keys() <= others.keys()
            and _one_to_one([(name, others[path]) for path, name in labels.items()])
            for _, others in kept
        ):
            kept.append((one, labels))
    return [one for one, _ in kept]


def _one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    return len({a for a, _ in pairs}) == len({*pairs}) == len({b for _, b in pairs})


def _are_its_patients(found: Scan, layout: Layout, table: TableReading) -> bool:
    """Whether the folders that look like classes are what a table of patients names."""
    said = [
        (layout.read(Path(row.source.path).relative_to(found.root).parts), row.group)
        for row in table.listing().rows
    ]
    if len(table.classes) >= len({patient for _, patient in said}):
        return False  # it says what the classes are called
    return all(one and same_name(one.label) == same_name(patient) for one, patient in said)


def _of_others(chosen: TableReading, tables: Sequence[TableReading]) -> list[TableReading]:
    """The tables that label images which the chosen one does not name."""
    named = _labels(chosen).keys()
    rivals = [one for one in tables if bool(one.key) == bool(chosen.key)]
    return [one for one in rivals if _labels(one).keys() - named]


def _labels(one: TableReading) -> dict[str, str]:
    """The label of each image that a table gives one, where it is sure."""
    try:
        return {row.source.path: row.label for row in one.listing().rows if row.label}
    except DataError:
        return {}


def _pass(one: TableReading) -> str:
    """What to pass to have this table, or this sheet of it, read."""
    part = one.table.part if one.table else ""
    return f"{one.path}" + (f" --sheet '{part}'" if part else "")


def _would_fit(images: Sequence[Parts]) -> str:
    layouts = recognise(images).layouts
    return f"; --layout '{layouts[0]}' would fit" if len(layouts) == 1 else ""


def _n_classes(layout: Layout, images: Sequence[Parts]) -> int:
    return len({meaning.label for path in images if (meaning := layout.read(path))} - {""})


def _same_classes(found: Scan, layout: Layout, table: TableReading) -> bool:
    """Whether a table's labels are those of the folders, perhaps by other names."""
    said = []
    for row in table.listing().rows:
        parts = Path(row.source.path).relative_to(found.root).parts
        meaning = layout.read(parts)
        if meaning is not None and row.label:
            said.append((meaning.label, row.label))
    return _one_to_one(said)


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


def _not_named(table: TableReading | None, images: Sequence[Parts]) -> list[tuple[str, int, str]]:
    left = len(images) - table.n_images if table else 0
    assert table is not None or not left
    return [("images", left, f"{table.path.name} does not name them")] if table and left else []


def _beside(tables: Sequence[TableReading]) -> list[Finding]:
    """A table that names the images and was not used, because the folders give the labels; a
    warning where it says which of them are of one patient.
    """
    found = []
    for one in tables:
        if _ties(one) and not one.n_images:
            text = f"{one.path.name} may be about the images, and was not used: {one.why_not}."
            remedy = f"Mend it, and pass it as DATA: {one.path}."
            found.append(Finding("table_beside", "warn", text, remedy=remedy))
        if not one.further or not one.n_images:
            continue
        text = (
            f"{one.path.name} names {one.n_images:,} of the images; the folders gave the labels, "
            f"and what else it says was not used ({', '.join(one.further[:8])})."
        )
        remedy = f"To use its columns, pass it as DATA: {one.path}."
        if not one.sure:
            remedy = f"Give it a column label, and pass it as DATA: {one.path}."
        if people := _joining(one):
            text += (
                f" Images of one {people[0]} may come to stand on both sides of a split, which "
                "makes every number too good."
            )
        severity: Severity = "warn" if people else "info"
        found.append(
            Finding("table_beside", severity, text, {"images": one.n_images}, remedy=remedy)
        )
    return found


def _joining(one: TableReading) -> list[str]:
    """The columns of a table, named as a patient's or the like, that name several images each."""
    if one.table is None:
        return []
    return [
        name
        for name in one.further
        if rank_of(name) in (PERSON, THING)
        and len(keys := [key for key in known(np.array(one.table.column(name, one.rows))) if key])
        > len(set(keys))
    ]


def _kinds(found: Scan, used: Sequence[TableReading]) -> Counter[str]:
    """The tables that were not used, by kind."""
    paths = {found.root.joinpath(*parts): kind_of(parts[-1]) for parts in found.tables}
    read = {path for one in used for path in (one.path, *(path for path, _ in one.joined))}
    return Counter(kind for path, kind in paths.items() if path not in read)


def _classes(classes: Mapping[str, int]) -> str:
    """Classes with their images, as an error shows them."""
    named = [f"{name} {n:,}" for name, n in sorted(classes.items())][:SHOWN]
    return f"{len(classes)} classes: {', '.join([*named, *['…'] * (len(classes) > SHOWN)])}"


def _counts(layout: Layout, images: Sequence[Parts]) -> str:
    """The classes of a reading, and how many groups it makes, as an error shows them."""
    said = [meaning for path in images if (meaning := layout.read(path))]
    groups = {meaning.group for meaning in said if meaning.group}
    text = _classes(Counter(meaning.label for meaning in said))
    return text + (f"; {len(groups):,} groups" if groups else "")


def _in_names(images: Sequence[Parts]) -> str:
    """Where files, not folders, are named by class, the flag that reads them so."""
    stems = [stem_of(path[-1]) for path in images]
    for pattern, written in NAMED_BY_CLASS:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        classes = Counter(match[1] for match in matches if match)
        if all(map(says_part, classes)):
            continue
        if all(matches) and 1 < len(classes) <= max(2, min(20, len(images) // 5)):
            layout = "/".join(["*"] * (len(images[0]) - 1) + [written])
            counts = ", ".join(f"{name} {n:,}" for name, n in sorted(classes.items())[:SHOWN])
            return f"; the file names may say it: --layout '{layout}' ({counts})"
    return ""


def _remedy(found: Scan, tables: Sequence[TableReading]) -> str:
    if any(one.n_images for one in tables):
        most = max(tables, key=lambda one: one.n_images)
        if most.sure:
            return (
                f"{most.path.name} labels {most.n_images:,} of its images; to study those, pass it "
                f"as DATA: {most.path}"
            )
        return f"{most.path} names {most.n_images:,} of its images, but: {most.why_not}"
    if found.tables:
        paths = [str(found.root.joinpath(*table)) for table in found.tables]
        more = f" (or {', '.join(paths[1:4])})" if len(paths) > 1 else ""
        return f"if a table gives the labels, pass it as DATA: {paths[0]}{more}"
    lists = " or ".join(sorted(LISTS & found.others.keys()))
    return (
        "put each class into a folder of its own (class/image), say how the folders are meant "
        "(--layout 'split/class/group/image'), or give a table with the columns path,label"
        + (f" (a {lists} file is one, passed as DATA)" if lists else "")
    )


def _no_image(found: Scan) -> str:
    problems = found.problems
    why = f"; {len(problems)} skipped, the first: {problems[0][1]}" if problems else ""
    others = f"; there are {_by_kind(found.others)}" if found.others else ""
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    return f"no image in {found.root} (read are {kinds}){others}{why}; expected class/image"


def _rows(root: Path, layout: Layout, masks: MaskFiles) -> tuple[list[Row], list[Skipped]]:
    """A row for each image that the layout reads; the others, with why not."""
    rows, outside = [], []
    for parts in masks.images:
        meaning = layout.read(parts)
        if meaning is None or meaning.is_mask:
            outside.append(Skipped("/".join(parts), _why_outside(layout, parts)))
            continue
        paths = [str(root.joinpath(*mask)) for mask in masks.masks_of.get(parts, ())]
        source = Source(str(root.joinpath(*parts)))
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


# --------------------------------------------------------------------------- masks by a layout


def _masks_by(layout: Layout, files: Sequence[Parts]) -> MaskFiles:
    """Masks that a layout names, each with the image of its name, class, group and split."""
    said = {path: meaning for path in files if (meaning := layout.read(path))}
    masks = {path: meaning for path, meaning in said.items() if meaning.is_mask}
    named: dict[str, list[tuple[Parts, Meaning]]] = defaultdict(list)
    for path, meaning in said.items():
        if not meaning.is_mask:
            named[meaning.name].append((path, meaning))
    found: dict[Parts, list[Parts]] = defaultdict(list)
    for mask, meaning in masks.items():
        options = [path for path, other in named[meaning.name] if _agree(meaning, other)]
        if len(options) == 1:
            found[options[0]].append(mask)
    used = {mask for of_image in found.values() for mask in of_image}
    return MaskFiles(
        [path for path in files if path not in masks],
        {image: tuple(sorted(of_image)) for image, of_image in found.items()},
        [mask for mask in masks if mask not in used],
        ("the layout",),
    )


def _agree(mask: Meaning, image: Meaning) -> bool:
    pairs = ((mask.split, image.split), (mask.label, image.label), (mask.group, image.group))
    return all(a == b or not a or not b for a, b in pairs)


# --------------------------------------------------------------------------- what is left out


def _droppings(found: Scan) -> tuple[tuple[str, int, str], ...]:
    ours = {name: n for name, n in found.droppings.items() if name.startswith("medgraft-")}
    return tuple((name, n, "a result of medgraft") for name, n in sorted(ours.items()))


def _by_kind(kinds: dict[str, int]) -> str:
    return ", ".join(
        f"{n:,} {kind or 'without a suffix'}"
        for kind, n in sorted(kinds.items(), key=lambda p: -p[1])
    )


def _unread(found: Scan, n_images: int) -> list[Finding]:
    """Files that a person would call pictures, and that are not read, by their kind."""
    kinds = {kind: n for kind, n in found.others.items() if kind in UNREAD_PICTURES}
    total = sum(kinds.values())
    if not total:
        return []
    return [
        Finding(
            "unread",
            "warn" if total > n_images / 20 else "info",
            f"{total:,} files beside the {n_images:,} images are of kinds that are not read: "
            f"{_by_kind(kinds)}.",
            {kind or "no suffix": n for kind, n in kinds.items()},
            remedy="Convert them to PNG if they are images, or leave them where they are.",
        )
    ]


def _unused(masks: MaskFiles) -> list[Finding]:
    total = len(masks.unused) + sum(map(len, masks.masks_of.values()))
    if not masks.unused:
        return []
    return [
        Finding(
            "masks",
            "info",
            f"{len(masks.unused):,} of {total:,} masks belong to no image, or to several.",
            {"unused": len(masks.unused), "masks": total},
            remedy="Name each mask like its image, with the same folders below masks/.",
        )
    ]


def _copies(left_out: Sequence[tuple[str, int, str]]) -> list[Finding]:
    return [
        Finding(
            "copied_folder",
            "info",
            f"The folder {what} was left out: {n:,} images, {why}.",
            {"n": n},
            remedy="Delete it, or pass it as DATA if it is the one that counts.",
        )
        for what, n, why in left_out
    ]
