"""Is a shift between training and test seen, and none seen where there is none?"""

from __future__ import annotations

import numpy as np

from medgraft.profile.shift import measure_shift, tell_apart, train_test_shift
from medgraft.types import FeatureTable, ImageTable, Source


def images(
    n: int, moved: float, *, seed: int = 0, per_group: int = 1, test_sick: float = 0.5
) -> tuple[ImageTable, FeatureTable]:
    """n images of 40 numbers, a third of them the test's; the class shifts ten, the test one.

    Images of one group share most of what they are.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(n) // per_group
    test = group % 3 == 0
    sick = rng.random(group.max() + 1)[group] < np.where(test, test_sick, 0.5)
    values = rng.normal(size=(n, 40)) + (2 * rng.normal(size=(n, 40))[group * per_group])
    values[:, :10] += 3 * sick[:, None]
    values[:, 10] += 3 * moved * test
    ids, empty = np.array([f"{i:04}" for i in range(n)]), np.array([""] * n)
    sources = tuple(Source(id) for id in ids.tolist())
    table = ImageTable(
        ids, sources, ids, sick.astype(np.int64), np.array([f"g{g}" for g in group]),
        np.where(test, "test", "train"), empty, ("normal", "sick"),
    )  # fmt: skip
    return table, FeatureTable(ids[::-1], {"tap@avg": values[::-1].astype(np.float32)})


def test_no_shift_is_found_as_often_as_p_says() -> None:
    """Of 60 sets without a shift, images of a patient alike, p is below .1 in about six."""
    shifts = [measure_shift(*images(180, 0, seed=seed, per_group=3), seed) for seed in range(60)]
    p = np.array([shift.p for shift in shifts if shift is not None])
    assert len(p) == 60
    assert (p <= 0.1).sum() <= 13  # six, and three standard errors
    assert (p <= 0.01).sum() <= 3


def test_other_shares_of_the_classes_are_no_shift() -> None:
    shifts = [measure_shift(*images(400, 0, seed=s, test_sick=0.85), s) for s in range(20)]
    found = [shift for shift in shifts if shift is not None]
    assert sum(shift.p <= 0.01 for shift in found) <= 2
    # Were the shares left as they are, the class alone would tell the two apart (about .63).
    assert np.mean([shift.estimate.value for shift in found]) < 0.53


def test_a_shift_is_found_and_grows_louder() -> None:
    (small,) = train_test_shift(*images(600, 0.0))
    (clear,) = train_test_shift(*images(600, 0.8))
    (grave,) = train_test_shift(*images(600, 3.0))
    assert [f.severity for f in (small, clear, grave)] == ["info", "warn", "severe"]
    assert clear.numbers["p"] == 1 / 200
    assert float(grave.numbers["low"]) > 0.8
    table, _ = images(600, 3.0)
    splits = dict(zip(table.ids.tolist(), table.splits.tolist(), strict=True))
    assert {splits[id] for id in grave.images} == {"test"}


def test_each_way_to_mark_rows_is_regressed_on_its_own() -> None:
    rng = np.random.default_rng(0)
    parts, fold = rng.normal(size=(60, 4)), np.arange(60) % 3
    sides = rng.random((60, 5)) < 0.4
    together = tell_apart(parts, sides, fold)
    for j in range(5):
        np.testing.assert_allclose(together[:, [j]], tell_apart(parts, sides[:, [j]], fold))


def test_too_few_images_or_no_test_say_nothing() -> None:
    assert train_test_shift(*images(30, 1.0)) == ()
    table, codes = images(90, 0)
    assert train_test_shift(table.development, codes) == ()
