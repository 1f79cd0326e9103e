"""Folds by the site that images come from, so that each is judged by models of the other sites.

A site is a hospital, a scanner, a collection: whatever the next place may differ by as these do.
Patients stay whole, and every fold holds every class, or it could not be judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from medgraft.data.groups.keys import known
from medgraft.errors import DataError, FitError, LeakError
from medgraft.types import Finding, Folds, ImageTable, Ints, Strings

UNKNOWN = "(not said)"  # the site of images of which none is known; together they are one
MOST_FOLDS = 10  # sites beyond these share folds: each fold trains everything anew
FEWEST = 5  # groups a site on average, or the column names patients or images
TORN = 0.5  # of the groups of several images: from here on the column does not name places
SHOWN = 8  # sites or columns that a message names


@dataclass(frozen=True, eq=False)
class SiteFolds:
    """Folds by site. sites : (n,) of each image that of its group. findings : what to know."""

    folds: Folds
    sites: Strings
    findings: tuple[Finding, ...]


def sites_of(table: ImageTable, asked: str) -> Strings:
    """The site of each image (n,), `UNKNOWN` where it is not said.

    asked : a column of the table's metadata, or `regex:PATTERN` searched in the image's path; its
    first group, else the match, is the site.

    Raises
    ------
    DataError
        No such column, an empty one, a pattern that is none or matches nothing.
    """
    if asked.startswith("regex:"):
        values = _by_pattern(asked.removeprefix("regex:"), table.ids)
    elif asked in table.metadata:
        values = known(table.metadata[asked])
    else:
        raise DataError(
            f"no column '{asked}' names sites (further columns: {_some(table.metadata) or 'none'})"
            "; pass --site COLUMN, or --site regex:PATTERN where folders or file names hold it"
        )
    if not (values != "").any():
        raise DataError(
            f"--site {asked} says nothing of any of the {len(table)} images; fill the column in, "
            "correct the pattern, or leave --site out"
        )
    return np.where(values == "", UNKNOWN, values)


def leave_one_site_out(development: ImageTable, asked: str, seed: int = 0) -> SiteFolds:
    """Folds of which each is a site, or several where one alone cannot be judged.

    Sites without images of every class are left out together with others, and beyond `MOST_FOLDS`
    the smallest are. A group of several sites goes to the one that holds most of its images.

    Raises
    ------
    DataError
        As `sites_of`; there is one site only; or the column does not name places, since most
        groups lie across them or there are hardly more groups than sites.
    FitError
        The sites cannot be put into two folds that both hold every class.
    LeakError
        There are test images among them.
    """
    if (development.splits == "test").any():
        raise LeakError("folds were asked for images of the test split; pass table.development")
    said = sites_of(development, asked)
    sites, torn = _of_groups(development, said, asked)
    names, index = np.unique(sites, return_inverse=True)
    n_groups = len(np.unique(development.groups))
    if len(names) < 2:
        raise DataError(
            f"--site {asked}: all {len(development)} images to learn from are of one site "
            f"('{names[0]}'), and leaving it out leaves nothing; leave --site out"
        )
    if n_groups < FEWEST * len(names):
        raise DataError(
            f"--site {asked} has {len(names)} values for {n_groups} patients or groups, so it "
            f"names no places (at least {FEWEST} a site are needed); pass another column, or join "
            "its values"
        )
    counts = np.zeros((len(names), len(development.classes)), np.int64)
    np.add.at(counts, (index, development.labels), 1)
    fold_of = _joined(counts)
    if fold_of.max() == 0:
        raise FitError(_cannot(asked, names, counts, development.classes))
    assignment = fold_of[index]
    folds = Folds(development.ids, development.groups, assignment, int(fold_of.max()) + 1, seed)
    findings = _findings(asked, names, counts, fold_of, torn, development.classes)
    return SiteFolds(folds, sites, tuple(findings))


def _by_pattern(pattern: str, ids: Strings) -> Strings:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise DataError(
            f"'{pattern}' is not a regular expression ({error}); correct --site regex:PATTERN"
        ) from error
    found = [search(id) for id in ids.tolist()]
    return known(np.array([_text(match) if match else "" for match in found], dtype=np.str_))


def _text(match: re.Match[str]) -> str:
    return next((text for text in match.groups() if text), match[0])


def _of_groups(table: ImageTable, said: Strings, asked: str) -> tuple[Strings, Strings]:
    """The site of each image's group (n,), and the groups that lie across several."""
    groups, group_of = np.unique(table.groups, return_inverse=True)
    names, site_of = np.unique(said, return_inverse=True)
    images = np.zeros((len(groups), len(names)), np.int64)
    np.add.at(images, (group_of, site_of), 1)
    torn = (images > 0).sum(axis=1) > 1
    several = images.sum(axis=1) > 1
    if torn.sum() > TORN * several.sum():
        raise DataError(
            f"--site {asked} does not name places: {torn.sum()} of {several.sum()} patients or "
            "groups with several images lie across its values; pass another column, or correct "
            "--group"
        )
    return names[images.argmax(axis=1)[group_of]], groups[torn]


def _joined(counts: Ints) -> Ints:
    """The fold of each site, from its images of each class (n_sites, n_classes).

    Sites are joined until each fold holds every class: the smallest that lacks one, with the fold
    that has most of what it lacks, of those the smallest. Then the two smallest, down to
    `MOST_FOLDS`.
    """
    members = [[site] for site in range(len(counts))]
    held = [row.copy() for row in counts]

    def size(fold: int) -> tuple[int, int]:
        return int(held[fold].sum()), fold

    def join(fold: int, other: int) -> None:
        first, last = sorted((fold, other))
        members[first] += members.pop(last)
        held[first] += held.pop(last)

    while len(held) > 1:
        lacking = [fold for fold in range(len(held)) if not held[fold].all()]
        if lacking:
            mine = min(lacking, key=size)
            others = (fold for fold in range(len(held)) if fold != mine)
            absent = held[mine] == 0
            join(mine, min(others, key=lambda f: (-int((held[f][absent] > 0).sum()), size(f))))
        elif len(held) > MOST_FOLDS:
            smallest, second = sorted(range(len(held)), key=size)[:2]
            join(smallest, second)
        else:
            break
    fold_of = np.zeros(len(counts), np.int64)
    for fold, sites in enumerate(members):
        fold_of[sites] = fold
    return fold_of


def _cannot(asked: str, names: Strings, counts: Ints, classes: tuple[str, ...]) -> str:
    alone = [
        f"'{name}' has only {classes[int(row.argmax())]}"
        for name, row in zip(names.tolist(), counts, strict=True)
        if (row > 0).sum() == 1
    ]
    told = f" ({'; '.join(alone[:SHOWN])})" if alone else ""
    return (
        f"--site {asked}: the {len(names)} sites cannot be put into two folds that both hold "
        f"images of every class{told}, so no site can judge what the others taught; a model may "
        "then have learned the site instead of the class. Leave --site out, or leave classes out "
        "(--leave-out CLASS)"
    )


def _findings(
    asked: str, names: Strings, counts: Ints, fold_of: Ints, torn: Strings, classes: tuple[str, ...]
) -> Iterator[Finding]:
    """How the folds came about, and what a reader of the figures must know."""
    sizes = counts.sum(axis=1)
    n_folds = int(fold_of.max()) + 1
    largest = names[np.argsort(-sizes, kind="stable")].tolist()
    text = (
        f"Images are judged by models of other sites: by --site {asked} there are {len(names)} "
        f"({_some(largest)}), left out in {n_folds} folds."
    )
    together = [names[fold_of == fold].tolist() for fold in range(n_folds)]
    shared = [" + ".join(some) for some in together if len(some) > 1]
    if shared:
        text += (
            " Left out together, for want of every class in each or because more than "
            f"{MOST_FOLDS} folds take too long: {_some(shared)}."
        )
    yield Finding("judged_by_site", "info", text, {"sites": len(names), "folds": n_folds})
    one = [
        f"{name} (only {classes[int(row.argmax())]})"
        for name, row in zip(names.tolist(), counts, strict=True)
        if (row > 0).sum() == 1
    ]
    if one:
        yield Finding(
            "site_of_one_class",
            "warn",
            f"{len(one)} of {len(names)} sites have images of one class only: {_some(one)}. What "
            "the site looks like then tells the class, and how well classes are told apart there "
            "cannot be said.",
            {"n": len(one)},
            remedy="Add images of the other classes from these sites, or leave the sites out.",
        )
    if len(torn):
        yield Finding(
            "groups_across_sites",
            "warn",
            f"{len(torn)} patients or groups have images of several sites; all images of each "
            "count to the site that has most of them, so that no patient is on both sides.",
            {"n": len(torn)},
            tuple(torn[:SHOWN].tolist()),
        )
    if UNKNOWN in names:
        n = int(sizes[names == UNKNOWN][0])
        yield Finding(
            "site_not_said",
            "warn",
            f"Of {n} images the site is not said. They count as one site more, and may be of the "
            "others, which then are not wholly new to the models that judge them.",
            {"n": n},
            remedy=f"Fill in what --site {asked} reads, or leave these images out.",
        )


def _some(names: Iterable[str]) -> str:
    """The first of several names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
