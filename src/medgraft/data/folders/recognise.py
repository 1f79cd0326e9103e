"""Which level of a folder tree is the split, which the class, which the patient.

Nothing here reads a picture. What is decided rests on how names repeat from folder to folder, and
on a small vocabulary (`names.py`); where it does not suffice, every reading is returned, and the
user is asked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from medgraft.data.folders.layout import Layout, Sentence
from medgraft.data.groups.keys import numbered
from medgraft.data.names import (
    is_no_class,
    is_numbered_class,
    says_class,
    says_part,
    says_patient,
    short_split_of,
    split_of,
    words,
)

Parts = tuple[str, ...]
SHARE = 0.5  # of the images must have a level for it to mean something
MOST = 0.6  # of the pairs of names that two levels could have; nested ones have a half at most
MANY = 10  # names below a class are patients' rather than sub-classes from here on
ENDING = re.compile(
    r"(?i)(.+)[_\- ](positive|negative|pos|neg|normal|abnormal|benign|malignant|healthy|cancer)"
)


@dataclass(frozen=True)
class Proposals:
    """What a tree may mean: one layout where it is sure, several where not, none where no level can
    be the class. why : what speaks against, or for, in a sentence.
    """

    layouts: tuple[Layout, ...]
    why: str = ""


@dataclass(frozen=True)
class _Column:
    """One level of the tree: its names with the images below each."""

    names: Mapping[str, int]

    def all(self, is_so: object) -> bool:
        return all(is_so(name) for name in self.names)  # type: ignore[operator]

    def any(self, is_so: object) -> bool:
        return any(is_so(name) for name in self.names)  # type: ignore[operator]

    @property
    def parts(self) -> bool:
        """Whether its names are those of parts of the data: fold 1 and 2, images_part_1 and _2."""
        forms = {re.sub(r"\d+", "#", name) for name in self.names}
        return self.all(says_part) or (len(forms) == 1 and self.all(is_no_class))

    @property
    def identifies(self) -> bool:
        """Whether its names look like those of patients, studies or slides."""
        names = list(self.names)
        if self.all(says_patient):
            return True
        if len(names) < 5 or self.all(is_numbered_class) or self.any(says_class):
            return False
        forms = Counter(re.sub(r"\d+", "#", name) for name in names)
        digits = [name for name in names if re.search(r"\d{3}|(?<!\d)0\d", name)]
        coded = [n for n in names if re.fullmatch(r"[0-9a-fA-F-]{6,}", n) or len(n) > 30]
        return len(digits) >= 0.8 * len(names) and (
            len(forms) <= max(2, len(names) // 2) or len(coded) >= 0.8 * len(names)
        )


class _Tree:
    """The folders of a tree as rows with their images counted, wrappers taken out."""

    def __init__(self, paths: Sequence[Parts]) -> None:
        self.folders = Counter(path[:-1] for path in paths)
        children: dict[Parts, set[str]] = defaultdict(set)
        for folder in self.folders:
            for i in range(len(folder)):
                children[folder[:i]].add(folder[i])
        self.kept = {folder: self._levels(folder, children) for folder in self.folders}
        self._drop_constants()

    def _levels(self, folder: Parts, children: Mapping[Parts, set[str]]) -> list[int]:
        """The levels of a folder that are not just the folder above once more."""
        return [
            i
            for i, name in enumerate(folder)
            if i == 0
            or len(children[folder[:i]]) > 1
            or folder[:i] in self.folders
            or words(name) != words(folder[i - 1])
        ]

    def _drop_constants(self) -> None:
        """Take out the levels that have one name for all, but for a lone split's."""
        self.dropped: list[tuple[str, dict[Parts, int]]] = []
        total, depth = sum(self.folders.values()), 0
        while True:
            deep = [folder for folder, levels in self.kept.items() if len(levels) > depth]
            names = {folder[self.kept[folder][depth]] for folder in deep}
            if not names or sum(self.folders[folder] for folder in deep) < SHARE * total:
                return
            if len(names) > 1 or split_of(next(iter(names))):
                depth += 1
                continue
            self.dropped.append((names.pop(), {f: self.kept[f][depth] for f in deep}))
            for folder in deep:
                del self.kept[folder][depth]

    def put_back(self) -> bool:
        """Put back the deepest level that was taken out and whose name may be a class's."""
        for name, level_of in reversed(self.dropped):
            if not is_no_class(name):
                for folder, level in level_of.items():
                    self.kept[folder] = sorted([*self.kept[folder], level])
                return True
        return False

    def row(self, folder: Parts) -> Parts:
        return tuple(folder[i] for i in self.kept[folder])

    def columns(self) -> list[_Column]:
        total = sum(self.folders.values())
        found = []
        for i in range(max((len(levels) for levels in self.kept.values()), default=0)):
            names: Counter[str] = Counter()
            for folder, n in self.folders.items():
                if len(row := self.row(folder)) > i:
                    names[row[i]] += n
            if names.total() < SHARE * total:
                break
            found.append(_Column(names))
        return found

    def pairs(self, a: int, b: int) -> set[tuple[str, str]]:
        """The pairs of names that levels `a` and `b` have together."""
        deepest = max(a, b)
        rows = (self.row(folder) for folder in self.kept)
        return {(row[a], row[b]) for row in rows if len(row) > deepest}

    def layout(self, roles: Sequence[str]) -> Layout:
        """The layout that gives the levels these roles."""
        found: dict[Parts, None] = {}
        for folder in sorted(self.folders):
            levels = ["*"] * len(folder)
            for role, i in zip(roles, self.kept[folder], strict=False):
                levels[i] = role
            rest = self.kept[folder][len(roles) :]
            cut = len(levels) if not rest else rest[0]
            if len(self.kept[folder]) >= _last(roles):
                found[(*levels[:cut], *(["**"] if rest else []), "image")] = None
        kept = [Sentence(levels) for levels in found if not _covered(levels, found)]
        return Layout(tuple(kept))


def _last(roles: Sequence[str]) -> int:
    """How many levels a path must have to say all that is asked of it."""
    return max(i for i, role in enumerate(roles) if "class" in role) + 1


def _covered(levels: Parts, others: Mapping[Parts, None]) -> bool:
    """`class/image` is read by `class/**/image` as well."""
    return "**" not in levels and (*levels[:-1], "**", levels[-1]) in others


def recognise(paths: Sequence[Parts]) -> Proposals:
    """Propose how the images at `paths` are to be read, by the folders that they lie in.

    Raises nothing: where no level can be the class, or several can, the proposals say so.
    """
    tree = _Tree(paths)
    columns = tree.columns()
    if all(column.all(split_of) for column in columns) and tree.put_back():
        columns = tree.columns()
    roles = ["*"] * len(columns)
    if not columns:
        return Proposals((), "the images lie in no folder that could be their class")
    split, why = _split_level(columns)
    if why:
        return Proposals((), why)
    if split is not None:
        roles[split] = "split"
    open_ = [
        i
        for i, column in enumerate(columns)
        if roles[i] == "*" and not (split is not None and _repeats(tree, columns, split, i))
    ]
    return _classes_of(tree, columns, roles, open_)


def _split_level(columns: Sequence[_Column]) -> tuple[int | None, str]:
    """The first level whose names all say a split; or why a level is half of splits."""
    for i, column in enumerate(columns):
        named = [name for name in column.names if split_of(name)]
        if len(named) == len(column.names) or _abbreviated(column):
            return i, ""
        exact = [name for name in named if len(words(name)) == 1]
        if i == 0 and exact:
            others = [name for name in column.names if name not in named]
            return None, (
                f"split folders ({', '.join(sorted(named))}) lie beside others "
                f"({', '.join(sorted(others)[:5])}), which are no split"
            )
    return None, ""


def _abbreviated(column: _Column) -> bool:
    """Whether all names are splits, some by an abbreviation, and one is the training part."""
    said = [short_split_of(name) for name in column.names]
    return all(said) and "train" in said and len(set(said)) == len(said)


def _repeats(tree: _Tree, columns: Sequence[_Column], split: int, i: int) -> bool:
    """Whether level `i` only says the split again: `train/train_images`."""
    return (
        i != split
        and columns[i].all(split_of)
        and all(split_of(a) == split_of(b) for a, b in tree.pairs(split, i))
    )


def _classes_of(
    tree: _Tree, columns: Sequence[_Column], roles: list[str], open_: list[int]
) -> Proposals:
    """The readings that the levels left open allow."""
    for i in open_:
        if ending := _ending(columns[i]):
            roles[i] = ending
            for j in open_:
                if j != i and columns[j].identifies:
                    roles[j] = "group"
            return Proposals((tree.layout(roles),))
    people = [i for i in open_ if columns[i].identifies]
    parts = [i for i in open_ if i not in people and columns[i].parts]
    left = [i for i in open_ if i not in people and i not in parts]
    if not open_:
        return Proposals((), "its folders say the split of the images, and none their class")
    if not left:
        return _only_people(tree, columns, roles, people, parts)
    few = [i for i in left if not _many_below(tree, columns, i, left)]
    people += [i for i in left if i not in few]
    sure = [i for i in few if columns[i].any(says_class)]
    if len(few) > 1 and len(sure) == 1 and _crossed(tree, columns, few):
        people += [i for i in few if i not in sure and _many_beside(columns, i)]
        few = sure
    readings = []
    for i in few:
        chosen = list(roles)
        chosen[i] = "class"
        for j in people:
            chosen[j] = "group"
        readings.append(tree.layout(_restarted(tree, columns, chosen)))
    return Proposals(tuple(dict.fromkeys(readings)))


def _only_people(
    tree: _Tree, columns: Sequence[_Column], roles: list[str], people: list[int], parts: list[int]
) -> Proposals:
    """Where every level looks like patients or parts: said, with the reading that is left."""
    i = (people or parts)[-1] if people or parts else len(columns) - 1
    chosen = list(roles)
    chosen[i] = "class"
    names = sorted(columns[i].names)
    if len(names) < 2:
        return Proposals((tree.layout(chosen),))
    what = "patients or the like" if people else "parts of the data"
    return Proposals(
        (),
        f"its {len(names)} folders ({', '.join(names[:3])} …) look like {what} and not like "
        f"classes; if they are the classes, pass --layout '{tree.layout(chosen)}'",
    )


def _ending(column: _Column) -> str:
    """The pattern of a level whose names end in their class: `study1_positive`."""
    matches = [ENDING.fullmatch(name) for name in column.names]
    if not all(matches):
        return ""
    stems = Counter(m[1] for m in matches if m)
    ends = {m[2].casefold() for m in matches if m}
    numbered = all(re.search(r"\d", stem) for stem in stems)
    return "{*}_{class}" if len(ends) > 1 and numbered else ""


def _many_below(tree: _Tree, columns: Sequence[_Column], i: int, left: Sequence[int]) -> bool:
    """Whether a level's names are many and each below one of a level above: people's names."""
    above = [j for j in left if j < i]
    if not above or columns[i].any(says_class):
        return False
    upper = columns[above[-1]]
    names = columns[i].names
    nested = len(tree.pairs(above[-1], i)) <= 1.1 * len(names)
    return nested and len(names) >= max(MANY, 5 * len(upper.names)) and median(names.values()) < 50


def _many_beside(columns: Sequence[_Column], i: int) -> bool:
    """Whether a level that each class occurs in has people's names: many, of few images each."""
    names = columns[i].names
    return len(names) >= MANY and median(names.values()) < 50


def _crossed(tree: _Tree, columns: Sequence[_Column], levels: Sequence[int]) -> bool:
    """Whether of each two of the levels every name of one meets most names of the other."""
    return all(
        len(tree.pairs(a, b)) > MOST * len(columns[a].names) * len(columns[b].names)
        for n, a in enumerate(levels)
        for b in levels[n + 1 :]
    )


def _restarted(tree: _Tree, columns: Sequence[_Column], roles: list[str]) -> list[str]:
    """Where patients are counted anew in each class or split, that is part of their key."""
    roles = list(roles)
    groups = [i for i, role in enumerate(roles) if role == "group"]
    for i in groups:
        for j in range(i):
            if roles[j] in ("class", "split") and _counted_anew(tree, columns, j, i):
                roles[j] += ",group"
    return roles


def _counted_anew(tree: _Tree, columns: Sequence[_Column], above: int, i: int) -> bool:
    """Whether the names below each name above are 1, 2, 3 …, or the same such ones everywhere.

    The same identifiers everywhere are the same patients, however they came into two classes.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for upper, name in tree.pairs(above, i):
        below[upper].add(name)
    if len(below) < 2 or len(tree.pairs(above, i)) == len(columns[i].names):
        return False  # no name stands below two
    if not any(char.isdigit() for name in columns[i].names for char in name):
        return False  # people's names are not counted
    shared = Counter(name for names in below.values() for name in names)
    if sum(n == len(below) for n in shared.values()) >= 0.9 * len(shared):
        return numbered(columns[i].names)
    return all(_counts(names) for names in below.values())


def _counts(names: set[str]) -> bool:
    """Whether the numbers in some names are nearly 0 or 1 to n."""
    numbers = {int(found[-1]) for name in names if (found := re.findall(r"\d+", name))}
    return (
        len(numbers) == len(names)
        and max(numbers) - min(numbers) < 1.5 * len(numbers)
        and min(numbers) <= 1
    )
