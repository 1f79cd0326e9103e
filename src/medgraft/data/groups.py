r"""Which images belong together: patients by a column, by a pattern, or by habits of naming.

A pattern is searched in the file name (`person12_virus_3.jpeg`), then in the folders around it
from the nearest outwards, but for the class's and the split's; the first part that matches gives
the key. What stands in the pattern's capture groups is the key, or else the whole match. An image
without a key is its own group.

Whether images that share a key are one patient's, or are merely numbered alike, is for
`profile/group_similarity.py` to judge; it asks `short_keys` and `crossing` for what to judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from medgraft.data.names import split_of
from medgraft.errors import DataError
from medgraft.types import Grouping, Strings

PATIENT_COLUMNS = ("group", "patient", "patient_id", "subject", "subject_id", "case_id")
MIN_FIT = 0.95  # the share of images that a proposed pattern must fit


@dataclass(frozen=True, slots=True)
class Habit:
    """How the files of some well-known medical sets are named.

    `short` are tempting shorter keys: equal where two images are of one patient, but perhaps also
    where counting started anew, which is why they are tested and not grouped by.
    """

    name: str
    pattern: str
    short: tuple[tuple[str, str], ...] = ()


HABITS = (
    Habit(  # Kermany et al., Cell 172, 2018; bacteria and virus count persons separately
        "paediatric chest X-rays",
        r"person\d+_(?:bacteria|virus)|(?:NORMAL2-)?IM-\d+",
        short=(("personN", r"person\d+"), ("IM-N", r"IM-\d+")),
    ),
    Habit("optical coherence tomography", r"^(?:CNV|DME|DRUSEN|NORMAL)-(\d+)-\d+\."),
    Habit("NIH chest X-rays", r"^000\d{5}(?=_\d{3}\.)"),
    Habit("BreakHis slides", r"^SOB_[BM]_[A-Z]+-(\d+-\w+)-\d+-\d+\."),
    Habit("TCGA barcodes", r"TCGA-[0-9A-Z]{2}-[0-9A-Z]{4}"),
    Habit(
        "patient numbers",
        r"(?i)(?<![a-z])(?:patient|pat|pt|subject|subj|sub|case|person)[-_ ]?\d+",
    ),
)


def apply_grouping(
    ids: Strings,
    splits: Strings,
    metadata: Mapping[str, Strings],
    class_names: Strings,
    group: str | None = None,
    no_groups: bool = False,
    in_layout: Strings | None = None,
) -> tuple[Strings, Grouping]:
    r"""Give every image its group.

    Parameters
    ----------
    ids, splits, class_names : (n,)
        Paths with forward slashes; 'train', 'val', 'test' or ''; the class's name or ''.
    metadata
        Columns (n,) of the user's table.
    group
        A column, or `regex:PATTERN`. None: a column named like a patient's is used, or else the
        first of `HABITS` that fits 95 % of the images, joins some, and leaves every class that
        has two images at least two groups.
    no_groups
        Make no such proposal.
    in_layout : (n,)
        The groups that the layout of folders gives, '' where none.

    Returns
    -------
    groups : (n,)
        Keys with a prefix that says where they come from.
    grouping
        What was done, and how to ask for it or turn it off.

    Raises
    ------
    DataError
        The column is absent or empty, or the pattern is invalid or fits no image.

    Examples
    --------
    >>> ids = np.array(["a/p1_x.png", "b/p1_y.png", "b/q.png"])
    >>> none, classes = np.array(["", "", ""]), np.array(["a", "b", "b"])
    >>> apply_grouping(ids, none, {}, classes, r"regex:p\d+")[0].tolist()
    ['name:p1', 'name:p1', 'image:b/q.png']
    """
    if group is not None and group.startswith("regex:"):
        keys = _keys(group.removeprefix("regex:"), ids, class_names)
        if not keys.any():
            raise DataError(
                f"--group '{group}' matches none of the {len(ids)} file names (the first: "
                f"{ids[0]}); correct the pattern, or pass --group COLUMN or --no-groups"
            )
        return _grouped("name", keys, ids, splits, Grouping(group, False, "by the pattern given"))
    if group is not None:
        keys = _column(group, metadata)
        return _grouped("column", keys, ids, splits, Grouping(group, False, f"by column '{group}'"))
    if no_groups:
        return _own(ids), Grouping(text="Each image is its own group, as asked for.")
    if in_layout is not None and in_layout.any():
        how = Grouping("none", True, "by the folders that they lie in")
        return _grouped("folder", in_layout, ids, splits, how)
    named = {name.lower().replace(" ", "_"): name for name in metadata}
    for known in PATIENT_COLUMNS:
        if known in named and metadata[named[known]].any():
            column = named[known]
            how = Grouping(column, True, f"by column '{column}', because of its name")
            return _grouped("column", metadata[column], ids, splits, how)
    for habit in HABITS:
        keys = _keys(habit.pattern, ids, class_names)
        groups = np.where(keys == "", _own(ids), keys)
        if _fits(keys) and _joins(keys) and _leaves_two(groups, class_names):
            how = Grouping(
                f"regex:{habit.pattern}", True, f"by file names that look like {habit.name}"
            )
            return _grouped("name", keys, ids, splits, how)
    return _own(ids), Grouping()


def short_keys(ids: Strings) -> dict[str, Strings]:
    """The shorter keys of the habit that the file names follow, as name → (n,), '' where none.

    An empty dict where no habit fits, or the one that does has no shorter keys.
    """
    nowhere = np.full(len(ids), "")
    for habit in HABITS:
        if habit.short and _fits(_keys(habit.pattern, ids, nowhere)):
            return {name: _keys(pattern, ids, nowhere) for name, pattern in habit.short}
    return {}


def crossing(keys: Strings, splits: Strings) -> Strings:
    """The keys (k,), sorted, that occur in more than one official split.

    keys, splits : (n,). An empty key or split counts for nothing.

    >>> crossing(np.array(["p1", "p1", "p2", "p2"]), np.array(["train", "test", "val", "val"]))
    array(['p1'], dtype='<U2')
    """
    said = (keys != "") & (splits != "")
    pairs = np.unique(np.stack([keys[said], splits[said]]), axis=1)
    unique, n_splits = np.unique(pairs[0], return_counts=True)
    return unique[n_splits > 1].astype(keys.dtype)


def _keys(pattern: str, ids: Strings, class_names: Strings) -> Strings:
    """(n,) the key of each image, '' where the pattern does not match."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"'{pattern}' is not a regular expression ({error}); correct --group regex:PATTERN"
        ) from error
    return np.array(
        [_key(compiled, *pair) for pair in zip(ids.tolist(), class_names.tolist(), strict=True)],
        dtype=np.str_,
    )


def _key(pattern: re.Pattern[str], id_: str, class_name: str) -> str:
    for part in reversed(PurePosixPath(id_).parts):
        if part == class_name or split_of(part):
            continue
        if match := pattern.search(part):
            return "_".join(text for text in match.groups() if text) or match[0]
    return ""


def _column(name: str, metadata: Mapping[str, Strings]) -> Strings:
    if name not in metadata:
        raise DataError(
            f"no group column '{name}' (further columns: {', '.join(metadata) or 'none'}); pass "
            "--group COLUMN, --group regex:PATTERN or --no-groups"
        )
    if not metadata[name].any():
        raise DataError(f"the group column '{name}' is empty; fill it in, or pass --no-groups")
    return metadata[name]


def _fits(keys: Strings) -> bool:
    return bool((keys != "").mean() >= MIN_FIT)


def _joins(keys: Strings) -> bool:
    found = keys[keys != ""]
    return len(np.unique(found)) < len(found)


def _leaves_two(groups: Strings, class_names: Strings) -> bool:
    """Whether every class of two images or more keeps two groups, so that it can be judged."""
    members = [groups[class_names == name] for name in np.unique(class_names) if name]
    return all(len(of_class) < 2 or len(np.unique(of_class)) > 1 for of_class in members)


def _own(ids: Strings) -> Strings:
    return np.strings.add("image:", ids)


def _grouped(
    kind: str, keys: Strings, ids: Strings, splits: Strings, how: Grouping
) -> tuple[Strings, Grouping]:
    """Name the groups, and say in a sentence what came of it; `how.text` says by what."""
    has_key: NDArray[np.bool_] = keys != ""
    groups = np.where(has_key, np.strings.add(f"{kind}:", keys), _own(ids))
    n_groups, crossed = len(np.unique(groups)), len(crossing(groups, splits))
    text = f"{len(ids):,} images were joined into {n_groups:,} groups {how.text}"
    if alone := len(ids) - int(has_key.sum()):
        text += f"; {alone:,} without a key are groups of their own"
    if len(set(splits.tolist()) - {""}) > 1:
        text += f"; {crossed or 'none'} of the groups lie{'s' * (crossed == 1)} in several splits"
    if how.guessed:
        text += ". This was proposed, not asked for; --no-groups turns it off"
    return groups, Grouping(how.rule, how.guessed, text + ".")
