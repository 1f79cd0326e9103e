"""Splits and folds: groups whole, classes in equal shares, the same whatever the order of rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgraft.data.ingest import load
from medgraft.data.split import (
    holdout,
    keep_copies_together,
    keep_near_copies_together,
    labelled,
    make_folds,
    with_test_split,
)
from medgraft.errors import DataError, FitError, LeakError
from medgraft.features.extract import without_unreadable
from medgraft.types import ImageTable, Skipped, Source


def table(labels, groups=None, splits=None) -> ImageTable:
    n = len(labels)
    ids = np.array([f"i{k:04d}" for k in range(n)])
    labels = np.array(labels, dtype=np.int64)
    return ImageTable(
        ids=ids,
        sources=tuple(Source(i) for i in ids),
        content_hashes=ids,
        labels=labels,
        groups=ids if groups is None else np.array([f"g{g}" for g in groups]),
        splits=np.full(n, "") if splits is None else np.array(splits),
        masks=np.full(n, ""),
        classes=tuple("abcdefgh"[: max(2, labels.max() + 1)]),
    )


def spans(groups, bins):
    """In how many bins each group lies."""
    return [len(set(bins[groups == g].tolist())) for g in np.unique(groups)]


# ------------------------------------------------------------------- test split


def test_an_official_test_split_is_kept():
    official = table([0, 1, 0, 1], splits=["train", "val", "test", "test"])
    assert with_test_split(official) is official
    partly = table([0, 1, 0, 1], splits=["", "val", "test", ""])
    split = with_test_split(partly)
    assert split.splits.tolist() == ["train", "val", "test", "train"]
    assert partly.splits.tolist() == ["", "val", "test", ""]
    assert split.development.ids.tolist() == ["i0000", "i0001", "i0003"]
    assert split.findings == ()


def test_a_fifth_of_every_class_is_set_aside():
    made = with_test_split(table([0] * 80 + [1] * 20))
    assert np.bincount(made.test.labels).tolist() == [16, 4]
    assert np.bincount(made.development.labels).tolist() == [64, 16]
    assert set(made.splits.tolist()) == {"train", "test"}
    (finding,) = made.findings
    assert finding.check == "test_split"
    assert finding.numbers == {"n": 20, "seed": 0}


def test_train_and_val_without_test():
    splits = ["train"] * 40 + ["val"] * 20
    made = with_test_split(table([0, 1] * 30, splits=splits))
    assert len(made.test) == 12
    kept = made.splits != "test"
    assert made.splits[kept].tolist() == np.array(splits)[kept].tolist()


def test_only_images_of_no_split_are_drawn_where_there_are_any():
    labels, groups = [0, 1] * 30, [k // 2 for k in range(60)]
    splits = ["train" if k < 30 and k % 2 else "" for k in range(60)]  # groups 0 to 14 half named
    made = with_test_split(table(labels, groups, splits))
    assert len(made.test) > 0
    assert not {f"g{g}" for g in range(15)} & set(made.test.groups.tolist())
    all_shared = table(labels, [k % 5 for k in range(60)], splits)  # no group is free of names
    assert len(with_test_split(all_shared).test) > 0


@pytest.mark.parametrize(("n_groups", "in_test"), [(1, 0), (2, 0), (3, 1), (4, 1), (10, 2)])
def test_a_class_is_tested_where_development_keeps_two_groups(n_groups, in_test):
    made = with_test_split(table([0] * 50 + [1] * n_groups))
    assert (made.test.labels == 1).sum() == in_test
    warned = [f for f in made.findings if f.check == "untested_class"]
    assert bool(warned) == (in_test == 0)
    assert all("of: b (" in f.text and f.severity == "warn" for f in warned)


def test_images_without_label_are_named_and_left_out():
    some = table([0, -1, 1, 0, 1, 0, 1])
    split = with_test_split(some)
    assert len(split) == 6
    assert [(s.source, s.reason) for s in split.skipped] == [("i0001", "no label")]
    full = table([0, 1])
    assert labelled(full) is full


def test_holdout_refuses_what_is_no_fraction():
    for fraction in (0, 1, 1.5):
        with pytest.raises(DataError, match="must lie between 0 and 1"):
            holdout(np.array(["a"]), np.array([0]), fraction)


# ------------------------------------------------------------------- folds


def test_folds_are_exactly_stratified_where_images_stand_alone():
    folds = make_folds(table([0] * 50 + [1] * 25 + [2] * 7), n_folds=5)
    labels = np.array([0] * 50 + [1] * 25 + [2] * 7)
    for fold in range(5):
        per_class = np.bincount(labels[folds.assignment == fold], minlength=3)
        assert per_class[:2].tolist() == [10, 5]
        assert per_class[2] in (1, 2)


def test_folds_of_several_remainders_are_of_equal_size():
    """Four classes of 6 in 5 folds leave one image each over, and they go to different folds."""
    folds = make_folds(table([0, 1, 2, 3] * 6), n_folds=5)
    assert sorted(np.bincount(folds.assignment).tolist()) == [4, 5, 5, 5, 5]


def test_there_are_no_more_folds_than_groups_of_the_rarest_class():
    groups = [*range(20), 20, 20, 21, 21, 22, 22]
    folds = make_folds(table([0] * 20 + [1] * 6, groups))
    assert folds.n_folds == 3
    assert sorted(set(folds.assignment.tolist())) == [0, 1, 2]


def test_folds_that_are_refused():
    with pytest.raises(FitError, match=r"class 'b' has 1 group\(s\)"):
        make_folds(table([0, 0, 1, 1], [0, 1, 2, 2]))
    with pytest.raises(LeakError, match="test split"):
        make_folds(table([0, 1, 0, 1], splits=["train", "train", "train", "test"]))
    with pytest.raises(DataError, match="1 images have no label"):
        make_folds(table([0, 1, -1]))
    with pytest.raises(DataError, match="1 folds were asked for"):
        make_folds(table([0, 1, 0, 1]), n_folds=1)


def test_classes_whose_groups_cannot_be_parted_are_refused():
    """Three groups, each pair the whole of a class: in two folds some class lies in one only."""
    labels, groups = [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0]
    with pytest.raises(FitError, match="had to go into one fold"):
        make_folds(table(labels, groups), n_folds=2)


def test_seeds_differ_and_repeat():
    images = table([0, 1] * 50)
    first, again, other = (make_folds(images, seed=s).assignment for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_stored_assignment_stays_what_it_was():
    """Hashed order, worked out apart from the code: folds are dealt in turn by hash of the name."""
    import hashlib

    images = table([0] * 10 + [1] * 10)
    by_hash = sorted(
        range(10), key=lambda k: hashlib.blake2b(f"3:i{k:04d}".encode(), digest_size=8).digest()
    )
    fold = make_folds(images, n_folds=5, seed=3).assignment
    assert [fold[k] for k in by_hash] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


@st.composite
def studies(draw):
    """Images of 2 to 4 classes in groups of one class each, every class with 3 groups or more."""
    sizes = [
        draw(st.lists(st.integers(1, 6), min_size=3, max_size=12))
        for _ in range(draw(st.integers(2, 4)))
    ]
    labels = [c for c, groups in enumerate(sizes) for size in groups for _ in range(size)]
    groups = [
        f"{c}.{g}" for c, s in enumerate(sizes) for g, size in enumerate(s) for _ in range(size)
    ]
    return table(labels, groups), draw(st.integers(2, 6)), draw(st.integers(0, 99))


@given(studies(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_folds_keep_their_promises(study, random):
    images, n_folds, seed = study
    folds = make_folds(images, n_folds, seed)
    assert folds.ids.tolist() == images.ids.tolist()
    assert max(spans(images.groups, folds.assignment)) == 1
    assert set(folds.assignment.tolist()) == set(range(folds.n_folds))
    for c in range(len(images.classes)):
        of_class = images.labels == c
        largest = np.unique(images.groups[of_class], return_counts=True)[1].max()
        per_fold = np.bincount(folds.assignment[of_class], minlength=folds.n_folds)
        assert per_fold.min() > 0  # every fold judges the class, so every training part holds it
        assert np.abs(per_fold - of_class.sum() / folds.n_folds).max() <= largest
    order = np.array(random.sample(range(len(images)), len(images)))
    shuffled = make_folds(images.select(order), n_folds, seed)
    assert (shuffled.assignment == folds.assignment[order]).all()


@given(studies(), st.floats(0.1, 0.5))
@settings(max_examples=60, deadline=None)
def test_test_splits_keep_their_promises(study, fraction):
    images, _, seed = study
    made = with_test_split(images, fraction, seed)
    assert len(made) == len(images)
    assert max(spans(made.groups, made.splits)) == 1
    for c in range(len(images.classes)):
        of_class = images.labels == c
        largest = np.unique(images.groups[of_class], return_counts=True)[1].max()
        tested = (made.test.labels == c).sum()
        assert 0 < tested < of_class.sum()
        assert abs(tested - fraction * of_class.sum()) <= largest
        assert len(np.unique(made.development.groups[made.development.labels == c])) >= 2
    make_folds(made.development)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 14)), min_size=60, max_size=120),
    st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_groups_of_several_classes_stay_whole(pairs, seed):
    images = table(
        [c for c, _ in pairs] + [0, 1, 2] * 15,
        [g for _, g in pairs] + [g for g in range(15) for _ in range(3)],
    )
    folds = make_folds(images, 5, seed)
    assert max(spans(images.groups, folds.assignment)) == 1
    for fold in range(folds.n_folds):
        assert set(images.labels[folds.assignment != fold].tolist()) == {0, 1, 2}
    share = np.bincount(folds.assignment) / len(images)
    largest = np.unique(images.groups, return_counts=True)[1].max() / len(images)
    assert np.abs(share - 1 / folds.n_folds).max() <= 2 * largest


def test_inputs_are_left_as_they_were():
    images = table([0, 1] * 10, splits=[""] * 20)
    before = dataclasses.replace(images, labels=images.labels.copy(), splits=images.splits.copy())
    with_test_split(images)
    make_folds(images)
    assert images.fingerprint == before.fingerprint


# ------------------------------------------------------------------- copies


def copies(table_, hashes):
    return dataclasses.replace(table_, content_hashes=np.array(list(hashes)))


def test_groups_that_share_an_image_are_joined_over_several_steps():
    # g0-g1 share A, g1-g2 share B; g3 alone; the test image shares C with g3 and keeps its group
    splits = ["train", "train", "", "val", "train", "test", "test"]
    given_ = copies(table([0, 1, 0, 1, 0, 1, 0], [0, 1, 1, 2, 3, 4, 5], splits), "AABBCCC")
    kept = keep_copies_together(given_)
    assert kept.groups.tolist() == ["g0", "g0", "g0", "g0", "g3", "g4", "g5"]
    assert given_.groups.tolist() == ["g0", "g1", "g1", "g2", "g3", "g4", "g5"]
    (finding,) = kept.findings
    assert (finding.check, finding.severity) == ("copies_kept_together", "info")
    assert finding.numbers == {"groups": 3, "joined_into": 1, "before": 4, "after": 2}
    assert "of 4 groups outside an official test split 2 remain" in finding.text
    assert keep_copies_together(kept) is kept


def test_without_copies_or_hashes_nothing_is_joined():
    alone = table([0, 1, 0, 1])
    assert keep_copies_together(alone) is alone
    unknown = copies(alone, ["", "", "x", "y"])
    assert keep_copies_together(unknown) is unknown


def test_a_torn_group_stays_seen_as_torn():
    given_ = copies(table([0, 1, 0], [1, 2, 2], ["train", "train", "test"]), "AAB")
    assert keep_copies_together(given_).groups.tolist() == ["g2", "g2", "g2"]


def test_copies_are_judged_by_one_fold_and_lie_on_one_side_of_the_test_border():
    """Forty images, each thrice under other names: one image is never on two sides."""
    image = np.arange(120) % 40
    given_ = copies(table((image % 2).tolist()), [f"h{k}" for k in image])
    split = with_test_split(keep_copies_together(given_))
    assert len(split.test) > 0
    assert not set(split.test.content_hashes) & set(split.development.content_hashes)
    folds = make_folds(split.development)
    assert spans(split.development.content_hashes, folds.assignment) == [1] * (
        len(split.development) // 3
    )


def test_a_class_that_cannot_be_held_out_alone_is_named():
    """Class d has three groups, but each is needed whole to learn a, b or c."""
    images = table([0, 1, 2, 3, 3, 3], [1, 2, 0, 2, 1, 0])
    made = with_test_split(images, 0.39)
    absent = sorted(set(range(4)) - set(made.test.labels.tolist()))
    (warned,) = [f for f in made.findings if f.check == "untested_class"]
    assert all(images.classes[c] in warned.text.split(":")[1] for c in absent)
    assert warned.numbers == {"n": len(absent)}


def test_copies_of_the_chest_x_rays_lie_in_the_test_split_and_join_nothing(shared):
    chest = load(shared / "data" / "chest_xray")
    kept = keep_copies_together(chest)
    assert kept is chest
    assert len(np.unique(kept.development.groups)) == 3669


def test_groups_that_share_a_picture_are_joined_over_as_many_steps_as_it_takes():
    five = table([0] * 5, groups="abcdd")
    joined = keep_near_copies_together(five, np.array([[0, 1], [1, 2]]))
    assert joined.groups.tolist() == ["ga", "ga", "ga", "gd", "gd"]
    (finding,) = joined.findings
    assert finding.numbers == {"groups": 3, "joined_into": 1, "before": 4, "after": 2}
    assert keep_near_copies_together(five, np.array([[3, 4]])) is five
    assert keep_near_copies_together(five, np.zeros((0, 2), np.int64)) is five


def test_an_image_that_cannot_be_read_counts_nowhere():
    made = with_test_split(table([0] * 80 + [1] * 20))
    bad = Skipped(str(made.test.ids[0]), "cut off")
    left = without_unreadable(made, [bad])
    said = {one.check: one for one in left.findings}
    assert "19 of 99 images (seed 0)" in said["test_split"].text
    assert said["test_split"].numbers == {"n": 19, "seed": 0}
    named = f"1 image cannot be read and is left out: {bad.source} (cut off)."
    assert named == said["unreadable"].text
