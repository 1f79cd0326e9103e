"""Which image a cell of a table names: by its path, by a path's tail, by its id without a suffix.

One way is used for a whole column, the strictest that serves it: a table whose paths hold is never
completed by files that merely have the same name.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from medgraft.data.listing import file_problem
from medgraft.data.missing import is_missing
from medgraft.data.names import SPLIT_NAMES
from medgraft.data.scan import NAMED_PICTURES, entries_below
from medgraft.data.tables.column_names import MASKS

WAYS = {  # from the strictest, with the words for each
    "path": "by path",
    "tail": "by the end of the path",
    "name": "by file name",
    "id": "by name without suffix",
    "number": "by number, noughts before it aside",
    "folder": "the name of a folder around them",  # of a table that names patients
    "beginning": "the beginning of their names",
    "end": "the end of their names",
}

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """For each of n cells its file or None, by which of `WAYS`; `unsure` are rows with the files
    between which nothing decides.
    """

    files: list[Path | None]
    way: str
    unsure: dict[int, list[Path]] = field(default_factory=dict)

    @property
    def n_files(self) -> int:
        """How many different files are named."""
        return len({file for file in self.files if file is not None})

    @property
    def n_rows(self) -> int:
        """How many rows name a file."""
        return sum(file is not None for file in self.files)


class ImageFiles:
    """The files that cells may name: some that are known, or all below some folders.

    Parameters
    ----------
    bases
        Folders that relative paths start from, the table's first.
    known
        The images there are; None: any file that exists, and what lies below `bases`.
    below
        Folders below which files are found by less than their path; `bases` if none.
    """

    def __init__(
        self, bases: Sequence[Path], known: Sequence[Path] | None = None,
        below: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        self.bases = [Path(os.path.normpath(base.absolute())) for base in bases]
        self.known = None if known is None else {os.path.normpath(p.absolute()): p for p in known}
        self._base_names = [str(base) for base in self.bases]
        self.below = [Path(os.path.normpath(folder.absolute())) for folder in below]

    def at(self, text: str) -> Path | None:
        """The file at this path, be it padded with blanks or written on Windows."""
        for base in self._base_names:
            for spelling in dict.fromkeys((text, text.strip(), text.strip().replace("\\", "/"))):
                name = os.path.normpath(os.path.join(base, spelling))  # noqa: PTH118  (a million)
                if self.known is not None:
                    if name in self.known:
                        return self.known[name]
                elif not file_problem(file := Path(name)):
                    return file
        return None

    @cached_property
    def files(self) -> list[Path]:
        """All images, in order."""
        if self.known is not None:
            return sorted(
                file
                for file in self.known.values()
                if not self.below or any(file.is_relative_to(folder) for folder in self.below)
            )
        found = {
            base.joinpath(*parts)
            for base in self.below or self.bases
            for parts, problem in entries_below(base)
            if not problem
        }
        return sorted(found)

    @cached_property
    def folder_names(self) -> set[str]:
        """The names of the folders that hold images, as `same_name` writes them."""
        folders = {os.path.dirname(file) for file in self.files}  # noqa: PTH120
        return {same_name(os.path.basename(folder)) for folder in folders}  # noqa: PTH119

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """The images of each file name."""
        return _index((same_name(file.name), file) for file in self.files)

    @cached_property
    def by_stem(self) -> dict[str, list[Path]]:
        """The images of each name without suffix; `scan.nii.gz` has the stem `scan.nii`."""
        return _index((same_name(os.path.splitext(file.name)[0]), file) for file in self.files)  # noqa: PTH122

    @cached_property
    def by_number(self) -> dict[int, list[Path]]:
        """The images whose name is a number, by the number."""
        return _index((int(f.stem), f) for f in self.files if re.fullmatch(r"[0-9]{1,18}", f.stem))

    def match(self, cells: Sequence[str]) -> Matched:
        """The file of each cell, by the strictest way that serves half of the cells, else by the
        one that finds most.
        """
        filled = [cell for cell in cells if not is_missing(cell)]
        exact = Matched([None if is_missing(c) else self.at(c) for c in cells], "path")
        if not filled or 2 * exact.n_rows >= len(filled):
            return exact
        depth = _telling_depth(filled)
        way = "tail" if any(len(_parts(cell)) > 1 for cell in filled) else "name"
        by_name = self._by_tail(cells, exact, depth, way, self.by_name, _last)
        ids = list(cells)
        if 2 * by_name.n_rows >= len(filled):  # then a name that is not there is not there
            ids = ["" if _has_suffix(cell) else cell for cell in cells]
        by_id = self._by_tail(ids, by_name, depth, "id", self.by_stem, _stem)
        numbers = [_number(cell) for cell in cells]
        by_number = exact
        if not by_id.n_files and sum(n is not None for n in numbers) == len(filled):
            by_number = self._by_number(numbers)
        return max(by_id, by_number, key=lambda m: m.n_rows + len(m.unsure))

    def _by_tail(
        self, cells: Sequence[str], before: Matched, depth: int, way: str,
        index: dict[str, list[Path]], key: Callable[[str], str],
    ) -> Matched:  # fmt: skip
        files = list(before.files)
        unsure = dict(before.unsure)
        for row, cell in enumerate(cells):
            if files[row] is None and row not in unsure and not is_missing(cell):
                found = self._nearest(cell, depth, index.get(key(cell), ()))
                if len(found) == 1:
                    files[row] = found[0]
                elif found:
                    unsure[row] = found
        more = files != before.files or len(unsure) > len(before.unsure)
        return Matched(files, way if more else before.way, unsure)

    def _nearest(self, cell: str, depth: int, candidates: Sequence[Path]) -> list[Path]:
        """The candidates that share the longest tail with a cell, at least `depth` parts."""
        if not candidates:
            return []
        folders = [same_name(part) for part in _parts(cell)[:-1]]
        tails = [1 + _common(folders, file.parts[:-1]) for file in candidates]
        longest = max(tails)
        found = [f for f, tail in zip(candidates, tails, strict=True) if tail == longest]
        if longest < min(depth, 1 + len(folders)):
            return []
        if folders and longest == 1:  # of another folder, though the one that is named exists?
            splits = {SPLIT_NAMES[part] for part in folders if part in SPLIT_NAMES}
            found = [
                file
                for file in found
                if folders[-1] not in self.folder_names
                and (
                    not splits or splits >= {SPLIT_NAMES[p] for p in file.parts if p in SPLIT_NAMES}
                )
            ]
        name = _parts(cell)[-1]
        for better in (
            lambda file: file.name == name or file.stem == name,
            lambda file: not any(MASKS.search(part) for part in self.below_base(file)),
        ):
            if len(found) > 1 and any(map(better, found)):
                found = [file for file in found if better(file)]
        return found

    def below_base(self, file: Path) -> Parts:
        """The parts of a file's path below the folder that it was found in."""
        base = next((base for base in self.bases if file.is_relative_to(base)), None)
        return file.relative_to(base).parts if base else file.parts[-2:]

    def _by_number(self, numbers: Sequence[int | None]) -> Matched:
        files: list[Path | None] = []
        unsure = {}
        for row, number in enumerate(numbers):
            found = [] if number is None else self.by_number.get(number, [])
            files.append(found[0] if len(found) == 1 else None)
            if len(found) > 1:
                unsure[row] = found
        return Matched(files, "number", unsure)


def _index(pairs: Iterable[tuple[str | int, Path]]) -> dict:  # type: ignore[type-arg]
    found = defaultdict(list)
    for key, file in pairs:
        found[key].append(file)
    return dict(found)


def same_name(name: str) -> str:
    """A name as file systems that do not tell capitals or accents' spellings apart see it."""
    return unicodedata.normalize("NFC", name).casefold()


def _parts(cell: str) -> Parts:
    r"""The parts of a path of any machine.

    >>> _parts(r"C:\\data\\set/x.png ")
    ('C:', 'data', 'set', 'x.png')
    >>> _parts("https://a.org/set/x%20(1).png?dl=1#top")[-2:]
    ('set', 'x (1).png')
    """
    if re.match(r"\s*\w+://", cell):  # an address on the web has marks of its own
        cell = unquote(re.split(r"[?#]", cell, maxsplit=1)[0])
    found = tuple(p.strip() for p in re.split(r"[\\/]+", cell) if p.strip() not in ("", ".", ".."))
    return found or ("",)


def _last(cell: str) -> str:
    return same_name(_parts(cell)[-1])


def _stem(cell: str) -> str:
    """The name without a suffix that images have; '1.2.840' has none.

    >>> _stem("a/x.PNG"), _stem("1.2.840")
    ('x', '1.2.840')
    """
    name = _parts(cell)[-1]
    return same_name(Path(name).stem if _has_suffix(name) else name)


def _has_suffix(cell: str) -> bool:
    return Path(_parts(cell)[-1]).suffix.lower() in NAMED_PICTURES


def _number(cell: str) -> int | None:
    found = re.fullmatch(r"([0-9]{1,18})(\.0+)?", cell.strip())
    return int(found[1]) if found else None


def _common(folders: Sequence[str], parents: Sequence[str]) -> int:
    """How many folders agree, from the nearest outwards."""
    shared = 0
    for a, b in zip(reversed(folders), reversed(parents), strict=False):
        if a != same_name(b):
            break
        shared += 1
    return shared


def _telling_depth(cells: Sequence[str]) -> int:
    """How many parts at the end tell the cells apart; a match must agree in as many.

    >>> _telling_depth(["x/p1/0.png", "x/p2/0.png"])
    2
    """
    paths = {tuple(same_name(part) for part in _parts(cell)) for cell in cells}
    most = max(map(len, paths))
    for depth in range(1, most):
        if max(Counter(path[-depth:] for path in paths).values()) == 1:
            return depth
    return most
