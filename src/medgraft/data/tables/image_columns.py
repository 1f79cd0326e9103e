"""Which column of a table names the images: the one whose cells are found among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraft.data.listing import file_problem
from medgraft.data.missing import is_missing
from medgraft.data.scan import NAMED_PICTURES
from medgraft.data.tables.column_names import IMAGE_NAMES, MASKS, describes, image_preference, plain
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.images import ImageFiles, Matched
from medgraft.data.tables.options import TableOptions
from medgraft.errors import DataError

SAMPLE = 400  # rows by which the column that names the images is found
MOST_PAIRS = 6  # columns tried as the folder of a column of names


@dataclass(frozen=True)
class ImageColumn:
    """The column whose cells name the images, or a column of folders and one of names."""

    columns: tuple[str, ...]
    matched: Matched


def image_column(table: TableFile, files: ImageFiles, options: TableOptions) -> ImageColumn:
    """The column whose cells name the most images; `path` where it names any.

    Raises
    ------
    DataError
        Two columns name different images equally well, or none names any.
    """
    if options.path_column is not None:
        name = table.named(options.path_column, "--path-column")
        return ImageColumn((name,), files.match(table.column(name)))
    step = max(1, len(table.rows) // SAMPLE)
    score: dict[str, int] = {}
    for rows in dict.fromkeys([range(0, len(table.rows), step), range(len(table.rows))]):
        tried = {name: files.match(table.column(name, rows)) for name in _likely(table, rows)}
        score = {name: m.n_files + len(m.unsure) for name, m in tried.items()}
        if any(score.values()):
            break
    explicit = [name for name in score if plain(name) == "path" and score[name]]
    most = max(score.values(), default=0)
    names = explicit or [n for n in score if score[n] > most / 2 and not MASKS.search(n)]
    if not most or not names:
        names = [name for name in table.header if plain(name) in IMAGE_NAMES]
        names = sorted(names, key=image_preference)[:1]
        if not names:
            raise DataError(
                f"no column 'path' in {table.name} (columns: {', '.join(table.header)}), and none "
                "that names an image that exists; pass --path-column COLUMN, or --images DIR with "
                "the folder that the images lie in"
            )
    found = [ImageColumn((name,), files.match(table.column(name))) for name in names]
    usual = [c for c in found if not describes(c.columns[0]) or plain(c.columns[0]) in IMAGE_NAMES]
    found = usual or found  # an age may be the number of an image
    best = max(found, key=lambda c: (c.matched.n_files, -image_preference(c.columns[0])))
    _refuse_two_columns(table, best, found)
    _refuse_image_as_header(table, files, best)
    if best.matched.unsure or best.matched.n_rows < len(table.rows) / 2:
        best = _with_folder(table, files, best)
    return best


def _likely(table: TableFile, rows: Sequence[int]) -> list[str]:
    """The columns that could name images: file names, or else values that hardly repeat.

    A label `0` would otherwise name an image `0.png`.
    """
    cells = {name: table.column(name, rows) for name in table.header}
    files = [
        name
        for name, column in cells.items()
        if 2 * sum(Path(cell.strip()).suffix.lower() in NAMED_PICTURES for cell in column)
        >= len(rows)
    ]
    least = min(20, len(rows) / 3)
    return files or [name for name, column in cells.items() if len({*column}) >= least]


def _refuse_image_as_header(table: TableFile, files: ImageFiles, best: ImageColumn) -> None:
    """A header that itself names an image is a row of data; a usual word (`image`) is none."""
    name = best.columns[0]
    if plain(name) in IMAGE_NAMES or not best.matched.n_rows:
        return
    exact = best.matched.way == "path"
    if files.at(name) if exact else files.match([name]).n_rows:
        raise DataError(
            f"{table.name} has no header: its first {table.unit} names the image '{name}'; write "
            "one above it, such as path,label"
        )


def _refuse_two_columns(table: TableFile, best: ImageColumn, found: Sequence[ImageColumn]) -> None:
    rivals = [
        other
        for other in found
        if other.matched.n_files > 0.9 * best.matched.n_files
        and any(
            a is not None and b is not None and a != b
            for a, b in zip(best.matched.files, other.matched.files, strict=True)
        )
    ]
    if rivals:
        flags = " or ".join(
            f"--path-column '{c.columns[0]}' ({c.matched.n_files:,} images)"
            for c in [best, *rivals]
        )
        raise DataError(f"two columns of {table.name} name different images; pass {flags}")


def _with_folder(table: TableFile, files: ImageFiles, names: ImageColumn) -> ImageColumn:
    """The same column with another that holds its folders, where that finds more."""
    cells = table.column(names.columns[0])
    best, better = names, names.matched.n_rows
    tried = 0
    for folder in table.header:
        values = {cell.strip().replace("\\", "/").strip("/") for cell in table.column(folder)}
        lasts = {value.rsplit("/", 1)[-1].casefold() for value in values if not is_missing(value)}
        if folder in names.columns or not lasts or len(lasts & files.folder_names) < len(lasts) / 2:
            continue
        tried += 1
        pairs = zip(table.column(folder), cells, strict=True)
        joined = ["" if is_missing(b) else f"{a.strip()}/{b.strip()}" for a, b in pairs]
        matched = files.match(joined)
        if matched.n_rows > better:
            best, better = ImageColumn((folder, *names.columns), matched), matched.n_rows
        if tried == MOST_PAIRS:
            break
    return best


def mask_column(table: TableFile, files: ImageFiles, images: ImageColumn) -> str | None:
    """A column named as masks are, half of whose cells are paths of files that exist."""
    for name in table.header:
        if name not in images.columns and MASKS.search(name):
            cells = [cell for cell in table.column(name) if not is_missing(cell)]
            if cells and sum(files.at(cell) is not None for cell in cells) * 2 >= len(cells):
                return name
    return None


def names_nothing(table: TableFile, images: ImageColumn, files: ImageFiles) -> str:
    """That no cell of the column of images names one that exists."""
    cells = table.column(images.columns[-1])
    first = next((i for i, cell in enumerate(cells) if not is_missing(cell)), None)
    why = "every path is empty"
    if first is not None:
        why = f"the first: {cells[first].strip()[:200]}: {_problem(cells[first], files)}"
    return (
        f"{table.name} names no image that exists; {why}; paths (column '{images.columns[-1]}') "
        f"are relative to {files.bases[0]}; pass --images DIR with the folder they lie in"
    )


def _problem(cell: str, files: ImageFiles) -> str:
    return file_problem(files.bases[0] / cell) or file_problem(files.bases[0] / cell.strip())
