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

from medgraft.bundle.adapted_threshold import AUTO, RULES, auto_rule, set_threshold
from medgraft.bundle.class_shares import TRAINING, ClassShares, class_shares_of
from medgraft.bundle.model import bundle_folder
from medgraft.bundle.seen_before import recognise
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.errors import BundleError, DataError, FitError, ScenarioError, UnreadableDataError
from medgraft.evaluate.intervals import number_groups, proportion
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import PriorShift, estimate_shares
from medgraft.evaluate.unlabelled import Labelled, expected_accuracy
from medgraft.features.extract import Extractor, without
from medgraft.features.weights import sha256_of
from medgraft.files import StorageError, explained, write_json, written_folder
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.fit import load
from medgraft.profile.reference import EXPECTED, Reference
from medgraft.profile.shift import CLEAR, SURE, Shift
from medgraft.results.adaptation import Adaptation, ClassShare, Verdict
from medgraft.studies.store import LearnedFrom
from medgraft.types import (
    FittedScenario,
    Floats,
    ImageTable,
    Ints,
    Predictions,
    SeenBefore,
    Skipped,
)

LEAST = 20  # images of which anything is said
LEAST_TO_SET = 100  # groups on which something is set: shares are then known to 5 points
OTHER_SORT = 5 / 3  # of the median distance: other sorts had 1.8 and more, shifts at most 1.6


class OtherSortError(DataError):
    """Unlabelled images are of another sort than those that a classifier learned from."""


def adapt_model(
    path: Path,
    table: ImageTable,
    extractor: Extractor,
    *,
    out: Path | None = None,
    threshold: str = AUTO,
    class_shares: str = TRAINING,
) -> Adaptation:
    """What a table's images, without their labels, say of a saved classifier; write one for them.

    Parameters
    ----------
    out : the folder of the classifier to write; nothing is written where it is None.
    threshold : how it is set (`RULES`). class_shares : `training`, or what the probabilities are
    set to besides, as in `class_shares_of`; where the shares are given, as many images are called
    positive.

    Raises
    ------
    OtherSortError
        Most images are of another sort than those that the classifier learned from.
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
    learned = dict(zip(fitted.classes, reference.counts.tolist(), strict=True))
    to = None
    if class_shares != TRAINING:
        prob, groups = new.said.y_prob, new.said.groups
        to = class_shares_of(class_shares, fitted.classes, learned, prob, groups)
    found = _examine(fitted, reference, new, extractor)
    rule = auto_rule(found.verdict, to) if threshold == AUTO else threshold
    found = dataclasses.replace(
        found,
        labelled=_labelled(table, fitted.classes),
        threshold=set_threshold(fitted, reference, new.said, to, rule),
    )
    if out is None:
        return found
    _refuse_to_set(found, threshold, to)
    _write(folder, out, found, new.table, to)
    return dataclasses.replace(found, written=True, prior=to is not None)


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


def _examine(
    fitted: FittedScenario, reference: Reference, new: _New, extractor: Extractor
) -> Adaptation:
    """What the images say, before anything is set by them."""
    seem = estimate_shares(new.said.y_prob, reference.shares, new.said.groups)
    return Adaptation(
        scenario=fitted.scenario.key,
        n=len(new.said),
        n_groups=number_groups(new.said.groups)[1],
        learned=int(reference.counts.sum()),
        labelled=0,
        seen=new.seen,
        skipped=new.skipped,
        **_looks(fitted, reference, new, seem, extractor),
        **_expected(fitted, reference, new.said),
        shares=tuple(map(ClassShare, fitted.classes, seem.training, seem.shares)),
        p_shares=seem.p,
        operating=fitted.operating,
        threshold=None,
    )


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
    """Refuse images whose median distance to those learned from is far beyond what these have."""
    ratio = float(np.median(far) / max(float(np.median(own)), 1e-9))
    if ratio > OTHER_SORT:
        raise OtherSortError(
            "these images are of another sort than those that the model learned from: typically "
            f"{ratio:.1f} times as far from them as they are from each other, where another place "
            f"has {OTHER_SORT:.1f} at most; nothing is said or adapted: give images of the same "
            "kind and view"
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


# --------------------------------------------------------------------------- what is written


def _refuse_to_set(found: Adaptation, threshold: str, to: ClassShares | None) -> None:
    """Refuse to write where nothing is to be set, or too few images say how."""
    if found.n_groups < LEAST_TO_SET:
        raise DataError(
            f"{found.n_groups} images or patients are too few to set a threshold by; give at "
            f"least {LEAST_TO_SET}, or leave --out away to see what they say"
        )
    if to is not None or (threshold != AUTO and found.threshold is not None):
        return  # asked for by name
    if found.verdict == "same place":
        raise DataError(
            "these images look like those that the model learned from, and classes seem as common: "
            "nothing to adapt; use the model as it is"
        )
    if found.threshold is None:
        raise DataError(
            f"a model of {len(found.shares)} classes has no threshold to set; with --class-shares "
            "its probabilities are set to the shares found here, or to those you know"
        )
    if found.verdict == "other mix":
        raise DataError(
            "only the mix of classes seems to differ, on which the threshold does not depend: "
            "nothing to adapt but the probabilities, with --class-shares estimate or the shares "
            "you know"
        )


def _write(
    folder: Path, out: Path, found: Adaptation, table: ImageTable, to: ClassShares | None
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
        "class_shares": to and to.by_class,
    }
    if content.get("grading"):
        # They are of the probabilities before, and beside another threshold they contradict it.
        content["adapted"]["cuts_before"] = content["grading"]["cuts"]
        content["grading"] = {**content["grading"], "cuts": {}}
    if found.threshold is not None:
        content["operating"] = dataclasses.asdict(found.threshold.operating)
    if to is not None:
        moved = np.log(to.used) - np.log(to.training)
        biases = np.array(content["calibrator"]["biases"]) + moved
        content["calibrator"]["biases"] = (biases - biases.mean()).tolist()
    with written_folder(out) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        write_json(temporary / "bundle.json", content)
