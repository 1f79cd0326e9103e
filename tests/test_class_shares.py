"""Answers at other class shares: beside the plain ones, never in their place, and only if asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft.bundle import external_validation, model, predict, seen_before
from medgraft.bundle.class_shares import MOST_PROBABLE, adjust_rows, class_shares_of
from medgraft.bundle.external_validation import ExternalValidation, evaluate_model
from medgraft.bundle.predict import Classification, Prediction
from medgraft.errors import DataError
from medgraft.studies.store import LearnedFrom
from medgraft.types import PLAIN, ImageTable, Operating, PixelRule, Predictions, Source

LEARNED = {"well": 50, "ill": 150}
CLASSES = ("well", "ill")


@dataclasses.dataclass
class Fake:
    """A classifier whose answers are given: a yes-or-no test that learned where 75 % were ill."""

    prob: np.ndarray
    classes: tuple[str, ...] = CLASSES
    positive: str = "ill"
    operating: Operating = Operating(0.75, "chosen")  # noqa: RUF009  it is frozen
    rule: PixelRule = PLAIN
    grading: None = None

    @property
    def scenario(self) -> Any:
        return dataclasses.make_dataclass("S", ["key"])("probe/x")

    def predict(self, table: ImageTable) -> tuple[Predictions, tuple[()]]:
        known = (table.ids, table.groups, table.splits, np.full(len(table), -1), table.labels)
        found = Predictions("probe/x", CLASSES, "ill", *known, np.log(self.prob), self.prob)
        return found, ()


def yes_no(yes: int, no: int) -> np.ndarray:
    """Sensitivity .8, specificity .8: at 75 % ill a yes is right in 12 of 13, a no in 4 of 7."""
    return np.array([[1 / 13, 12 / 13]] * yes + [[4 / 7, 3 / 7]] * no)


def images(n: int, ill: int) -> ImageTable:
    ids = np.array([f"{i}.png" for i in range(n)])
    return ImageTable(
        ids=ids, sources=tuple(map(Source, ids.tolist())), content_hashes=ids,
        labels=(np.arange(n) < ill).astype(int), groups=ids, splits=np.full(n, ""),
        masks=np.full(n, ""), classes=CLASSES, positive="ill",
    )  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(seen_before, "read_learned_from", lambda *_: LearnedFrom("auroc", LEARNED))
    return Path("run")


def judged(monkeypatch: pytest.MonkeyPatch, prob: np.ndarray, asked: str) -> ExternalValidation:
    monkeypatch.setattr(external_validation, "load", lambda *_: Fake(prob))
    table = images(len(prob), ill=len(prob) // 5)
    return evaluate_model(Path("run"), table, None, asked)  # type: ignore[arg-type]


def test_nothing_changes_unless_it_is_asked_for(run: Path, monkeypatch: Any) -> None:
    found = judged(monkeypatch, yes_no(35, 65), "training")
    assert found.adjusted is None
    assert "adjusted" not in found.json()


def test_estimated_shares_stand_beside_the_plain_answers(run: Path, monkeypatch: Any) -> None:
    """35 yes of 100: (.35 + .8 - 1) / .6 = 25 % ill. A yes is then right in
    .8 × .25 / (.8 × .25 + .2 × .75) = 4 of 7 and stays the likelier class, a no in 12 of 13."""
    plain = judged(monkeypatch, yes_no(35, 65), "training").json()
    found = judged(monkeypatch, yes_no(35, 65), "estimate")
    adjusted = found.adjusted
    assert adjusted is not None
    assert adjusted.shares.used == pytest.approx((0.75, 0.25), abs=1e-4)
    assert adjusted.shares.training == (0.25, 0.75)
    np.testing.assert_allclose(adjusted.predictions.y_prob[0], [3 / 7, 4 / 7], atol=1e-4)
    np.testing.assert_allclose(adjusted.predictions.y_prob[-1], [12 / 13, 1 / 13], atol=1e-4)
    assert adjusted.changed == 0  # a threshold of .75 gave the same labels
    answer = json.loads(json.dumps(found.json()))
    assert answer.pop("adjusted")["class_shares"]["estimated"]["p"] < 1e-6
    assert answer == json.loads(json.dumps(plain))  # what was there is as it was


def test_labels_that_change_are_counted(run: Path, monkeypatch: Any) -> None:
    """At 10 % ill a yes is right in .08 / (.08 + .18) = 4 of 13 only: all 35 become well."""
    adjusted = judged(monkeypatch, yes_no(35, 65), "0.9,0.1").adjusted
    assert adjusted is not None
    assert adjusted.shares.estimated is None
    assert adjusted.changed == 35
    assert adjusted.by_image.estimates["accuracy"].value == pytest.approx(0.8)  # 20 of 100 are ill
    assert adjusted.by_image.operating == MOST_PROBABLE


def test_rows_of_files_get_a_second_answer(run: Path) -> None:
    prob = yes_no(10, 20)
    rows = [
        Prediction(f"{i}", Classification("ill", dict(zip(CLASSES, p, strict=True))))
        for i, p in enumerate(prob.tolist())
    ]
    rows.insert(3, Prediction("bad", None, "damaged"))
    found, shares = adjust_rows("run", Fake(prob), rows, "0.9,0.1")  # type: ignore[arg-type]
    assert shares.used == pytest.approx((0.9, 0.1))
    assert [dataclasses.replace(row, adjusted=None) for row in found] == rows
    assert found[0].adjusted is not None
    assert found[0].adjusted.label == "well"
    assert found[0].adjusted.probabilities["ill"] == pytest.approx(4 / 13)
    assert found[3].to_json(adjusted=True)["adjusted_label"] is None
    assert found[3].to_json(adjusted=True)["adjusted_probabilities"] is None


@pytest.mark.parametrize(
    ("asked", "n", "learned", "said"),
    [
        ("estimate", 19, LEARNED, "19 images"),
        ("0.5,0.5", 19, LEARNED, "at least 20"),
        ("estimate", 30, {}, "not known"),
        ("estimate", 30, {"well": 3}, "images of ill"),
        ("half", 30, LEARNED, "'half' gives no shares of well, ill; say training"),
        ("0.5", 30, LEARNED, "1 shares for 2"),
        ("1,0", 30, LEARNED, "above 0"),
        ("0.5,0.1", 30, LEARNED, "together"),
    ],
)
def test_what_is_refused(asked: str, n: int, learned: dict[str, int], said: str) -> None:
    prob = yes_no(n // 2, n - n // 2)
    with pytest.raises(DataError, match=said):
        class_shares_of(asked, CLASSES, learned, prob, np.arange(n).astype(str))


def test_the_command_shows_them_beside_the_usual_answers(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from medgraft.cli import app

    rows = [
        {"source": f"{i}.png", "label": CLASSES[int(p[1] >= 0.75)], "error": None,
         "probabilities": dict(zip(CLASSES, p.tolist(), strict=True))}
        for i, p in enumerate(yes_no(20, 20))
    ]  # fmt: skip
    said = [Prediction(r["source"], Classification(r["label"], r["probabilities"])) for r in rows]
    monkeypatch.setattr(model, "load_model", lambda *_, **__: Fake(yes_no(20, 20)))
    monkeypatch.setattr(predict, "predict_files", lambda *_: said)

    def ask(*options: str) -> str:
        found = CliRunner().invoke(app, ["predict", "run", "x", *options], terminal_width=200)
        assert found.exit_code == 0, found.output
        return found.stdout

    plain = ask()
    assert "adjusted" not in plain
    told = ask("--class-shares", "0.9,0.1")
    assert "0.077" in told and "ill, adjusted" in told  # noqa: PT018  as before, and beside it
    assert "Assumed is that only the mix of classes changed" in told.replace("\n", " ")
    found = json.loads(ask("--class-shares", "estimate", "--json"))
    assert set(found) == {"class_shares", "images"}
    assert found["images"][0]["probabilities"] == rows[0]["probabilities"]
    assert json.loads(ask("--json")) == rows
