"""Do the leak checks find what was planted, and keep quiet where nothing is?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.data.split import keep_copies_together
from medgraft.errors import DataError
from medgraft.profile import group_similarity as likenesses
from medgraft.profile.group_similarity import (
    chance_to_win,
    numbering_or_leakage,
    similarity_of_sharers,
    unit_codes,
)
from medgraft.profile.leakage import groups_across_splits, identical_files
from medgraft.types import FeatureTable, Finding, Grouping, ImageTable, Source

GUESSED = Grouping(r"regex:p\d+", True, "guessed")


def make_table(
    ids: list[str],
    labels: list[int],
    splits: list[str],
    groups: list[str] | None = None,
    hashes: list[str] | None = None,
) -> ImageTable:
    empty = np.array([""] * len(ids))
    table = ImageTable(
        ids=np.array(ids),
        sources=tuple(Source(id_) for id_ in ids),
        content_hashes=np.array(hashes or ids),
        labels=np.array(labels, np.int64),
        groups=np.array(groups or [f"image:{id_}" for id_ in ids]),
        splits=np.array(splits),
        masks=empty,
        classes=("NORMAL", "PNEUMONIA"),
    )
    for column in (table.ids, table.content_hashes, table.labels, table.groups, table.splits):
        column.flags.writeable = False  # whoever changes its input fails
    return table


def two_sided(
    n_keys: int, strength: float, *, per_side: int = 1, seed: int = 0
) -> tuple[ImageTable, FeatureTable]:
    """Names `person{k}_virus` (train) and `person{k}_bacteria` (test), all of one class.

    Codes are noise plus `strength` times a pattern of the person's own.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_keys), 2 * per_side)
    is_test = np.tile(np.repeat([False, True], per_side), n_keys)
    ids = [
        f"{'test' if t else 'train'}/PNEUMONIA/person{k}_{'bacteria' if t else 'virus'}_{i}.jpeg"
        for i, (k, t) in enumerate(zip(person, is_test, strict=True))
    ]
    values = rng.normal(size=(len(ids), 64)) + strength * rng.normal(size=(n_keys, 64))[person]
    table = make_table(ids, [1] * len(ids), ["test" if t else "train" for t in is_test])
    return table, FeatureTable(table.ids, {"tap@avg": values.astype(np.float32)})


def by_check(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


# --------------------------------------------------------------------------- groups


def test_torn_groups_are_severe_and_counted() -> None:
    table = make_table(
        list("abcdefg"),
        [0] * 7,
        ["train", "train", "test", "val", "train", "test", ""],
        ["p1", "p1", "p1", "p2", "p2", "p3", "p3"],
    )
    found = by_check(groups_across_splits(table))
    severe = found["groups_across_splits"]
    assert severe.severity == "severe"
    assert dict(severe.numbers) == {"groups": 2, "images": 5, "test_images": 2}
    assert set(severe.images) == {"a", "c", "f", "g"}  # one image a side of p1, and of p3
    info = found["groups_across_train_and_val"]
    assert (info.severity, dict(info.numbers)) == ("info", {"groups": 1, "images": 2})


def test_whole_groups_give_no_finding() -> None:
    table = make_table(list("abc"), [0] * 3, ["train", "train", "test"], ["p", "p", "q"])
    assert groups_across_splits(table) == ()


# --------------------------------------------------------------------------- copies


def test_copies_are_sorted_by_the_harm_they_do() -> None:
    table = make_table(
        list("abcdefghi"),
        [0, 0, 0, 0, 1, 0, 0, 0, -1],
        ["train"] * 5 + ["val", "test", "train", "train"],
        ["g1", "g1", "g1", "g2", "g2", "g3", "g3", "g4", "g4"],
        # same group thrice; two classes; across the test border; alone; no label against none
        ["A", "A", "A", "B", "B", "C", "C", "D", "D"],
    )
    found = by_check(identical_files(table))
    assert set(found) == {
        "identical_files",
        "identical_files_across_classes",
        "identical_files_across_splits",
    }
    assert dict(found["identical_files"].numbers) == {
        "sets": 4,
        "surplus": 5,
        "sets_across_classes": 1,
        "sets_across_splits": 1,
        "sets_across_groups": 0,
    }
    assert found["identical_files_across_classes"].images == ("d", "e")
    assert found["identical_files_across_splits"].images == ("f", "g")
    assert {f.severity for f in found.values()} == {"info", "severe"}


def test_copies_in_two_groups_are_named_and_gone_once_they_are_kept_together() -> None:
    table = make_table(list("abc"), [0] * 3, ["train"] * 3, ["g1", "g2", "g3"], ["A", "B", "A"])
    found = by_check(identical_files(table))["identical_files_across_groups"]
    assert found.severity == "info"  # a study joins the groups
    assert found.images == ("a", "c")
    kept = by_check(identical_files(keep_copies_together(table)))
    assert set(kept) == {"identical_files"}


def test_train_and_val_are_one_side_of_the_border() -> None:
    table = make_table(list("ab"), [0, 0], ["train", "val"], ["g", "g"], ["A", "A"])
    assert [finding.severity for finding in identical_files(table)] == ["info"]


def test_no_copies_no_finding() -> None:
    assert identical_files(make_table(list("ab"), [0, 1], ["", ""])) == ()


# --------------------------------------------------------------------------- shorter keys


def test_chance_to_win_equals_counting_pairs() -> None:
    rng = np.random.default_rng(3)
    sizes = [2, 1, 4, 3]
    cosines = rng.integers(0, 6, (5, 10)) / 6  # with ties
    owner = np.repeat(range(4), sizes)
    expected = []
    for key in range(4):
        mine, theirs = cosines[:, owner == key, None], cosines[:, None, owner != key]
        expected.append(((mine > theirs) + 0.5 * (mine == theirs)).mean())
    np.testing.assert_allclose(chance_to_win(cosines, sizes), expected)


def test_true_patients_behind_a_short_key_are_leakage() -> None:
    table, codes = two_sided(40, 1.0, per_side=2)
    (finding,) = numbering_or_leakage(table, codes)
    assert (finding.check, finding.severity) == ("shared_patients", "severe")
    assert finding.numbers["key"] == "personN"
    assert finding.numbers["keys"] == 40
    assert float(finding.numbers["more_alike"]) > 0.9
    assert finding.numbers["p"] == pytest.approx(0.001)  # none of 999 is as good as the truth
    tests, development = finding.images[::2], finding.images[1::2]
    assert len(tests) == len(development) == 6
    for one, other in zip(tests, development, strict=True):
        assert one.startswith("test/")
        assert other.startswith("train/")
        assert one.split("_")[0].split("/")[-1] == other.split("_")[0].split("/")[-1]


def test_a_number_used_twice_is_numbering() -> None:
    table, codes = two_sided(100, 0.0)
    (finding,) = numbering_or_leakage(table, codes)
    assert (finding.check, finding.severity) == ("shared_numbering", "info")
    assert "100 shorter keys (personN" in finding.text
    assert float(finding.numbers["low"]) < 0.5 < float(finding.numbers["high"])


def test_a_certain_but_tiny_difference_is_not_leakage() -> None:
    table, codes = two_sided(300, 0.2, per_side=2)
    (finding,) = numbering_or_leakage(table, codes)
    assert float(finding.numbers["p"]) <= 0.01
    assert float(finding.numbers["low"]) > 0.5
    assert finding.severity == "info"
    assert "hardly more alike" in finding.text


def test_too_few_keys_decide_nothing() -> None:
    table, codes = two_sided(2, 3.0, per_side=2)
    (finding,) = numbering_or_leakage(table, codes)
    assert finding.numbers["more_alike"] == 1.0  # one matching of two gives that by luck
    assert finding.severity == "warn"
    assert "cannot be told" in finding.text


def test_few_shared_keys_among_many_are_still_found() -> None:
    """Three patients on both sides, sixty on one: the sixty are what they are compared with."""
    table, codes = two_sided(63, 2.0, per_side=2)
    person = np.array([int(i.split("person")[1].split("_")[0]) for i in table.ids.tolist()])
    table = table.select((person < 3) | (table.splits == "train"))
    (finding,) = numbering_or_leakage(table, codes)
    assert finding.numbers["keys"] == finding.numbers["compared"] == 3
    assert finding.severity == "severe"


def test_the_interval_holds_chance_as_often_as_it_says() -> None:
    inside, called = 0, 0
    for seed in range(200):
        table, codes = two_sided(12, 0.0, seed=seed)
        keys = np.array([id_.split("_")[0].split("/")[-1] for id_ in table.ids.tolist()])
        rows, unit = unit_codes(table, codes)
        similarity = similarity_of_sharers(table.select(rows), unit, keys[rows], seed)
        assert similarity is not None
        inside += similarity.estimate.low <= 0.5 <= similarity.estimate.high
        called += similarity.estimate.low > likenesses.LEAKAGE
    assert inside >= 182  # 95 % of 200, less three standard errors
    assert called == 0


def test_only_images_of_one_class_are_compared() -> None:
    """A class's look must not pass for a patient's: first no pair is of one class, then all are."""
    table, codes = two_sided(20, 0.0)
    other = replace(table, labels=(table.splits == "test").astype(np.int64))
    (finding,) = numbering_or_leakage(other, codes)
    assert "not measured" in finding.text
    half = np.array([int(i.split("person")[1].split("_")[0]) % 2 for i in table.ids.tolist()])
    mixed = replace(table, labels=half.astype(np.int64))
    look = codes.matrix() + 5 * half[:, None].astype(np.float32)
    (finding,) = numbering_or_leakage(mixed, FeatureTable(codes.ids, {"tap@avg": look}))
    assert finding.severity != "severe"
    assert float(finding.numbers["low"]) < 0.5


def test_without_codes_it_says_that_nothing_was_measured() -> None:
    table, _ = two_sided(20, 1.0)
    (finding,) = numbering_or_leakage(table, None)
    assert finding.severity == "info"
    assert "not measured" in finding.text


def test_guessed_groups_on_both_sides_are_judged_by_their_images() -> None:
    table, codes = two_sided(30, 1.5)
    keys = [f"name:p{i // 2}" for i in range(60)]
    plain = np.array([f"x/{i}.png" for i in range(60)])  # no shorter keys in such names
    guessed = replace(table, ids=plain, groups=np.array(keys), grouping=GUESSED)
    codes = FeatureTable(plain, codes.blocks)
    assert groups_across_splits(guessed) == ()
    assert [f.check for f in numbering_or_leakage(guessed, codes)] == ["shared_patients"]
    assert [f.severity for f in numbering_or_leakage(guessed, None)] == ["warn"]
    stated = replace(guessed, grouping=Grouping("patient"))
    assert [f.severity for f in groups_across_splits(stated)] == ["severe"]
    assert numbering_or_leakage(stated, codes) == ()


def test_order_and_missing_codes_do_not_matter() -> None:
    table, codes = two_sided(30, 0.5)
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = FeatureTable(codes.ids[order], {"tap@avg": codes.matrix()[order]})
    (one,), (two,) = numbering_or_leakage(table, codes), numbering_or_leakage(table, shuffled)
    assert two.numbers["more_alike"] == pytest.approx(one.numbers["more_alike"], abs=1e-6)
    without = FeatureTable(codes.ids[2:], {"tap@avg": codes.matrix()[2:]})
    (left,) = numbering_or_leakage(table, without)
    assert (left.numbers["keys"], left.numbers["compared"]) == (30, 29)
    assert numbering_or_leakage(table, codes, 5) == numbering_or_leakage(table, codes, 5)


def test_foreign_codes_are_refused() -> None:
    table, codes = two_sided(5, 0.0)
    foreign = FeatureTable(np.strings.add("else/", codes.ids), codes.blocks)
    with pytest.raises(DataError, match="none of the 10 codes"):
        numbering_or_leakage(table, foreign)


def test_large_keys_are_sampled_and_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likenesses, "MOST_KEYS", 15)
    monkeypatch.setattr(likenesses, "MOST_IMAGES", 2)
    table, codes = two_sided(30, 1.0, per_side=4)
    (finding,) = numbering_or_leakage(table, codes)
    assert (finding.numbers["keys"], finding.numbers["compared"]) == (30, 15)
    assert finding.severity == "severe"


def test_chest_xray_has_thirty_sets_of_copies_and_two_short_keys(shared: Path) -> None:
    """Counts as its SOURCE.md gives them."""
    table = load(shared / "data" / "chest_xray")
    numbers = by_check(identical_files(table))["identical_files"].numbers
    assert (numbers["sets"], numbers["surplus"]) == (30, 32)
    assert numbers["sets_across_splits"] == numbers["sets_across_classes"] == 0
    assert groups_across_splits(table) == ()
    found = {f.numbers["key"]: f.numbers["keys"] for f in numbering_or_leakage(table, None)}
    assert found == {"personN": 170, "IM-N": 94}
