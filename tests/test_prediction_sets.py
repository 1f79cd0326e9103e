"""Sets of a saved classifier: what its bundle keeps, and what is said of an image by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from medgraft.bundle.predict import Classification, Prediction, write_predictions
from medgraft.bundle.prediction_sets import with_sets
from medgraft.errors import BundleError, DataError
from medgraft.evaluate.conformal import OwnProbability
from medgraft.learn.kept_sets import FILE, read_own_probability, write_own_probability
from medgraft.types import FittedScenario

CLASSES = ("normal", "ill")


class Known:
    """All that is asked of a classifier here."""

    classes = CLASSES
    grading = None


FITTED = cast("FittedScenario", Known())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Of 20 normal patients whose own class had .6 to .98, and 20 ill with .4 to .78."""
    (tmp_path / "bundle.json").write_text('{"sha256": {}}')
    own = np.concatenate([0.6 + 0.02 * np.arange(20), 0.4 + 0.02 * np.arange(20)])
    truth = np.repeat([0, 1], 20)
    groups = np.array([f"anna {i}" for i in range(40)])
    write_own_probability(OwnProbability(own, truth, groups, 2), tmp_path)
    return tmp_path


def row(source: str, ill: float | None, label: str = "normal") -> Prediction:
    said = None if ill is None else Classification(label, {"normal": 1 - ill, "ill": ill})
    return Prediction(source, said, "no image" if ill is None else None)


def test_a_bundle_keeps_no_names_and_gives_back_what_it_was_given(bundle: Path) -> None:
    assert list(json.loads((bundle / "bundle.json").read_text())["sha256"]) == [FILE]
    assert b"anna" not in (bundle / FILE).read_bytes()
    found = read_own_probability(bundle)
    assert found is not None
    assert found.patients == (20, 20)
    # .9 of 21 patients are 18.9: the nineteenth from above.
    np.testing.assert_allclose(found.thresholds(0.1), [0.62, 0.42])
    (bundle / FILE).write_bytes(b"no")
    with pytest.raises(BundleError, match="garbles"):
        read_own_probability(bundle)


def test_an_image_gets_its_label_and_what_cannot_be_left_out(bundle: Path, tmp_path: Path) -> None:
    rows = [row("a", 0.1), row("b", 0.45, "ill"), row("c", 0.45), row("d", None)]
    found = with_sets(bundle, FITTED, rows, None)
    assert [one.classes for one in found] == [("normal",), ("ill",), CLASSES, ()]
    assert found[0].to_json()["set"] == ["normal"]
    assert "set" not in found[3].to_json()
    write_predictions(tmp_path / "out.csv", found, CLASSES)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].endswith(",set,error")
    assert lines[3].endswith(",normal | ill,")
    assert [one.classes for one in with_sets(bundle, FITTED, rows[:1], 0.01)] == [CLASSES]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 7.0])
def test_a_level_that_is_none_is_refused(bundle: Path, alpha: float) -> None:
    with pytest.raises(DataError, match="--alpha"):
        with_sets(bundle, FITTED, [row("a", 0.1)], alpha)


def test_a_bundle_of_before_says_so_only_where_it_is_asked(tmp_path: Path) -> None:
    rows = [row("a", 0.1)]
    assert with_sets(tmp_path, FITTED, rows, None) == rows
    with pytest.raises(BundleError, match="run its study again"):
        with_sets(tmp_path, FITTED, rows, 0.1)


def test_other_class_shares_move_no_set(bundle: Path) -> None:
    """Adapted to a place where the ill are 9 times as common it says .8 in place of .308, and the
    other class stays (.692 is above its .68)."""
    path = bundle / "bundle.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content["calibrator"] = {"slope": 1.0, "biases": [-np.log(3), np.log(3)]}
    content["format"] = 2
    content["adapted"] = {
        "class_shares": {"normal": 0.1, "ill": 0.9},
        "calibrator_before": {"slope": 1.0, "biases": [0.0, 0.0]},
    }
    path.write_text(json.dumps(content))
    found = with_sets(bundle, FITTED, [row("a", 0.8, "ill")], 0.25)
    assert found[0].classes == CLASSES
