"""The door through which data comes in: `load` turns what a user has into an `ImageTable`.

Files are read and hashed here, and not decoded: whether bytes are a picture shows in
`decode.py`. What the images look like, and whether they leak, is for the room `profile`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medgraft.data.folders import read_folder
from medgraft.data.groups import apply_grouping
from medgraft.data.listing import EMPTY, Listing, Row, bar
from medgraft.data.pixel_rule import with_rule
from medgraft.data.stored_header import StoredHeader, hash_and_header, sniff_array
from medgraft.data.tables import read_csv, read_npz
from medgraft.errors import DataError
from medgraft.types import Finding, ImageTable, Ints, Progress, Skipped

NEGATIVE_WORDS = {"normal", "benign", "healthy", "negative", "control"}
BATCH = 64  # files hashed by one thread at a go, so that handing over costs nothing


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a user's words for things differ from ours.

    `group` is a column of the CSV or `regex:PATTERN`; `positive` a class of two. `one_class` lets
    data of a single class in, which can be judged and not learned from. `page` is the one read of
    files with several, from 1; `pixel_range` the stored values shown black and white in images of
    more than eight bits (by default those that the data set uses: `pixel_rule.py`).
    """

    path_column: str = "path"
    label_column: str = "label"
    split_column: str = "split"
    group: str | None = None
    no_groups: bool = False
    positive: str | None = None
    one_class: bool = False
    page: int | None = None
    pixel_range: tuple[float, float] | None = None


def load(
    data: str | Path, options: LoadOptions | None = None, progress: Progress | None = None
) -> ImageTable:
    """Read the images at `data`: a folder, a CSV or a MedMNIST `.npz`.

    Parameters
    ----------
    data
        A folder `class/image` or `split/class/image` (further folders inside a class are fine;
        one named `masks` holds masks), a CSV with `path,label[,split]` and any further columns,
        or a MedMNIST file.
    options
        Column names, grouping and positive class; by default what the names say.

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
    rows, unread, headers = _hashed(listing.rows, progress)
    skipped = (*listing.skipped, *unread)
    if not rows:
        raise DataError(f"none of the images in {data} can be read; the first: {skipped[0].reason}")
    classes = _classes(rows, data, options.one_class)
    labels = np.array([classes.index(r.label) if r.label else -1 for r in rows], np.int64)
    positive, guess = choose_positive(classes, options.positive)
    ids = np.array([row.id for row in rows])
    splits = np.array([row.split for row in rows], dtype="U5")  # room for every split's name
    values = zip(*(row.extra for row in rows), strict=True)
    metadata = {n: np.array(v) for n, v in zip(listing.columns, values, strict=True)}
    named = np.array([row.label for row in rows])
    groups, grouping = apply_grouping(
        ids, splits, metadata, named, group=options.group, no_groups=options.no_groups
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
        findings=(*listing.findings, *guess, *_label_findings(labels, classes, ids.tolist())),
    )
    return with_rule(table, headers, page=options.page, span=options.pixel_range, progress=progress)


def _read(path: Path, options: LoadOptions, progress: Progress | None) -> Listing:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path} does not exist; give a folder, a CSV or a MedMNIST .npz"
        ) from error
    except (OSError, ValueError) as error:  # a name too long, a folder above closed
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read ({reason}); check the path and its permissions"
        ) from error
    if path.is_dir():
        return read_folder(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return read_csv(path, options.path_column, options.label_column, options.split_column)
    if path.suffix.lower() == ".npz":
        return read_npz(path, progress)
    raise DataError(
        f"{path} is neither a folder nor a .csv, .tsv or .npz file; put the images into class "
        "folders, or list them in a CSV with the columns path,label"
    )


def _hashed(
    rows: Sequence[Row], progress: Progress | None
) -> tuple[list[Row], list[Skipped], dict[str, StoredHeader]]:
    """Fill in each row's content hash; a file that is empty or cannot be read is skipped.

    With it, by that hash, what the files store that is more than a picture of eight bits.
    """
    headers: dict[str, StoredHeader] = {}
    kept: list[Row] = []
    skipped: list[Skipped] = []
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    pool = ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1)))  # slow disks like a queue
    try:
        with bar(progress, "Reading images", len(rows)) as advance:
            for batch, hashes in zip(batches, pool.map(_hash_all, batches), strict=True):
                for row, (name, problem, header) in zip(batch, hashes, strict=True):
                    if header is not None:
                        headers[name] = header
                    if problem:
                        skipped.append(Skipped(row.id, problem))
                    else:
                        kept.append(replace(row, content_hash=name))
                advance(len(batch))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the files still queued
    return kept, skipped, headers


def _hash_all(rows: Sequence[Row]) -> list[tuple[str, str, StoredHeader | None]]:
    return [_hash(row) for row in rows]


def _hash(row: Row) -> tuple[str, str, StoredHeader | None]:
    """(hash of the bytes, '', what they store) or ('', why there is none, None)."""
    if row.content_hash:
        member = row.source.member
        return row.content_hash, "", sniff_array(row.source.path, member) if member else None
    try:
        found, header = hash_and_header(row.source.path)
    except OSError as error:
        return "", f"cannot be read ({error.strerror})", None
    return ("", "empty file", None) if found == EMPTY else (found, "", header)


def _classes(rows: Sequence[Row], data: str | Path, one_class: bool) -> tuple[str, ...]:
    """The classes by name; where all names are whole numbers, by value."""
    names = {row.label for row in rows if row.label}
    numbered = all(name.isdecimal() for name in names)
    classes = tuple(sorted(names, key=lambda name: (int(name) if numbered else 0, name)))
    twins = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if twins[name.casefold()] > 1]
    if alike:
        raise DataError(
            f"the classes {', '.join(alike)} differ only in case, so one class may stand under two "
            "names; rename them"
        )
    if not classes:
        raise DataError(f"no image in {data} has a label; fill in the label column")
    if len(classes) == 1 and not one_class:
        remedy = _other_folder(Path(data) / classes[0]) or "add images of another class"
        raise DataError(f"{data} has one class only ({classes[0]}), two are needed; {remedy}")
    return classes


def _other_folder(inside: Path) -> str:
    """What to try instead, where the only class is a folder that itself holds folders."""
    nested = inside.is_dir() and any(path.is_dir() for path in inside.iterdir())
    return f"perhaps you mean the folder {inside}" if nested else ""


def choose_positive(
    classes: tuple[str, ...], wanted: str | None = None
) -> tuple[str | None, tuple[Finding, ...]]:
    """The positive class of two, and a warning where it was guessed.

    It is the one that is not called normal, benign, healthy, negative or control (as a word
    anywhere in the name: `normal_lung`), no (as the first word: `no_finding`) or 0 (against 1);
    where that leaves none or both, the last by name.

    Raises
    ------
    DataError
        `wanted` is no class, or there are not two classes.

    Examples
    --------
    >>> choose_positive(("NORMAL", "PNEUMONIA"))
    ('PNEUMONIA', ())
    >>> choose_positive(("abnormal", "no finding"))[0]
    'abnormal'
    """
    if wanted is not None:
        if len(classes) != 2:
            raise DataError(
                f"a positive class ('{wanted}') needs two classes, and there are {len(classes)} "
                f"({', '.join(classes)}); leave --positive out"
            )
        chosen = [name for name in classes if name.casefold() == wanted.casefold()]
        if not chosen:
            raise DataError(
                f"the positive class '{wanted}' is none of {', '.join(classes)}; pass one of them "
                "to --positive"
            )
        return chosen[0], ()
    if len(classes) != 2:
        return None, ()
    if set(classes) == {"0", "1"}:
        return "1", ()
    candidates = [name for name in classes if not _is_negative(name)]
    if len(candidates) == 1:
        return candidates[0], ()
    guess = classes[-1]
    return guess, (
        Finding(
            "positive_class",
            "warn",
            f"'{guess}' was guessed to be the positive class, because it is the last by name.",
            remedy=f"Pass --positive {classes[0]} or --positive {guess}.",
        ),
    )


def _is_negative(name: str) -> bool:
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return bool(NEGATIVE_WORDS.intersection(words)) or words[:1] == ["no"]


def _label_findings(labels: Ints, classes: tuple[str, ...], ids: list[str]) -> list[Finding]:
    """What is thin about the labels: images that have none, and classes of a single image."""
    findings = []
    missing = [ids[i] for i in np.flatnonzero(labels == -1)]
    if missing:
        findings.append(
            Finding(
                "missing_label",
                "warn",
                f"{len(missing)} of {len(ids)} images have no label and cannot be learned from.",
                {"n": len(missing)},
                tuple(missing),
                "Fill in their labels, or leave the rows out.",
            )
        )
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    for index in np.flatnonzero(counts == 1):
        findings.append(
            Finding(
                "class_of_one",
                "warn",
                f"The class '{classes[index]}' has a single image.",
                {"n": 1},
                (ids[int(np.flatnonzero(labels == index)[0])],),
                "Add images of it, or take it out.",
            )
        )
    return findings
