"""Which images belong together: patients by a column, by folders or by names of files.

A sure way is taken and said; where several are, the coarsest, as long as the others lie within it.
Where two sure ones contradict each other a question is asked, and where one is only possible, a
finding names it. `group_columns.py` and `group_names.py` find them.

Whether images that share a key are one patient's, or are merely numbered alike, is for
`profile/group_similarity.py` to judge; it asks `short_keys` and `crossing` for what to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medgraft.data.groups.columns import PERSON, column_candidates, named_once
from medgraft.data.groups.keys import Candidate, known, nests
from medgraft.data.groups.names import name_candidates
from medgraft.data.groups.paths import folders_of, keys_by
from medgraft.errors import DataError
from medgraft.types import Finding, Grouping, Strings

MOST_NAMED = 3  # possible groupings that a finding names


def apply_grouping(
    ids: Strings,
    splits: Strings,
    metadata: Mapping[str, Strings],
    class_names: Strings,
    group: str | None = None,
    no_groups: bool = False,
    folders: Sequence[tuple[str, ...]] | None = None,
    in_layout: Candidate | None = None,
) -> tuple[Strings, Grouping, tuple[Finding, ...]]:
    r"""Give every image its group.

    Parameters
    ----------
    ids, splits, class_names : (n,)
        Paths with forward slashes; 'train', 'val', 'test' or ''; the class's name or ''.
    metadata
        Columns (n,) of the user's table.
    group
        A column, or `regex:PATTERN` (`group_paths.py` says where it is searched). None: whatever
        repeats as patients do, if that is sure.
    no_groups
        Make no such proposal.
    folders
        Of each image, the folders around it that name neither its class nor its split; None: those
        that are named otherwise.
    in_layout
        What the layout of the folders says; where the user gave it (it is `sure`) it is used.

    Returns
    -------
    groups : (n,)
        Keys with a prefix that says where they come from. Words such as `unknown` are no key.
    grouping
        What was done, and how to ask for it or turn it off.
    findings
        What else may tell patients and was not used.

    Raises
    ------
    DataError
        The column is absent or empty, the pattern is invalid or fits no image, or there are two
        sure ways that contradict each other.

    Examples
    --------
    >>> ids = np.array(["a/p1_x.png", "b/p1_y.png", "b/q.png"])
    >>> none, classes = np.array(["", "", ""]), np.array(["a", "b", "b"])
    >>> apply_grouping(ids, none, {}, classes, r"regex:p\d+")[0].tolist()
    ['name:p1', 'name:p1', 'image:b/q.png']
    """
    if folders is None:
        folders = folders_of(ids, class_names)
    if group is not None:
        asked = _asked_for(group, ids, metadata, folders)
        return *_grouped(asked, ids, splits, guessed=False), ()
    if no_groups:
        return _own(ids), Grouping(text="Each image is its own group, as asked for."), ()
    if in_layout is not None and in_layout.source == "asked":
        return *_grouped(in_layout, ids, splits, guessed=False), ()
    candidates = column_candidates(metadata, class_names)
    if in_layout is not None:
        candidates.append(in_layout)
    if not any(one.sure and one.rank == PERSON for one in candidates):
        candidates += name_candidates(ids, folders, class_names)
    chosen = _coarsest([one for one in candidates if one.sure])
    findings = _possible(candidates, chosen)
    if chosen is None:
        return _own(ids), Grouping(text=_not_joined(metadata, findings)), findings
    return *_grouped(chosen, ids, splits, guessed=True), findings


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


def _asked_for(
    group: str,
    ids: Strings,
    metadata: Mapping[str, Strings],
    folders: Sequence[tuple[str, ...]],
) -> Candidate:
    if not group.startswith("regex:"):
        return Candidate(group, _column(group, metadata), f"by column '{group}'", "column", True)
    keys = keys_by(group.removeprefix("regex:"), ids, folders)
    if not keys.any():
        raise DataError(
            f"--group '{group}' matches none of the {len(ids)} file names (the first: "
            f"{ids[0]}); correct the pattern, or pass --group COLUMN or --no-groups"
        )
    return Candidate(group, keys, "by the pattern given", "name", True)


def _column(name: str, metadata: Mapping[str, Strings]) -> Strings:
    if name not in metadata:
        raise DataError(
            f"no group column '{name}' (further columns: {', '.join(metadata) or 'none'}); pass "
            "--group COLUMN, --group regex:PATTERN or --no-groups"
        )
    keys = known(metadata[name])
    if not keys.any():
        raise DataError(f"the group column '{name}' is empty; fill it in, or pass --no-groups")
    return keys


def _coarsest(sure: list[Candidate]) -> Candidate | None:
    """The one that contains all others of its rank; those of columns before those of names.

    Raises
    ------
    DataError
        Two contradict each other.
    """
    if not sure:
        return None
    if any(one.rank == PERSON for one in sure):
        sure = [one for one in sure if one.rank == PERSON]
    for one in sure:
        if all(nests(one, other) for other in sure):
            return one
    first, second = next(
        (a, b) for a in sure for b in sure if not nests(a, b) and not nests(b, a)
    )  # there are such, since what contains what is an order
    raise DataError(
        f"which images belong together can be read in two ways that contradict each other: "
        f"{first.by} ({_n_groups(first):,} groups) or {second.by} ({_n_groups(second):,}); pass "
        f"{_flag(first)} or {_flag(second)}, or --no-groups"
    )


def _possible(candidates: list[Candidate], chosen: Candidate | None) -> tuple[Finding, ...]:
    """What may tell patients too, and would join images that are apart now."""
    joining = [
        one
        for one in candidates
        if one is not chosen
        and (chosen is None or (one.source == "column" and not nests(chosen, one)))
    ][:MOST_NAMED]
    if not joining:
        return ()
    listed = "; or ".join(
        f"{one.by} ({_n_groups(one):,} groups, such as {', '.join(_examples(one))})"
        for one in joining
    )
    before = "were not joined" if chosen is None else f"were joined only {chosen.by}"
    flags = [_flag(one) for one in joining]
    return (
        Finding(
            "possible_groups",
            "warn",
            f"Images may belong together {listed}. That is not sure, so they {before}; if these "
            "are patients, figures will look better than they are.",
            {flag: _n_groups(one) for flag, one in zip(flags, joining, strict=True)},
            remedy=f"If they are patients, pass {' or '.join(flags)}; if not, --no-groups.",
        ),
    )


def _flag(one: Candidate) -> str:
    if one.rule.startswith("layout:"):
        return f"--layout '{one.rule.removeprefix('layout:')}'"
    plain = one.rule.replace("_", "").replace("-", "").isalnum()
    return f"--group {one.rule}" if plain else f"--group '{one.rule}'"


def _n_groups(one: Candidate) -> int:
    return len(np.unique(one.keys[one.keys != ""])) + int((one.keys == "").sum())


def _examples(one: Candidate) -> list[str]:
    names, size = np.unique(one.keys[one.keys != ""], return_counts=True)
    return [str(name) for name in names[size > 1][:3]]


def _not_joined(metadata: Mapping[str, Strings], findings: tuple[Finding, ...]) -> str:
    text = Grouping().text
    if once := named_once(metadata):
        columns = " and ".join(f"'{name}'" for name in once)
        verb = "name" if len(once) > 1 else "names"
        text = f"{text[:-1]}: {columns} {verb} each image once, so nothing was joined."
    return text if not findings else f"{text} {findings[0].remedy}"


def _own(ids: Strings) -> Strings:
    return np.strings.add("image:", ids)


def _grouped(
    one: Candidate, ids: Strings, splits: Strings, guessed: bool
) -> tuple[Strings, Grouping]:
    """Name the groups, and say in a sentence what came of it."""
    has_key: NDArray[np.bool_] = one.keys != ""
    kind = "column" if one.source == "column" else "name"
    groups = np.where(has_key, np.strings.add(f"{kind}:", one.keys), _own(ids))
    n_groups, crossed = len(np.unique(groups)), len(crossing(groups, splits))
    text = f"{len(ids):,} images were joined into {n_groups:,} groups {one.by}"
    if n_groups == len(ids):
        text = f"Each image is its own group: '{one.rule}' names each image once"
    if guessed and one.why:
        text += f", because {one.why}"
    if alone := len(ids) - int(has_key.sum()):
        text += f"; {alone:,} without a key are groups of their own"
    if len(set(splits.tolist()) - {""}) > 1:
        text += f"; {crossed or 'none'} of the groups lie{'s' * (crossed == 1)} in several splits"
    if guessed:
        text += ". This was proposed, not asked for; --no-groups turns it off"
    return groups, Grouping(one.rule, guessed, text + ".")
