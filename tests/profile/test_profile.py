"""Are sizes, shares and splits counted right, and said with the right loudness?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.profile.profile import (
    class_shares,
    few_for_audit,
    profile,
    size_and_balance,
    small_classes,
    small_test,
    val_joins,
)
from medgraft.types import FeatureTable, Finding, ImageTable, Source


def make_table(
    counts: dict[str, tuple[int, ...]], per_group: int = 1, classes: str = "ab"
) -> ImageTable:
    """`counts[split][class]` images, each group of `per_group` of them in one class and split."""
    rows = [
        (split, label, f"{split}{label}-{i // per_group}", f"{split}/{label}/{i}")
        for split, sizes in counts.items()
        for label, size in enumerate(sizes)
        for i in range(size)
    ]
    splits, labels, groups, ids = zip(*rows, strict=True)
    return ImageTable(
        ids=np.array(ids),
        sources=tuple(Source(id_) for id_ in ids),
        content_hashes=np.array(ids),
        labels=np.array(labels, np.int64),
        groups=np.array(groups),
        splits=np.array(splits),
        masks=np.array([""] * len(ids)),
        classes=tuple(classes),
        positive="b" if len(classes) == 2 else None,
    )


def only(findings: tuple[Finding, ...], check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def test_size_counts_images_and_groups_of_each_side() -> None:
    table = make_table({"train": (40, 20), "val": (4, 2), "test": (10, 6)}, per_group=2)
    size = only(size_and_balance(table), "size")
    assert dict(size.numbers) == {
        "images development a": 44,
        "groups development a": 22,
        "images development b": 22,
        "groups development b": 11,
        "images test a": 10,
        "groups test a": 5,
        "images test b": 6,
        "groups test b": 3,
    }
    assert "82 images in 2 classes" in size.text


@pytest.mark.parametrize(("large", "severity"), [(200, "warn"), (199, "info")])
def test_imbalance_warns_from_ten_on(large: int, severity: str) -> None:
    balance = only(size_and_balance(make_table({"": (large, 20)})), "balance")
    assert balance.severity == severity
    assert balance.numbers["ratio"] == large / 20
    assert bool(balance.remedy) == (severity == "warn")


@pytest.mark.parametrize(
    ("images", "per_group", "warned"),
    [(20, 1, False), (19, 1, True), (20, 2, False), (40, 5, True)],
)
def test_few_images_or_few_groups_warn(images: int, per_group: int, warned: bool) -> None:
    findings = small_classes(make_table({"train": (60, images)}, per_group))
    assert bool(findings) == warned
    if warned:
        assert f"b ({images} images of" in findings[0].text
        assert "a (" not in findings[0].text
        assert "Cross-validation" not in findings[0].text  # eight groups do for five parts


def test_too_few_groups_for_five_folds_are_named() -> None:
    found = only(small_classes(make_table({"": (200, 40)}, per_group=10)), "small_class")
    assert "Cross-validation in 5 parts is not possible with 4" in found.text
    assert dict(found.numbers) == {"classes": 1, "fewest_images": 40, "fewest_groups": 4}


def test_absent_and_untested_classes() -> None:
    table = make_table({"train": (30, 0, 30), "test": (30, 30, 0)}, classes="abc")
    findings = small_classes(table)
    assert only(findings, "absent_class").severity == "severe"
    assert only(findings, "absent_class").text == "No image to learn from: b."
    assert only(findings, "untested_class").text == "The test split has no image of: c."
    told = replace(table, findings=(Finding("untested_class", "warn", "c"),))
    assert [finding.check for finding in small_classes(told)] == ["absent_class"]
    assert [f.check for f in size_and_balance(table)] == ["size"]  # no ratio to nothing


def test_a_hundred_thin_classes_are_one_finding() -> None:
    names = [chr(0x4E00 + i) for i in range(100)]
    table = make_table({"": (3,) * 100}, classes="".join(names))
    (finding,) = small_classes(table)
    assert finding.numbers["classes"] == 100
    assert finding.text.count(" of 3 groups") == 12
    assert "and 88 more" in finding.text
    assert len(finding.images) == 12


@pytest.mark.parametrize(("groups", "warned"), [(92, True), (93, False)])
def test_a_small_test_split_is_weighed_by_wilson(groups: int, warned: bool) -> None:
    """At one half Wilson's half width is z / (2 sqrt(n + z²)): .1000 lies between 92 and 93."""
    for per_group in (1, 3):
        table = make_table({"train": (99, 99), "test": (groups * per_group, 0)}, per_group)
        findings = small_test(table)
        assert bool(findings) == warned
        if warned:
            z = 1.959964
            expected = z / (2 * np.sqrt(groups + z**2))
            assert findings[0].numbers["half_width"] == pytest.approx(expected, abs=1e-6)


def test_shares_by_hand() -> None:
    """(100, 100) against (40, 10): chi2 = 250 (100·10 - 100·40)² / (200·50·140·110) = 14.61."""
    finding = only(
        class_shares(make_table({"train": (100, 100), "test": (40, 10)})), "class_shares"
    )
    assert finding.numbers["chi2"] == pytest.approx(250 * 3000**2 / (200 * 50 * 140 * 110))
    assert (finding.severity, finding.numbers["class"]) == ("warn", "b")
    assert (finding.numbers["development"], finding.numbers["test"]) == (0.5, 0.2)


def test_images_of_one_patient_count_once_for_shares() -> None:
    one = class_shares(make_table({"train": (100, 100), "test": (40, 10)}))
    four = class_shares(make_table({"train": (400, 400), "test": (160, 40)}, per_group=4))
    assert four[0].numbers["chi2"] == pytest.approx(one[0].numbers["chi2"])


def test_one_large_patient_makes_no_other_shares() -> None:
    table = make_table({"train": (100, 100), "test": (20, 80)})
    assert only(class_shares(table), "class_shares").severity == "warn"
    one = np.where(np.char.startswith(table.ids, "test/1/"), "p", table.groups)
    one = np.where(np.isin(table.ids, [f"test/1/{i}" for i in range(20)]), table.groups, one)
    assert class_shares(replace(table, groups=one)) == ()


def test_equal_or_slightly_different_shares_do_not_warn() -> None:
    assert class_shares(make_table({"train": (100, 50), "test": (40, 20)})) == ()
    assert class_shares(make_table({"train": (100, 50)})) == ()
    (finding,) = class_shares(make_table({"train": (20_000, 20_000), "test": (5_400, 4_600)}))
    assert (finding.severity, finding.remedy) == ("info", "")


def test_val_joins_development() -> None:
    (tiny,) = val_joins(make_table({"train": (50, 50), "val": (8, 8), "test": (50, 50)}))
    assert (tiny.severity, tiny.numbers["images"], len(tiny.images)) == ("info", 16, 12)
    assert "16 images are too few" in tiny.text
    (large,) = val_joins(make_table({"train": (500, 500), "val": (80, 80)}))
    assert "too few" not in large.text
    assert val_joins(make_table({"train": (5, 5)})) == ()


def test_profile_puts_the_severe_first_and_repeats_nothing() -> None:
    table = make_table({"train": (300, 20), "val": (8, 8), "test": (30, 30)})
    hashes = table.content_hashes.copy()
    hashes[table.ids == "test/0/0"] = "train/0/0"
    told = Finding("positive_class", "warn", "told when the data were read")
    table = replace(table, content_hashes=hashes, findings=(told,))
    for column in (table.ids, table.content_hashes, table.labels, table.groups, table.splits):
        column.flags.writeable = False
    findings = profile(table)
    order = ["severe", "warn", "info"]
    assert [order.index(f.severity) for f in findings] == sorted(
        order.index(f.severity) for f in findings
    )
    assert findings[0].check == "identical_files_across_splits"
    assert told not in findings
    assert all(f.text.endswith(".") and len(f.images) <= 12 for f in findings)
    assert findings == profile(table)


def test_a_clean_balanced_set_has_nothing_to_warn_of() -> None:
    table = make_table({"train": (200, 200), "test": (100, 100)})
    assert {finding.severity for finding in profile(table)} == {"info"}


def test_profile_of_chest_xray(shared: Path) -> None:
    """74 % of development and 62 % of test images are PNEUMONIA (3,883 of 5,232; 390 of 624)."""
    table = load(shared / "data" / "chest_xray")
    rng = np.random.default_rng(0)
    noise = FeatureTable(table.ids, {"t@avg": rng.normal(size=(len(table), 32)).astype(np.float32)})
    findings = profile(table, noise)
    shares = only(findings, "class_shares")
    assert shares.severity == "warn"
    assert shares.numbers["development"] == pytest.approx(3883 / 5232)
    assert shares.numbers["test"] == pytest.approx(390 / 624)
    assert only(findings, "val_joins").numbers["images"] == 16
    assert "severe" not in {finding.severity for finding in findings}
    assert [f.severity for f in findings if f.check == "shared_numbering"] == ["info", "info"]


@pytest.mark.parametrize(("images", "warned"), [(63, False), (60, True)])
def test_an_audit_that_will_stay_undecided_is_told_before_the_study(
    images: int, warned: bool
) -> None:
    """A fifth is set aside: of 60 a class 48 are left, and the audit takes 50 of each."""
    aside = -(-images // 5) - (images % 5 > 0)
    table = make_table({"train": (images - aside,) * 2, "test": (aside,) * 2})
    found = few_for_audit(table)
    assert bool(found) == warned
    if found:
        assert "takes 50 usable images of each class to learn from, about 63 with" in found[0].text
