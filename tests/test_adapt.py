"""Unlabelled images of another place, held to a classifier whose answers are given."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from medgraft import adapt
from medgraft.bundle import adapt as module
from medgraft.bundle.adapt import OtherSortError
from medgraft.bundle.adapted_threshold import set_threshold
from medgraft.bundle.seen_before import shares_behind
from medgraft.errors import BundleError, DataError, MedgraftError
from medgraft.evaluate.calibration import Calibrator
from medgraft.evaluate.prior import adjust
from medgraft.files import StorageError
from medgraft.profile.reference import WIDTH, Reference
from medgraft.report.text.adaptation import lines
from medgraft.saved_models import _grouped
from medgraft.studies.store import LearnedFrom
from medgraft.types import (
    PLAIN,
    Floats,
    ImageTable,
    Operating,
    PixelRule,
    Predictions,
    SeenBefore,
    Source,
)

CLASSES = ("well", "ill")
LEARNED = 200  # images, of which three in ten are ill
SHARE = 0.3


def probabilities(seed: int, n: int, share: float) -> tuple[Floats, np.ndarray]:
    """Calibrated for `SHARE` ill: log odds of N(±1.5, 3) have themselves as likelihood ratio."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) < round(share * n)
    odds = rng.normal(np.where(y, 1.5, -1.5), np.sqrt(3)) + logit(SHARE)
    p = expit(odds)
    return np.stack([1 - p, p], axis=1), y


def codes(seed: int, n: int, moved: float = 0.0, farther: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (farther * rng.normal(0, 1, (n, 2 * WIDTH)) + moved).astype(np.float32)


@dataclasses.dataclass
class Fake:
    prob: Floats
    classes: tuple[str, ...] = CLASSES
    positive: str | None = "ill"
    operating: Operating | None = Operating(SHARE, "chosen")  # noqa: RUF009  it is frozen
    rule: PixelRule = PLAIN
    grading: None = None

    @property
    def scenario(self) -> Any:
        return dataclasses.make_dataclass("S", ["key"])("probe/x")

    def predict(self, table: ImageTable) -> tuple[Predictions, tuple[()]]:
        known = (table.ids, table.groups, table.splits, np.full(len(table), -1), table.labels)
        return Predictions(
            "probe/x", self.classes, self.positive, *known, np.log(self.prob), self.prob
        ), ()


def images(n: int, folder: str = "new", labels: int = -1) -> ImageTable:
    ids = np.array([f"{folder}/secret{i}.png" for i in range(n)])
    return ImageTable(
        ids=ids, sources=tuple(map(Source, ids.tolist())), content_hashes=ids,
        labels=np.full(n, labels), groups=ids, splits=np.full(n, ""), masks=np.full(n, ""),
        classes=CLASSES,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    content = {
        "format": 2, "classes": CLASSES, "positive": "ill", "sha256": {},
        "operating": {"threshold": SHARE, "rule": "chosen", "by_group": None},
        "calibrator": {"slope": 1.0, "biases": [0.2, -0.2]},
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(content))
    prob, y = probabilities(0, LEARNED, SHARE)
    Reference(
        codes(0, LEARNED), prob, y.astype(np.int64), np.arange(LEARNED).astype(str),
        np.bincount(y), np.zeros(1), np.ones(1), "w", "squash",
    ).write(folder)  # fmt: skip
    return tmp_path / "run"


class Place:
    """The classifier at a new place: what it says there, and the short codes of the images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
        self.patch, self.run = monkeypatch, run

    def __call__(
        self, prob: Floats, short: np.ndarray, table: ImageTable | None = None, **options: Any
    ) -> Any:
        n = len(prob)
        fake = options.pop("fake", Fake)(prob)
        self.patch.setattr(module, "load", lambda *_: fake)
        seen = (np.zeros(n, bool), SeenBefore(n, 0, 0))
        self.patch.setattr(module, "recognise", lambda *_: seen)
        self.patch.setattr(Reference, "encode", lambda *_: (short, ()))
        self.patch.setattr(module, "compare_with_rule", lambda *_: ())
        return adapt(self.run, images(n) if table is None else table, **options)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, run: Path) -> Place:
    return Place(monkeypatch, run)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_same_place_has_nothing_to_adapt(place: Place, tmp_path: Path) -> None:
    prob, y = probabilities(1, 150, SHARE)
    found = place(prob, codes(1, 150))
    assert (found.verdict, found.threshold.changed) == ("same place", 0)
    right = float(((prob[:, 1] >= SHARE) == y).mean())
    assert found.doc.low < right < found.doc.high
    assert found.unlike.low < 0.05 < found.unlike.high
    assert lines(found)[-1] == "Nothing to adapt: use the model as it is."
    with pytest.raises(DataError, match="nothing to adapt"):
        place(prob, codes(1, 150), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_look_moves_the_threshold_half_of_the_way(
    place: Place, run: Path, tmp_path: Path
) -> None:
    """All log odds are 2 higher there. By hand: as many positive as out of fold, in the middle
    between two images, and half of the way there in log odds."""
    before, (prob, _) = everything(run), probabilities(1, 150, SHARE)
    p = expit(logit(prob[:, 1]) + 2)
    moved = np.stack([1 - p, p], axis=1)
    found = place(moved, codes(1, 150, 0.4), out=tmp_path / "new")
    called = (probabilities(0, LEARNED, SHARE)[0][:, 1] >= SHARE).mean()
    k = round(float(called) * 150)
    match = np.sort(p)[-k - 1 : -k + 1].mean() if k else 1.0
    halfway = expit((logit(SHARE) + logit(match)) / 2)
    assert found.verdict == "other look"
    assert found.threshold.operating.threshold == pytest.approx(halfway)
    assert found.threshold.changed == ((p >= SHARE) != (p >= halfway)).sum() > 10
    assert everything(run) == before
    text = (tmp_path / "new" / "bundle.json").read_text()
    content = json.loads(text)
    assert content["operating"]["threshold"] == pytest.approx(halfway)
    assert content["calibrator"] == {"slope": 1.0, "biases": [0.2, -0.2]}
    card = content["adapted"]
    named = "\n".join(sorted(images(150).ids.tolist())).encode()
    key = card["salt"].encode()
    assert card["hash"] == hashlib.blake2b(named, key=key, digest_size=16).hexdigest()
    assert (card["images"], card["class_shares"]) == (150, None)
    assert "secret" not in text
    with pytest.raises(BundleError, match="adapted to a place already"):
        adapt(tmp_path / "new", images(150))


def test_another_mix_is_found_and_its_probabilities_are_those_of_the_shares(
    place: Place, tmp_path: Path
) -> None:
    """EM finds the seven in ten who are ill; the written calibrator does what `adjust` does."""
    prob, _ = probabilities(2, 200, 0.7)
    found = place(prob, codes(2, 200), out=tmp_path / "new", class_shares="estimate")
    ill = found.shares[1]
    assert found.verdict == "other mix"
    assert ill.learned == pytest.approx(SHARE)
    assert ill.here.low < 0.7 < ill.here.high
    content = json.loads((tmp_path / "new" / "bundle.json").read_text())
    used = [content["adapted"]["class_shares"][name] for name in CLASSES]
    assert used[1] == pytest.approx(ill.here.value)
    scores = np.log(prob) - np.array([0.2, -0.2])
    new = Calibrator(1.0, tuple(content["calibrator"]["biases"]))(scores)
    wanted = adjust(prob, (1 - SHARE, SHARE), used)
    np.testing.assert_allclose(new, wanted)
    behind = shares_behind(tmp_path / "new", LearnedFrom(by_class={"well": 7, "ill": 3}))
    assert [behind[name] for name in CLASSES] == used  # by which --class-shares reckons from now on
    threshold = content["operating"]["threshold"]  # of the same labels, for a mix moves none
    np.testing.assert_array_equal(wanted[:, 1] >= threshold, prob[:, 1] >= SHARE)
    with pytest.raises(DataError, match="only the mix of classes seems to differ"):
        place(prob, codes(2, 200), out=tmp_path / "other")


def test_thresholds_between_grades_stay_with_the_model_before(
    place: Place, run: Path, tmp_path: Path
) -> None:
    """They are of probabilities that moved: P = .80 that becomes .31 is no other image."""
    file = run / "model" / "bundle.json"
    cuts = {"ill": {"threshold": 0.5, "rule": "chosen", "by_group": None}}
    grading = {"values": [0, 1], "cuts": cuts}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"grading": grading}))
    prob, _ = probabilities(2, 200, 0.7)
    place(prob, codes(2, 200), out=tmp_path / "new", class_shares="estimate")
    content = json.loads((tmp_path / "new" / "bundle.json").read_text())
    assert content["grading"] == {"values": [0, 1], "cuts": {}}
    assert content["adapted"]["cuts_before"] == cuts


def test_shares_that_are_known_decide_how_many_are_positive(place: Place) -> None:
    prob, _ = probabilities(3, 200, SHARE)
    found = place(prob, codes(3, 200, 0.4), class_shares="0.9,0.1")
    at = adjust(prob, (1 - SHARE, SHARE), (0.9, 0.1))[:, 1]
    assert (at >= found.threshold.operating.threshold).sum() == 20


def test_frames_of_a_file_are_one_patient_where_names_tell_none() -> None:
    ids = np.array([f"dicom-{file}#{frame}" for file in ("aa", "bb", "cc") for frame in range(40)])
    table = dataclasses.replace(
        images(120), ids=ids, groups=np.array([one.partition("#")[0] for one in ids.tolist()])
    )
    assert len(np.unique(_grouped(table, None).groups)) == 3


@pytest.mark.parametrize(
    ("rule", "by_group"), [("steady", 0.46), ("half", 0.5), ("halfway", 0.46), ("quantile", 0.46)]
)
def test_the_threshold_of_patients_stays_where_new_images_repeat_none(
    run: Path, rule: str, by_group: float
) -> None:
    prob, _ = probabilities(1, 150, 0.5)
    fitted = Fake(prob, operating=Operating(SHARE, "chosen", 0.46))
    said, _ = fitted.predict(images(150))
    reference = Reference.read(run / "model")
    assert reference is not None
    new = set_threshold(fitted, reference, said, None, rule)  # type: ignore[arg-type]
    assert new is not None
    assert new.operating.by_group == by_group


def test_images_of_another_sort_are_told_and_nothing_is_adapted(
    place: Place, tmp_path: Path
) -> None:
    prob, _ = probabilities(1, 150, SHARE)
    with pytest.raises(OtherSortError, match="another sort"):
        place(prob, codes(1, 150, farther=2.5), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("n", "words"), [(19, "at least 20"), (60, "at least 100")])
def test_too_few_images_name_the_rule(place: Place, tmp_path: Path, n: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        place(probabilities(1, n, SHARE)[0], codes(1, n, 0.5), out=tmp_path / "new")


def test_labels_are_ignored_and_that_is_said(place: Place) -> None:
    prob, _ = probabilities(1, 50, SHARE)
    plain, told = (place(prob, codes(1, 50), images(50, labels=label)) for label in (-1, 1))
    assert "labels are not looked at" in lines(told)[0]
    assert dataclasses.asdict(told) == {**dataclasses.asdict(plain), "labelled": 50}
    assert place(prob, codes(1, 50), images(50, folder="new/ill")).labelled == 50


def test_images_learned_from_are_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    prob, _ = probabilities(1, 40, SHARE)
    met = np.arange(40) < 30
    plain = place(prob, codes(1, 40))
    assert plain.n == 40
    monkeypatch.setattr(module, "recognise", lambda *_: (met, SeenBefore(40, 30, 0)))
    with pytest.raises(DataError, match="10 images that it has not learned from"):
        adapt(place.run, images(40))


def test_a_model_of_three_classes_has_shares_and_no_threshold(
    place: Place, tmp_path: Path, run: Path
) -> None:
    prob = softmax(np.random.default_rng(0).normal(0, 2, (LEARNED, 3)), axis=1)
    kept = Reference.read(run / "model")
    assert kept is not None
    dataclasses.replace(
        kept, prob=prob, truth=prob.argmax(axis=1), counts=np.array([90, 60, 50])
    ).write(run / "model")

    def three(prob: Floats) -> Fake:
        return Fake(prob, ("a", "b", "c"), None, None)

    with pytest.raises(DataError, match="3 classes has no threshold"):
        place(prob[:150], codes(1, 150, 0.4), fake=three, out=tmp_path / "new")
    found = place(prob[:150], codes(1, 150, 0.4), fake=three)
    assert found.threshold is None
    assert not any(line.startswith("Threshold") for line in lines(found))


@pytest.mark.parametrize("inside", ["", "model", "model/new", "new"])
def test_the_run_stays_as_it_is(place: Place, run: Path, inside: str) -> None:
    before, prob = everything(run), probabilities(1, 150, SHARE)[0]
    with pytest.raises(StorageError, match="stays as it is"):
        place(prob, codes(1, 150, 0.4), out=run / inside)
    assert everything(run) == before


def test_what_lies_there_is_not_overwritten(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    with pytest.raises(StorageError, match="not empty"):
        place(probabilities(1, 150, SHARE)[0], codes(1, 150, 0.4), out=tmp_path / "mine")


def test_a_model_of_an_earlier_version_says_what_to_do(place: Place, run: Path) -> None:
    (run / "model" / "reference.safetensors").unlink()
    path = run / "model" / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": {}}))
    with pytest.raises(BundleError, match="run its study again"):
        place(probabilities(1, 150, SHARE)[0], codes(1, 150))


def test_a_rule_that_is_none_names_those_there_are(run: Path) -> None:
    with pytest.raises(MedgraftError, match="auto, halfway, quantile, half, steady"):
        adapt(run, images(30), threshold="best")
