"""One set of folds for all findings: patients whole, each spread, whatever the order of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medgraft.data.panel_split import deal_groups, divided_panel, panel_folds
from medgraft.data.split import folds_of
from medgraft.errors import FitError
from medgraft.panel import UNKNOWN, Panel
from medgraft.types import ImageTable, Source


def made(marks, groups=None, splits=None) -> Panel:
    marks = np.asarray(marks, np.int8)
    n = len(marks)
    ids = np.array([f"i{i:04d}" for i in range(n)])
    images = ImageTable(
        ids=ids, sources=tuple(Source(i) for i in ids), content_hashes=ids,
        labels=np.full(n, -1), groups=ids if groups is None else np.asarray(groups),
        splits=np.full(n, "", "U5") if splits is None else np.asarray(splits),
        masks=np.full(n, ""), classes=(),
    )  # fmt: skip
    return Panel(images, tuple(f"f{k}" for k in range(marks.shape[1])), marks)


def random_panel(n: int = 600, patients: int = 200, k: int = 6, seed: int = 0) -> Panel:
    """Findings that come together, by patient, some of them unknown."""
    rng = np.random.default_rng(seed)
    person = rng.integers(0, patients, n)
    ill = rng.normal(size=(patients, k)) + rng.normal(size=(patients, 1))
    rate = np.linspace(0.2, 1.2, k)
    marks = (ill[person] + rng.normal(size=(n, k)) > rate * 2).astype(np.int8)
    marks[rng.random((n, k)) < 0.1] = UNKNOWN
    return made(marks, [f"p{p}" for p in person])


def test_patients_are_whole_and_every_finding_is_in_every_fold():
    panel = divided_panel(random_panel(), 0.2, 0)
    folds, short = panel_folds(panel, 5, 0)
    assert not short
    for group in np.unique(folds.groups):
        assert len(np.unique(folds.assignment[folds.groups == group])) == 1
    truth = panel.truth[panel.images.splits != "test"]
    for k in range(len(panel.names)):
        shares = np.array([(truth[folds.assignment == f, k] == 1).mean() for f in range(5)])
        assert np.ptp(shares) < 0.08
    tested = panel.images.splits == "test"
    assert not set(panel.images.groups[tested]) & set(panel.images.groups[~tested])
    assert 0.15 < tested.mean() < 0.25


def test_a_rare_finding_is_spread_evenly_though_common_ones_would_fill_the_folds():
    marks = np.zeros((100, 2), np.int8)
    marks[:50, 0], marks[45:55, 1] = 1, 1
    folds, short = panel_folds(made(marks, splits=["train"] * 100), 5, 0)
    assert not short
    assert [int(marks[folds.assignment == k, 1].sum()) for k in range(5)] == [2] * 5


def test_bins_do_not_hang_on_the_order_of_the_rows_and_do_on_the_seed():
    panel, order = random_panel(), np.random.default_rng(1).permutation(600)
    columns = panel.truth == 1
    bins = deal_groups(panel.images.groups, columns, (0.2,) * 5, 0)
    again = deal_groups(panel.images.groups[order], columns[order], (0.2,) * 5, 0)
    assert (again == bins[order]).all()
    assert (deal_groups(panel.images.groups, columns, (0.2,) * 5, 1) != bins).any()


def test_what_is_too_rare_is_named_with_what_would_be_needed():
    marks = np.zeros((60, 3), np.int8)
    marks[:30, 0], marks[:4, 1], marks[:, 2] = 1, 1, 1
    _, short = panel_folds(made(marks, splits=["train"] * 60), 5, 0)
    assert [(s.name, s.with_it, s.without, s.needed, s.torn) for s in short] == [
        ("f1", 4, 56, 10, False),
        ("f2", 60, 0, 10, False),
    ]
    with pytest.raises(FitError, match="the nearest is 'f0'"):
        panel_folds(made(marks[:, 1:], splits=["train"] * 60), 5, 0)


def test_an_image_of_which_nothing_is_known_is_named_and_left_out():
    panel = divided_panel(made([[1, 0], [UNKNOWN, UNKNOWN], [0, 1], [1, 1]]), 0.5, 0)
    assert panel.images.ids.tolist() == ["i0000", "i0002", "i0003"]
    assert [s.source for s in panel.images.skipped] == ["i0001"]


def test_an_official_test_split_is_kept():
    splits = ["test"] * 20 + ["train"] * 20 + [""] * 20
    panel = divided_panel(made(np.eye(60)[:, :2], splits=splits), 0.2, 0)
    assert panel.images.splits.tolist() == ["test"] * 20 + ["train"] * 40


def test_folds_of_some_images_are_those_of_all():
    panel = random_panel()
    panel = replace(panel, images=replace(panel.images, splits=np.full(600, "train")))
    folds, _ = panel_folds(panel, 5, 0)
    some = panel.question("f0")
    mine = folds_of(folds, some)
    where = dict(zip(folds.ids.tolist(), folds.assignment.tolist(), strict=True))
    assert mine.assignment.tolist() == [where[i] for i in some.ids.tolist()]
