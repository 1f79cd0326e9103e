"""Leave one site out: which sites are a fold, which are joined, and what names no sites."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.data.sites import MOST_FOLDS, UNKNOWN, leave_one_site_out, sites_of
from medgraft.errors import DataError, FitError, LeakError
from medgraft.types import ImageTable, Source


def table(rows: dict[str, list[int]], groups: list[str] | None = None) -> ImageTable:
    """Images by site: the labels of each; a group an image unless said."""
    sites = [site for site, labels in rows.items() for _ in labels]
    labels = np.array([label for some in rows.values() for label in some], np.int64)
    ids = np.array([f"{site}/i{k:04d}" for k, site in enumerate(sites)])
    n = len(ids)
    return ImageTable(
        ids=ids,
        sources=tuple(Source(id) for id in ids),
        content_hashes=ids,
        labels=labels,
        groups=ids if groups is None else np.array(groups),
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=("a", "b", "c")[: labels.max() + 1],
        metadata={"hospital": np.array(sites)},
    )


BOTH = [0] * 6 + [1] * 6


def test_each_site_is_a_fold_and_judged_by_the_others() -> None:
    found = leave_one_site_out(table({"x": BOTH, "y": BOTH, "z": BOTH}), "hospital", seed=4)
    assert found.folds.n_folds == 3
    assert found.folds.seed == 4
    pairs = set(zip(found.sites.tolist(), found.folds.assignment.tolist(), strict=True))
    assert len(pairs) == 3
    assert {fold for _, fold in pairs} == {0, 1, 2}
    assert [one.check for one in found.findings] == ["judged_by_site"]


def test_folders_name_sites_by_a_pattern() -> None:
    asked = table({"x": BOTH, "y": BOTH})
    assert set(sites_of(asked, "regex:^([^/]+)/").tolist()) == {"x", "y"}
    assert leave_one_site_out(asked, "regex:^[^/]+").folds.n_folds == 2


def test_a_site_that_lacks_a_class_is_left_out_with_another() -> None:
    found = leave_one_site_out(table({"x": BOTH, "y": BOTH * 2, "z": [1] * 9}), "hospital")
    fold = dict(zip(found.sites.tolist(), found.folds.assignment.tolist(), strict=True))
    assert found.folds.n_folds == 2
    assert fold["z"] == fold["x"] != fold["y"]  # with the smaller of those that have both classes
    (warned,) = [one for one in found.findings if one.severity == "warn"]
    assert "z (only b)" in warned.text


def test_a_site_is_joined_with_the_one_that_completes_it_not_with_the_smallest() -> None:
    rows = {"x": [0, 1] * 8, "y": [2] * 9, "z": [0, 1, 2] * 9, "d": [0] * 10, "s": [0, 1, 2] * 4}
    found = leave_one_site_out(table(rows), "hospital")
    fold = dict(zip(found.sites.tolist(), found.folds.assignment.tolist(), strict=True))
    assert fold["s"] == fold["y"] == fold["d"] != fold["x"] == fold["z"]


@pytest.mark.parametrize("n", [MOST_FOLDS, MOST_FOLDS + 7])
def test_many_sites_share_folds_and_every_fold_holds_every_class(n: int) -> None:
    asked = table({f"s{i:02d}": [*BOTH[: 12 - i % 3], 1] for i in range(n)})
    found = leave_one_site_out(asked, "hospital")
    assert found.folds.n_folds == MOST_FOLDS
    for site in np.unique(found.sites):
        assert len(set(found.folds.assignment[found.sites == site].tolist())) == 1
    for fold in range(MOST_FOLDS):
        assert set(asked.labels[found.folds.assignment == fold].tolist()) == {0, 1}


def test_a_patient_of_two_sites_stays_whole() -> None:
    rows = {"x": BOTH, "y": BOTH}
    names = [f"g{k}" for k in range(24)]
    names[12] = names[13] = "g0"  # one image at x, two at y
    names[23] = names[22]
    names[11] = names[10]
    found = leave_one_site_out(table(rows, names), "hospital")
    mine = np.array(names) == "g0"
    assert set(found.sites[mine].tolist()) == {"y"}
    assert len(set(found.folds.assignment[mine].tolist())) == 1
    assert [one.images for one in found.findings if one.check == "groups_across_sites"] == [("g0",)]


def test_images_of_no_said_site_are_one_more_and_it_is_said() -> None:
    asked = table({"x": BOTH, "y": BOTH, "": BOTH})
    found = leave_one_site_out(asked, "hospital")
    assert UNKNOWN in found.sites
    assert "site_not_said" in [one.check for one in found.findings]


@pytest.mark.parametrize(
    ("rows", "asked", "words"),
    [
        ({"x": BOTH}, "hospital", "of one site ('x')"),
        ({"x": BOTH, "y": BOTH}, "scanner", "further columns: hospital"),
        ({"x": BOTH, "y": BOTH}, "regex:^(", "not a regular expression"),
        ({"x": BOTH, "y": BOTH}, "regex:zz", "says nothing of any"),
        ({"": BOTH}, "hospital", "says nothing of any"),
        ({f"s{i}": [0, 1] for i in range(12)}, "hospital", "at least 5 a site"),
    ],
)
def test_what_names_no_sites_is_refused(rows: dict[str, list[int]], asked: str, words: str) -> None:
    with pytest.raises(DataError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        leave_one_site_out(table(rows), asked)
    assert "--site" in str(caught.value)


def test_a_column_that_most_patients_lie_across_is_no_site() -> None:
    names = [f"g{k % 12}" for k in range(24)]  # each once frontal, once lateral
    with pytest.raises(DataError, match="does not name places"):
        leave_one_site_out(table({"frontal": BOTH, "lateral": BOTH}, names), "hospital")


def test_sites_that_tell_the_class_judge_nothing() -> None:
    with pytest.raises(FitError, match="'x' has only a; 'y' has only b"):
        leave_one_site_out(table({"x": [0] * 9, "y": [1] * 9}), "hospital")


def test_the_test_split_is_refused() -> None:
    asked = table({"x": BOTH, "y": BOTH})
    with pytest.raises(LeakError):
        leave_one_site_out(
            dataclasses.replace(asked, splits=np.full(len(asked), "test")), "hospital"
        )
