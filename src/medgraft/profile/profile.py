"""What a study should know of its images before it learns: size, balance, splits, copies, leaks.

`examine` runs every check, `profile` those that need no look at the images. Nothing here changes
the table; each check says in plain words what it found, and what can be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medgraft.errors import FitError
from medgraft.evaluate.intervals import design_effect, wilson
from medgraft.profile import duplicates, labels, quality
from medgraft.profile.group_similarity import numbering_or_leakage
from medgraft.profile.image_stats import ImageStats
from medgraft.profile.leakage import (
    counted,
    examples,
    groups_across_splits,
    identical_files,
)
from medgraft.profile.metadata import metadata_probe, read_properties
from medgraft.profile.shift import train_test_shift
from medgraft.profile.shortcut_probe import predict_from_surface, surface_finding
from medgraft.profile.suggestions import one_each
from medgraft.results.data import Checked, Suggestion
from medgraft.results.evidence import FEW_OF_CLASS
from medgraft.types import (
    FeatureTable,
    Finding,
    ImageTable,
    Ints,
    Predictions,
    Strings,
    gravest_first,
)

FEW_IMAGES = 20  # of a class, to learn from
FEW_GROUPS = 10
FOLDS = 5
IMBALANCE = 10.0  # the largest class over the smallest
WIDE = 0.10  # half the width of the interval of an accuracy
TINY_VAL = 100  # images
UNLIKELY = 0.01  # chance of class shares that differ as much by luck
APART = 0.05  # difference of a class's share that matters for thresholds
MOST_NAMES = 12  # of classes in a sentence


@dataclass(frozen=True, eq=False)
class ProfileInputs:
    """What the checks look at beside the table; what is None is not checked, and that is said.

    codes : CNN codes of the images, in any order. image_stats : of the table's rows, in order.
    oof : out-of-fold predictions of its development images; `no_oof` says why there are none.
    divided : the same rows with the test split that a study sets aside, so that what tells the
    class is looked for among the images that are learned from, as there; None: the table itself.
    surface : predictions of the surface of those (`shortcut_probe.py`), where they are known.
    """

    codes: FeatureTable | None = None
    image_stats: ImageStats | None = None
    oof: Predictions | None = None
    no_oof: str = "no out-of-fold predictions"
    divided: ImageTable | None = None
    surface: Predictions | None = None


def profile(
    table: ImageTable, codes: FeatureTable | None = None, *, seed: int = 0
) -> tuple[Finding, ...]:
    """Run the checks that need no look at the images; the most severe findings come first.

    What `table.findings` holds from reading the data is not repeated.

    Parameters
    ----------
    table
        All images, test images too; without a test split, what concerns it is left out.
    codes
        CNN codes of the images that could be read; None: images are not compared with each other.
    seed
        Of the permutations.

    Raises
    ------
    DataError
        `codes` holds no development image of the table.
    """
    findings = (
        *groups_across_splits(table),
        *numbering_or_leakage(table, codes, seed),
        *identical_files(table),
        *size_and_balance(table),
        *small_classes(table),
        *small_test(table),
        *class_shares(table),
        *val_joins(table),
    )
    return _by_severity(findings)


def examine(table: ImageTable, evidence: ProfileInputs, *, seed: int = 0) -> Checked:
    """Run all checks of the data: those of `profile`, and those of pictures, files and labels.

    Raises
    ------
    DataError
        `evidence.codes` holds no development image of the table.
    LeakError
        `evidence.oof` holds test images.
    """
    codes, image_stats, oof = evidence.codes, evidence.image_stats, evidence.oof
    findings = [*profile(table, codes, seed=seed)]
    learned = table if evidence.divided is None else evidence.divided
    findings += few_for_audit(learned)
    findings += metadata_probe(learned, read_properties(table, image_stats), seed)
    if (surface := evidence.surface or _surface(learned, image_stats, seed)) is not None:
        findings.append(surface_finding(surface))
    seen, suggestions = examine_pictures(table, evidence, seed)
    findings += seen
    unchecked = []
    if image_stats is None:
        unchecked.append("near copies and picture quality (the images were not looked at)")
    if codes is not None:
        findings += train_test_shift(table, codes, seed)
    else:
        unchecked.append("a shift between training and test (no codes)")
    if oof is not None:
        found = labels.search(oof)
        findings += labels.wrong_labels(oof, found)
        suggestions += labels.suggest(found.suspects)
    else:
        unchecked.append(f"wrong labels ({evidence.no_oof})")
    if unchecked:
        findings.append(Finding("not_checked", "info", f"Not checked: {_named(unchecked)}."))
    return Checked(_by_severity(findings), one_each(suggestions))


def examine_pictures(
    table: ImageTable, evidence: ProfileInputs, seed: int
) -> tuple[list[Finding], list[Suggestion]]:
    """Copies and the quality of pictures, and what could be done; nothing without `image_stats`."""
    image_stats, codes = evidence.image_stats, evidence.codes
    if image_stats is None:
        return [], []
    # What is seen of a page that is not the picture says nothing of the picture.
    pages = [one for one in table.findings if one.check == "pages" and one.severity != "info"]
    misread = {id for one in pages for id in one.images}
    pairs = duplicates.find_pairs(table, image_stats, codes, seed)
    pairs = pairs.without(np.isin(table.ids, list(misread)))
    seen = [*duplicates.near_duplicates(table, pairs), *quality.quality(image_stats)]
    done = [*duplicates.suggest(table, pairs), *quality.suggest(image_stats)]
    return (
        [one for one in seen if not misread.issuperset(one.images) or not one.images],
        [one for one in done if one.path not in misread],
    )


def _surface(table: ImageTable, image_stats: ImageStats | None, seed: int) -> Predictions | None:
    """What the surface says of the images to learn from; None where it cannot be asked."""
    rows = np.flatnonzero((table.splits != "test") & (table.labels >= 0))
    if image_stats is None or len(np.unique(table.labels[rows])) < 2:
        return None
    try:
        return predict_from_surface(image_stats.surface[rows], table.select(rows), seed)
    except FitError:  # too few images, which `small_classes` says
        return None


def _by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(gravest_first(findings))


def size_and_balance(table: ImageTable) -> tuple[Finding, ...]:
    """Count images and groups of every class on both sides, and compare the class sizes.

    Sizes are compared among the development images, which are what is learned from.
    """
    development = _counts(table.development)
    sides = {"development": development}
    if (table.splits == "test").any():
        sides["test"] = _counts(table.test)
    lines = []
    numbers: dict[str, float | int | str] = {}
    for side, counts in sides.items():
        classes = []
        for name, (images, groups) in zip(table.classes, counts.tolist(), strict=True):
            classes.append(f"{name} {images:,} ({counted(groups, 'group')})")
            numbers |= {f"images {side} {name}": images, f"groups {side} {name}": groups}
        lines.append(f"{side}: {_named(classes)}")
    total = f"{counted(len(table), 'image')} in {counted(len(table.classes), 'class', 'classes')}"
    size = Finding("size", "info", f"{total}. By class, {'; '.join(lines)}.", numbers)
    images = development[:, 0]
    if len(images) < 2 or not images.all():
        return (size,)  # `small_classes` speaks of classes that are absent
    ratio = float(images.max() / images.min())
    large, small = table.classes[int(images.argmax())], table.classes[int(images.argmin())]
    uneven = ratio >= IMBALANCE
    if ratio == 1:
        text = f"All classes to learn from have {counted(int(images.max()), 'image')}."
        return size, Finding("balance", "info", text, {"ratio": ratio})
    balance = Finding(
        "balance",
        "warn" if uneven else "info",
        f"The largest class to learn from, {large} ({images.max():,} images), has {ratio:.1f} "
        f"times as many images as the smallest, {small} ({images.min():,})."
        + (" A model can look accurate by rarely naming the small one." if uneven else ""),
        {"ratio": ratio, "largest": large, "smallest": small},
        remedy="Judge by balanced accuracy and by each class's own figures; weight the classes."
        if uneven
        else "",
    )
    return size, balance


def small_classes(table: ImageTable) -> tuple[Finding, ...]:
    """Name the classes with too little to learn from, to judge in folds, or to test on."""
    development = table.development
    counts = _counts(development)
    absent = np.flatnonzero(counts[:, 0] == 0)
    few = np.flatnonzero(
        (counts[:, 0] > 0) & ((counts[:, 0] < FEW_IMAGES) | (counts[:, 1] < FEW_GROUPS))
    )
    untested = np.flatnonzero(_counts(table.test)[:, 0] == 0)
    findings = []
    if len(absent):
        text = f"No image to learn from: {_named(table.classes[i] for i in absent)}."
        numbers = {"classes": len(absent)}
        remedy = "Add images of it, or leave it out: --leave-out CLASS."
        findings.append(Finding("absent_class", "severe", text, numbers, (), remedy))
    if len(few):
        sizes = _named(
            f"{table.classes[i]} ({counted(int(counts[i, 0]), 'image')} of "
            f"{counted(int(counts[i, 1]), 'group')})"
            for i in few
        )
        fewest = int(counts[few, 1].min())
        text = (
            f"Classes with fewer than {FEW_IMAGES} images or {FEW_GROUPS} groups to learn from: "
            f"{sizes}. Their figures say little."
        )
        if fewest < FOLDS:
            text += f" Cross-validation in {FOLDS} parts is not possible with {fewest}."
        numbers = {
            "classes": len(few),
            "fewest_images": int(counts[few, 0].min()),
            "fewest_groups": fewest,
        }
        ids = examples(development.ids[np.isin(development.labels, few)])
        remedy = "Add images of other patients."
        findings.append(Finding("small_class", "warn", text, numbers, ids, remedy))
    known = any(finding.check == "untested_class" for finding in table.findings)
    if len(untested) and (table.splits == "test").any() and not known:
        text = f"The test split has no image of: {_named(table.classes[i] for i in untested)}."
        numbers = {"classes": len(untested)}
        remedy = "Add test images of it, or leave it out: --leave-out CLASS."
        findings.append(Finding("untested_class", "warn", text, numbers, (), remedy))
    return tuple(findings)


def few_for_audit(table: ImageTable) -> tuple[Finding, ...]:
    """Warn before a study where its audit of the evidence will stay undecided.

    table : with its test split; the audit looks at the others.
    """
    counts = _counts(table.development)[:, 0]
    few = np.flatnonzero((counts > 0) & (counts < FEW_OF_CLASS))
    if not len(few) or (counts > 0).sum() < 2:
        return ()
    share = len(table.development) / len(table)
    wanted = int(np.ceil(FEW_OF_CLASS / share))
    named = _named(f"{table.classes[i]} {counts[i]:,}" for i in few)
    aside = f", about {wanted:,} with those that are set aside for the test" if share < 1 else ""
    return (
        Finding(
            "few_for_audit",
            "warn",
            "Whether a model looks at the right place will stay undecided: the audit of its "
            f"evidence takes {FEW_OF_CLASS} usable images of each class to learn from{aside}, and "
            f"there are: {named}.",
            {"needed": FEW_OF_CLASS, "fewest": int(counts[few].min())},
            remedy=f"Add images until each class has {wanted:,}.",
        ),
    )


def small_test(table: ImageTable) -> tuple[Finding, ...]:
    """Warn if an accuracy on the test split could be off by more than 10 points.

    By Wilson's interval at its widest, an accuracy of one half, on the number of groups: images of
    one patient tell much the same. So it is a bound, and true figures are often sharper.
    """
    test = table.test
    groups = len(np.unique(test.groups))
    if not groups:
        return ()
    interval = wilson(groups / 2, groups)
    half = (interval.high - interval.low) / 2
    if half <= WIDE:
        return ()
    return (
        Finding(
            "small_test",
            "warn",
            f"The test split has {counted(len(test), 'image')} of {counted(groups, 'group')}: an "
            f"accuracy measured on it may be off by up to ±{100 * half:.0f} points by luck alone.",
            {"images": len(test), "groups": groups, "half_width": half},
            remedy="Collect more test images, or judge by cross-validation, which uses all others.",
        ),
    )


def class_shares(table: ImageTable) -> tuple[Finding, ...]:
    """Compare the classes' shares in the test split with those in development.

    Pearson's chi-square, divided by the design effect of both sides (a first-order correction after
    Rao and Scott, 1981), because images of one patient are not independent.
    """
    development, test = _counts(table.development), _counts(table.test)
    present = (development + test)[:, 0] > 0
    images = np.stack([development[present, 0], test[present, 0]])  # (2, n_present)
    names = [name for name, here in zip(table.classes, present.tolist(), strict=True) if here]
    if len(names) < 2 or not images.sum(axis=1).all():
        return ()
    # The smaller side has the larger part in the variance of a difference of shares.
    effects = [design_effect(_of_class_and_group(part)) for part in (table.development, table.test)]
    effect = float(np.average(effects, weights=1 / images.sum(axis=1)))
    chi2 = float(stats.chi2_contingency(images, correction=False).statistic) / effect
    p = float(stats.chi2.sf(chi2, len(names) - 1))
    if p >= UNLIKELY:
        return ()
    shares = images / images.sum(axis=1, keepdims=True)
    two = len(names) == 2 and table.positive in names  # both then differ by as much
    most = names.index(str(table.positive)) if two else int(np.abs(shares[1] - shares[0]).argmax())
    learned, tested = (float(share) for share in shares[:, most])
    apart = abs(tested - learned) >= APART
    return (
        Finding(
            "class_shares",
            "warn" if apart else "info",
            f"{names[most]} makes up {100 * learned:.0f} % of the images to learn from, but "
            f"{100 * tested:.0f} % of the test images; luck alone seldom does that (chance "
            f"{_percent(p)}). "
            + (
                "Probabilities and the decision threshold, which are set on the images to learn "
                "from, may not fit the test images."
                if apart
                else "The difference is too small to matter much."
            ),
            {"development": learned, "test": tested, "class": names[most], "chi2": chi2, "p": p},
            remedy="Read figures that do not depend on shares (AUROC, sensitivity, specificity), "
            "and set the threshold for the place where the model will be used."
            if apart
            else "",
        ),
    )


def val_joins(table: ImageTable) -> tuple[Finding, ...]:
    """Say that an official val split is learned from too, and why."""
    val = table.splits == "val"
    n = int(val.sum())
    if not n:
        return ()
    small = f"{counted(n, 'image')} are too few to choose by, and " if n < TINY_VAL else ""
    return (
        Finding(
            "val_joins",
            "info",
            f"The val split ({counted(n, 'image')}) joins the training images: {small}choices are "
            "made by cross-validation over both. The test split stays apart.",
            {"images": n},
            examples(table.ids[val]) if n < TINY_VAL else (),
        ),
    )


def _of_class_and_group(table: ImageTable) -> Strings:
    """(n,) a name for the class and group together of each image with a label."""
    table = table.select(table.labels >= 0)
    return np.char.add(np.char.add(table.labels.astype(str), " "), table.groups)


def _counts(table: ImageTable) -> Ints:
    """(n_classes, 2) how many images and how many groups each class has."""
    members = [table.groups[table.labels == index] for index in range(len(table.classes))]
    return np.array([(len(groups), len(np.unique(groups))) for groups in members], np.int64)


def _named(names: Iterable[str]) -> str:
    """A list in words, cut where nobody would read on."""
    every = list(names)
    shown = ", ".join(every[:MOST_NAMES])
    return shown + (f" and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else "")


def _percent(p: float) -> str:
    return "below 0.1 %" if p < 0.001 else f"{100 * p:.1f} %"
