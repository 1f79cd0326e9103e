"""Sub-groups: their figures, what is tested and what is too small, and how often by mistake."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from medgraft.errors import DataError
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.subgroups import NOT_GIVEN, subgroup_columns, subgroups_of
from medgraft.types import ImageTable, Operating, Predictions

AT = Operating(0.5, "by hand")
Make = Callable[..., Predictions]


def drawn(make: Make, seed: int, n: int, skill: object = 1.5, size: int = 1) -> Predictions:
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // size
    y = (rng.random(n) < 0.5).astype(int)[patient]
    f = np.asarray(skill) * (y - 0.5) + rng.normal(size=n)
    return make(y, 1 / (1 + np.exp(-f)), groups=patient)


def test_a_sub_group_has_the_figure_of_its_images_alone(make: Make) -> None:
    rows = drawn(make, 0, 200)
    sex = np.where(np.arange(200) % 3 == 0, "f", "m")
    (found,) = subgroups_of(rows, {"sex": sex}, "auroc", AT)
    for one in found.figures:
        assert one.estimate == evaluate(rows.select(sex == one.name), AT).estimates["auroc"]
    f, m = found.figures
    assert f.difference is not None
    assert m.difference is not None
    assert f.difference[0] == pytest.approx(-m.difference[0])
    assert f.p == m.p


def test_a_sub_group_that_is_worse_is_found_and_the_others_are_not(make: Make) -> None:
    scanner = np.array(["a", "b", "c"])[np.arange(600) % 3]
    rows = drawn(make, 1, 600, skill=np.where(scanner == "b", 0.2, 3.0))
    (found,) = subgroups_of(rows, {"scanner": scanner}, "auroc", AT)
    by_name = {one.name: one for one in found.figures}
    worse = by_name["b"]
    assert worse.p is not None
    assert worse.p < 0.001
    assert worse.difference is not None
    assert worse.difference[2] < 0


@pytest.mark.parametrize("size", [1, 4])
def test_one_of_many_differs_by_mistake_as_seldom_as_holm_says(make: Make, size: int) -> None:
    """Of 200 data sets with two columns of no meaning, 4 tests each: any below .05 in about 10."""
    mistaken = 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        rows = drawn(make, seed, 160 * size, size=size)
        x, y = (rng.choice(list(names), 160 * size) for names in ("ab", "cde"))
        found = subgroups_of(rows, {"x": x, "y": y}, "accuracy", AT)
        p = [one.p for column in found for one in column.figures if one.p is not None]
        mistaken += min(p) < 0.05
    assert mistaken <= 20


def test_a_dozen_ranked_without_error_differ_by_mistake_as_seldom_as_others(make: Make) -> None:
    """Of an AUROC of .95 in truth, twelve images are often ranked perfectly: that is no proof."""
    perfect = mistaken = 0
    for seed in range(200):
        rows = drawn(make, seed, 300, skill=2.33)
        y = np.asarray(rows.y_true)
        few = np.zeros(300, bool)
        few[np.concatenate([np.flatnonzero(y == k)[:6] for k in (0, 1)])] = True
        (found,) = subgroups_of(rows, {"scanner": np.where(few, "a", "b")}, "auroc", AT)
        one = found.figures[0]
        assert one.difference is not None
        assert one.difference[1] < one.difference[0] < one.difference[2]
        assert one.estimate is not None
        perfect += one.estimate.value == 1
        mistaken += one.p is not None and one.p < 0.05
    assert perfect > 60
    assert mistaken <= 16


def test_a_sub_group_without_a_class_is_not_held_against_the_others_by_their_mean(
    make: Make,
) -> None:
    """Recalls of .9, .9 and .5 everywhere: without the hard class the mean is .9, not .77."""
    y = np.arange(900) % 3
    right = np.arange(900) // 3 % 10 < np.array([9, 9, 5])[y]
    said = np.where(right, y, (y + 1) % 3)
    scanner = np.where((np.arange(900) < 300) & (y < 2), "a", "b")
    rows = make(y, 0.01 + 0.97 * np.eye(3)[said])
    (found,) = subgroups_of(rows, {"scanner": scanner}, "balanced_accuracy")
    assert all(one.few and one.p is None for one in found.figures)
    (found,) = subgroups_of(rows, {"scanner": scanner}, "accuracy")
    assert all(one.p is not None for one in found.figures)


def test_three_images_and_those_of_whom_nothing_is_said_are_shown_and_not_tested(
    make: Make,
) -> None:
    rows = drawn(make, 2, 200)
    site = np.where(np.arange(200) < 3, "tiny", np.where(np.arange(200) < 90, "east", "west"))
    site[150:] = ""
    (found,) = subgroups_of(rows, {"site": site}, "auroc", AT)
    by_name = {one.name: one for one in found.figures}
    assert set(by_name) == {"tiny", "east", "west", NOT_GIVEN}
    assert by_name["tiny"].few
    assert by_name["tiny"].p is None
    assert by_name[NOT_GIVEN].p is None
    assert by_name[NOT_GIVEN].n_images == 50
    assert by_name["east"].p is not None


def test_numbers_are_cut_into_quarters_and_few_of_them_are_in_their_order(make: Make) -> None:
    """Of 200, 20 to 39 four times, 40 to 79 three: the 50th is 32, the 100th 46, the 150th 63."""
    rows = drawn(make, 3, 200)
    age = (20 + np.arange(200) % 60).astype(str)
    grade = np.array(["10", "9", "2"])[np.arange(200) % 3]
    by_age, by_grade = subgroups_of(rows, {"age": age, "grade": grade}, "auroc", AT)
    assert [one.name for one in by_age.figures] == [
        "up to 32", "above 32 to 46", "above 46 to 63", "above 63",
    ]  # fmt: skip
    assert sum(one.n_images for one in by_age.figures) == 200
    assert [one.name for one in by_grade.figures] == ["2", "9", "10"]


def test_a_column_that_is_missing_or_holds_no_sub_groups_is_refused() -> None:
    names = np.char.add("p", np.arange(40).astype(str))
    table = cast(
        "ImageTable",
        SimpleNamespace(
            metadata={"name": names, "one": np.full(40, "x"), "n": np.arange(40).astype(str)}
        ),
    )
    assert list(subgroup_columns(table, ["n"], "auroc")) == ["n"]
    refused = (("sex", "the data has n, name, one"), ("name", "40 diff"), ("one", "1 diff"))
    for asked, said in refused:
        with pytest.raises(DataError, match=said):
            subgroup_columns(table, [asked], "auroc")
    with pytest.raises(DataError, match="ece"):
        subgroup_columns(table, ["n"], "ece")
