"""Unlabelled images of another place: may figures be believed there, and a threshold set anew.

Nothing is learned and no label is looked at. What is written is a copy of the classifier with
another threshold and, if that is asked for, with probabilities for the class shares found here; a
card in its `bundle.json` says on how many images it was set, and by a salted hash on which.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.seen_before import recognise
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.errors import BundleError, DataError, FitError, ScenarioError, UnreadableDataError
from medgraft.evaluate.groups import by_group
from medgraft.evaluate.intervals import number_groups, proportion, repeats
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import PriorShift, adjust, estimate_shares
from medgraft.evaluate.unlabelled import Labelled, expected_accuracy, matching_threshold
from medgraft.features.extract import Extractor, without
from medgraft.features.weights import sha256_of
from medgraft.files import StorageError, explained, write_json, written_folder
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.fit import load
from medgraft.profile.reference import EXPECTED, Reference
from medgraft.profile.shift import CLEAR, SURE, Shift
from medgraft.results.adaptation import Adaptation, ClassShare, NewThreshold, Verdict
from medgraft.studies.store import LearnedFrom
from medgraft.types import (
    FittedScenario,
    Floats,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    SeenBefore,
    Skipped,
)

LEAST = 20  # images of which anything is said
LEAST_TO_SET = 100  # groups on which something is set: shares are then known to 5 points
RULES = {
    "quantile": "as many called positive as out of fold",
    "half": "the most probable class",
    "steady": "as before",
}


class OtherSortError(DataError):
    """Unlabelled images are of another sort than those that a classifier learned from."""


def adapt_model(
    path: Path,
    table: ImageTable,
    extractor: Extractor,
    *,
    out: Path | None = None,
    threshold: str = "quantile",
    prior: bool = False,
) -> Adaptation:
    """What a table's images, without their labels, say of a saved classifier; write one for them.

    Parameters
    ----------
    out : the folder of the classifier to write; nothing is written where it is None.
    threshold : how it is set (`RULES`). prior : also set the probabilities to the class shares
    found here, which assumes that only these changed.

    Raises
    ------
    OtherSortError
        Most images are unlike all that the classifier learned from.
    DataError
        There are too few images, it learned from all of them, or nothing is to be adapted.
    BundleError
        The classifier keeps no reference, or was adapted already.
    StorageError
        `out` is the classifier's own folder or lies in it, or holds something.
    """
    if threshold not in RULES:
        raise ScenarioError(f"no rule {threshold!r} of a threshold; there are: {', '.join(RULES)}")
    folder = bundle_folder(path)
    if out is not None:
        _refuse_taken(folder, out)
    reference = _reference(folder)
    fitted = load(folder, extractor)
    new = _new_images(folder, fitted, table, extractor)
    shares = estimate_shares(new.said.y_prob, reference.shares, new.said.groups)
    after = _threshold(fitted, reference, new.said, shares if prior else None, threshold)
    found = Adaptation(
        scenario=fitted.scenario.key,
        n=len(new.said),
        n_groups=number_groups(new.said.groups)[1],
        learned=int(reference.counts.sum()),
        labelled=_labelled(table, fitted.classes),
        seen=new.seen,
        skipped=new.skipped,
        **_looks(fitted, reference, new, shares, extractor),
        **_expected(fitted, reference, new.said),
        shares=tuple(map(ClassShare, fitted.classes, shares.training, shares.shares)),
        p_shares=shares.p,
        operating=fitted.operating,
        threshold=after,
    )
    if out is None:
        return found
    _refuse_to_set(found, prior)
    _write(folder, out, found, new.table, shares if prior else None)
    return dataclasses.replace(found, written=True, prior=prior)


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, eq=False)
class _New:
    """Images of the new place that can be read and were not learned from, and what is said."""

    table: ImageTable
    said: Predictions
    seen: SeenBefore
    skipped: tuple[Skipped, ...]


def _refuse_taken(folder: Path, out: Path) -> None:
    """Refuse to write onto the classifier, or onto anything else."""
    whole = folder.resolve().parent if folder.name == "model" else folder.resolve()
    if out.resolve() == whole or whole in out.resolve().parents:
        raise StorageError(
            f"--out {out} lies in {whole}, whose model stays as it is; choose another folder"
        )
    with explained(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(f"{out} is not empty; choose another --out")


def _reference(folder: Path) -> Reference:
    """What the classifier keeps of the images it learned from."""
    if "adapted" in read_bundle(folder):
        raise BundleError(
            f"{folder} was adapted to a place already; adapt the model it was made from"
        )
    found = Reference.read(folder)
    if found is None:
        raise BundleError(
            f"{folder} keeps nothing to hold new images to (it is of an earlier version, or was "
            "saved from Python); run its study again, whose codes are in the cache"
        )
    return found


def _new_images(
    folder: Path, fitted: FittedScenario, table: ImageTable, extractor: Extractor
) -> _New:
    """What the classifier says of a table's images, their labels taken away."""
    for one in compare_with_rule(table, fitted.rule):
        extractor.progress.say(one.text)
    bare = dataclasses.replace(
        table.shown_by(fitted.rule),
        labels=np.full(len(table), -1, np.int64),
        splits=np.full(len(table), "", table.splits.dtype),
        classes=fitted.classes,
        positive=fitted.positive,
    )
    _refuse_few(len(bare), "images")
    said, skipped = fitted.predict(bare)
    skipped = (*table.skipped, *skipped)
    if not len(said):
        raise UnreadableDataError(
            f"none of {len(table)} images can be read; the first: {skipped[0].source}: "
            f"{skipped[0].reason}"
        )
    rows = without(bare, skipped)
    met, seen = recognise(folder, LearnedFrom(), rows, extractor)
    left = " images that it has not learned from" if met.any() else " images that can be read"
    _refuse_few(int((~met).sum()), left.strip())
    return _New(rows.select(~met), said.select(~met), seen, skipped)


def _labelled(table: ImageTable, classes: tuple[str, ...]) -> int:
    """How many images came with a label, or lie in a folder that is named after a class."""
    in_folder = [Path(source.path).parent.name in classes for source in table.sources]
    return int(((table.labels >= 0) | np.array(in_folder, bool)).sum())


def _refuse_few(n: int, what: str) -> None:
    if n < LEAST:
        raise DataError(
            f"{n} {what} say too little of a place; give at least {LEAST}, and {LEAST_TO_SET} to "
            "have a threshold set"
        )


# --------------------------------------------------------------------------- what is found


def _looks(
    fitted: FittedScenario,
    reference: Reference,
    new: _New,
    shares: PriorShift,
    extractor: Extractor,
) -> dict[str, Any]:
    """Whether the images look like those learned from, and the verdict."""
    codes, _ = reference.encode(new.table, extractor)
    own = reference.distances(reference.codes, reference.groups.tolist())
    far = reference.distances(codes)
    unlike = proportion(far > np.quantile(own, 1 - EXPECTED), new.said.groups)
    _refuse_other_sort(own, far)
    labels, given = (_labels(fitted, p) for p in (new.said.y_prob, reference.prob))
    try:
        shift = reference.shift(codes, labels, new.said.groups, given)
    except FitError:  # too few patients on a side to be judged in folds
        shift = None
    verdict: Verdict = "other mix" if shares.p < SURE else "same place"
    if is_another(shift) if shift else unlike.low > 2 * EXPECTED:
        verdict = "other look"
    return {
        "verdict": verdict,
        "shift": shift and shift.estimate,
        "p": shift and shift.p,
        "unlike": unlike,
    }


def is_another(shift: Shift) -> bool:
    """Whether new images surely look different, as a study says of its test images."""
    return shift.p <= SURE and shift.estimate.value >= CLEAR


def _refuse_other_sort(own: Floats, far: Floats) -> None:
    """Refuse images most of which are farther from all learned from than these from each other."""
    beyond = float((far > own.max()).mean())
    if beyond > 0.5:
        raise OtherSortError(
            f"{100 * beyond:.0f} % of these images are unlike every image that the model learned "
            "from, so they are of another sort, and nothing is said or adapted; give images of the "
            "same kind and view, or study these on their own"
        )


def _labels(fitted: FittedScenario, prob: Floats) -> Ints:
    """The label of each image, (n,)."""
    if fitted.operating is None or fitted.positive is None:
        return give_labels(prob, None, 0.0)
    positive = fitted.classes.index(fitted.positive)
    return give_labels(prob, positive, fitted.operating.threshold)


def _expected(fitted: FittedScenario, reference: Reference, said: Predictions) -> dict[str, Any]:
    """How often labels were right out of fold, and may be right here."""
    given, labels = _labels(fitted, reference.prob), _labels(fitted, said.y_prob)
    known = Labelled(
        np.take_along_axis(reference.prob, given[:, None], 1)[:, 0],
        given == reference.truth,
        reference.groups,
    )
    sure = np.take_along_axis(said.y_prob, labels[:, None], 1)[:, 0]
    found = expected_accuracy(known, sure, said.groups)
    return {"out_of_fold": found.out_of_fold, "atc": found.atc, "doc": found.doc}


def _threshold(
    fitted: FittedScenario,
    reference: Reference,
    said: Predictions,
    shares: PriorShift | None,
    rule: str,
) -> NewThreshold | None:
    """The threshold by a rule, at the probabilities for `shares`, if any; None for many classes."""
    steady = fitted.operating
    if steady is None or fitted.positive is None:
        return None
    column = fitted.classes.index(fitted.positive)
    at_shares = (
        said
        if shares is None
        else dataclasses.replace(said, y_prob=adjust(said.y_prob, shares.training, shares.values))
    )

    def by_rule(before: float, old: Floats, new: Floats) -> float:
        """For one unit, an image or a group; old, new : its probabilities of the positive class."""
        if rule == "half":
            return 0.5
        if rule == "quantile":
            return matching_threshold(new, float((old >= before).mean()))
        return before if shares is None else _carried(before, column, shares)

    grouped = None
    if steady.by_group is not None and repeats(said.groups):
        learned = np.unique(reference.groups, return_inverse=True)[1].ravel()
        means = np.bincount(learned, reference.prob[:, column]) / np.bincount(learned)
        grouped = by_rule(steady.by_group, means, by_group(at_shares).y_prob[:, column])
    found = by_rule(steady.threshold, reference.prob[:, column], at_shares.y_prob[:, column])
    before = give_labels(said.y_prob, column, steady.threshold)
    after = give_labels(at_shares.y_prob, column, found)
    said_of = f"{RULES[rule]}, set on {len(said)} unlabelled images"
    return NewThreshold(Operating(found, said_of, grouped), int((before != after).sum()))


def _carried(threshold: float, column: int, shares: PriorShift) -> float:
    """The threshold that gives the same labels once probabilities are those of other shares."""
    both = np.full((1, 2), 1 - threshold)
    both[0, column] = threshold
    return float(adjust(both, shares.training, shares.values)[0, column])


# --------------------------------------------------------------------------- what is written


def _refuse_to_set(found: Adaptation, prior: bool) -> None:
    """Refuse to write where nothing is to be set, or too few images say how."""
    if found.n_groups < LEAST_TO_SET:
        raise DataError(
            f"{found.n_groups} images or patients are too few to set a threshold by; give at "
            f"least {LEAST_TO_SET}, or leave --out away to see what they say"
        )
    if found.verdict == "same place":
        raise DataError(
            "these images look like those that the model learned from, and classes are as common: "
            "nothing to adapt; use the model as it is"
        )
    if found.threshold is None and not prior:
        raise DataError(
            f"a model of {len(found.shares)} classes has no threshold to set; with --prior its "
            "probabilities are set to the class shares found here"
        )


def _write(
    folder: Path, out: Path, found: Adaptation, table: ImageTable, shares: PriorShift | None
) -> None:
    """Copy the classifier with what was set anew, and a card that says on what."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    salt = secrets.token_hex(16)
    hashes = "\n".join(sorted(table.byte_hashes.tolist()))
    content["adapted"] = {
        "images": found.n,
        "groups": found.n_groups,
        "salt": salt,
        "hash": hashlib.blake2b(hashes.encode(), key=salt.encode(), digest_size=16).hexdigest(),
        "from": sha256_of(path),
        "verdict": found.verdict,
        "operating_before": content["operating"],
        "calibrator_before": content["calibrator"],
        "class_shares": None
        if shares is None
        else dict(zip(content["classes"], shares.values.tolist(), strict=True)),
    }
    if found.threshold is not None:
        content["operating"] = dataclasses.asdict(found.threshold.operating)
    if shares is not None:
        moved = np.log(shares.values) - np.log(shares.training)
        biases = np.array(content["calibrator"]["biases"]) + moved
        content["calibrator"]["biases"] = (biases - biases.mean()).tolist()
    with written_folder(out) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        write_json(temporary / "bundle.json", content)
