"""A table whose rows name patients, studies or folders: each is that of every image below the
folder of its name, or whose file name begins or ends with it.

Only where nothing is left to chance: a whole folder name or a whole word at an end of the file
name, nearly every row, and never two rows' names in one path.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medgraft.data.groups.columns import PERSON, THING, rank_of
from medgraft.data.groups.keys import FEW, coded
from medgraft.data.missing import NOBODY
from medgraft.data.names import image_of_mask, is_mask_folder, split_of
from medgraft.data.scan import NAMED_PICTURES
from medgraft.data.tables.column_names import IMAGE_NAMES, holds_label_word, is_label_name, plain
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.image_columns import ImageColumn
from medgraft.data.tables.images import ImageFiles, Matched, same_name

ROWS = 0.9  # the share of the rows that must be found
IMAGES = 0.5  # the share of the images that must be theirs
ALL = 0.95  # where so many images have a row, and keys are codes, rows without images do not matter
FOLDERS = {"folder", "foldername", "dir", "directory", "subfolder"}

Tokens = Callable[[ImageFiles, Path], Iterable[str]]
Found = Mapping[Path, tuple[int, ...]]


@dataclass(frozen=True)
class Patients:
    """A table with a row for each image, which it names by the column `key` of patients."""

    table: TableFile
    key: str
    images: ImageColumn


def by_patient(table: TableFile, files: ImageFiles, wanted: str | None) -> Patients | None:
    """The table with a row for each image that a row names by its folder or its name's end.

    None where no column does so, or two do it differently. Rows that name none come last.
    """
    if _names_files(table):
        return None
    columns = {
        name: keys
        for name in table.header
        if wanted in (None, name)
        and len(keys := _keys(table, name)) > 1
        and _may_be_key(name, list(keys), wanted)
    }
    if not columns:
        return None
    pictures = _pictures(files)
    words = {
        way: [list(tokens(files, file)) for file in pictures] for way, tokens in TOKENS.items()
    }
    fits: list[tuple[str, str, Found]] = []
    for column, keys in columns.items():
        for way, tokens in words.items():
            codes, bare = coded(list(keys)), plain(column) == "id"
            if not codes and way == "end":
                continue  # a number at the end counts images
            found = _found(keys, tokens, pictures)
            if found and _fits(found, keys, pictures, bare and not codes):
                fits.append((column, way, found))
    if not fits:
        return None
    column, way, found = min(fits, key=lambda fit: sum(map(len, fit[2].values())))
    for _, _, other in fits:
        if any(not set(rows) <= set(other.get(file, rows)) for file, rows in found.items()):
            return None
    return _spread(table, column, way, found)


def _names_files(table: TableFile) -> bool:
    """Whether a column holds names of image files: then rows are images, be they here or not."""
    return any(
        2 * sum(Path(cell.strip()).suffix.lower() in NAMED_PICTURES for cell in table.column(name))
        >= len(table.rows)
        for name in table.header
    )


def _pictures(files: ImageFiles) -> list[Path]:
    """The images, but for those that are masks by their name or folder."""
    if files.known is not None:
        return files.files
    return [
        file
        for file in files.files
        if not any(map(is_mask_folder, files.below_base(file)[:-1]))
        and not image_of_mask(file.stem)
    ]


def _keys(table: TableFile, column: str) -> Mapping[str, tuple[int, ...]]:
    """The rows of each name, as folders and files are compared; words for nothing name nobody."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(table.column(column)):
        name = same_name(cell.strip().replace("\\", "/").strip("/").rsplit("/", 1)[-1])
        if name not in NOBODY:
            found[name].append(row)
    whole = {key: re.fullmatch(r"(\d+)\.0+", key) for key in found}
    if found and all(whole.values()):  # as pandas writes whole numbers beside blanks
        found = {match[1]: found[key] for key, match in whole.items() if match}
    return {key: tuple(rows) for key, rows in found.items()}


def _may_be_key(column: str, keys: list[str], wanted: str | None) -> bool:
    """Whether a column is a patient's or the like by its name, or holds codes and no labels."""
    if wanted is not None or (rank_of(column) in (PERSON, THING) and plain(column) != "group"):
        return True  # `group` may be the arm of a trial, and its folders hold many patients
    known = rank_of(column) is not None or plain(column) in {*IMAGE_NAMES, *FOLDERS}
    label = is_label_name(column) or holds_label_word(column)
    return known and not label and (coded(keys) or (plain(column) == "id" and len(keys) >= FEW))


def _folders(files: ImageFiles, file: Path) -> Iterable[str]:
    return [same_name(part) for part in files.below_base(file)[:-1] if not split_of(part)]


def _beginnings(files: ImageFiles, file: Path) -> Iterable[str]:
    stem = same_name(file.stem)
    return [stem, *(stem[: mark.start()] for mark in re.finditer(r"[\W_]", stem))]


def _ends(files: ImageFiles, file: Path) -> Iterable[str]:
    stem = same_name(file.stem)
    return [stem, *(stem[mark.end() :] for mark in re.finditer(r"[\W_]", stem))]


TOKENS: Mapping[str, Tokens] = {"folder": _folders, "beginning": _beginnings, "end": _ends}


def _found(
    keys: Mapping[str, tuple[int, ...]], tokens: Sequence[Sequence[str]], pictures: Sequence[Path]
) -> Found:
    """The rows of each image by the words in its path, {} where one holds two of the names.

    Numbers are found with noughts before them too, where that finds more.
    """
    best: dict[Path, tuple[int, ...]] = {}
    spellings = [_as_it_is, _number] if all(map(str.isdecimal, keys)) else [_as_it_is]
    for spelling in spellings:
        spelled = {spelling(key): key for key in keys}
        found = {}
        for file, words in zip(pictures, tokens, strict=True):
            named = {spelled[word] for word in map(spelling, words) if word in spelled}
            if len(named) > 1 or len(spelled) < len(keys):
                return best
            if named:
                found[file] = keys[named.pop()]
        best = max(best, found, key=len)
    return best


def _as_it_is(text: str) -> str:
    return text


def _number(text: str) -> str:
    return text.lstrip("0") or "0"


def _fits(
    found: Found, keys: Mapping[str, tuple[int, ...]], pictures: Sequence[Path], strict: bool
) -> bool:
    """Whether nearly all rows are found, or nearly all images by codes; `strict`: both."""
    rows = {row for some in found.values() for row in some}
    enough = len(rows) >= ROWS * sum(map(len, keys.values()))
    every = len(found) >= ALL * len(pictures) and len(rows) > 1
    if strict:
        return enough and every
    return len(found) >= IMAGES * len(pictures) and (enough or (every and coded(list(keys))))


def _spread(table: TableFile, column: str, way: str, found: Found) -> Patients:
    """A row for each image, then those that have none."""
    name = next(n for n in ("path", "path of the image", "path_of_image") if n not in table.header)
    pairs = [(file, row) for file, rows in found.items() for row in rows]
    named = {row for _, row in pairs}
    left = [row for row in range(len(table.rows)) if row not in named]
    spread = replace(
        table,
        header=(*table.header, name),
        rows=[
            *((*table.rows[row], str(file)) for file, row in pairs),
            *((*table.rows[row], "") for row in left),
        ],
        lines=[table.lines[row] for row in [*(row for _, row in pairs), *left]],
    )
    matched = Matched([*(file for file, _ in pairs), *[None] * len(left)], way)
    return Patients(spread, column, ImageColumn((name,), matched))
