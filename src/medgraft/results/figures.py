"""Numbers with the interval that each has: what classifiers are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from medgraft.types import Estimate, Ints, Operating


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether stated probabilities come true (`evaluate/recalibration.py`).

    slope : below 1 they are too extreme, above 1 too moderate; None where it cannot be told, which
    `reason` then says. intercept : of two classes, in log odds at slope 1; above 0 the positive
    class is more frequent than stated. averages : mean stated probability minus the class's share,
    by class (of two the positive one). curve : slope and intercept fitted together, of two classes.
    p : of the test that slope is 1 and there is no bias. needed : so many images like these would
    probably tell what is well enough calibrated from what is not; 0 where no number would.
    """

    slope: Estimate | None
    intercept: Estimate | None
    averages: Mapping[str, Estimate]
    curve: tuple[float, float] | None
    p: float
    needed: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All metrics of one set of predictions, and the table of counts they come from.

    confusion : (n_classes, n_classes) counts, rows the truth, columns the label given.
    calibration : None where it was not asked for.
    """

    estimates: Mapping[str, Estimate]
    confusion: Ints
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    n_images: int
    n_groups: int
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison, `difference` = metric of `a` minus metric of `b` on the same images."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float


MADE = "how the images were made (exposure, sharpness, colour, frame, size)"
TELLS = 0.6  # AUROC that what is no subject (files, columns, surface) must surely be over to tell
TELLING = 0.9  # AUROC of the surface at which a network need not look at the subject
WIDE = 0.3  # an interval of an AUROC that says next to nothing
NotGiven = Literal["", "few images", "still telling"]


def tells(auroc: Estimate) -> Literal["surely", "few images", "not surely"]:
    """Whether what has this AUROC tells the class: the one rule for files, columns and surface."""
    if auroc.low > TELLS:
        return "surely"
    return "few images" if auroc.high - auroc.low > WIDE else "not surely"


def whether(what: str, auroc: Estimate) -> str:
    """Whether something beside the subject tells the class, by the one rule that there is.

    >>> print(whether("file size", Estimate(0.65, 0.58, 0.71, 180, "")))
    It is not sure that file size tells the class: AUROC 0.650 (0.580 to 0.710), not surely over 0.6
    """
    figures = f"AUROC {auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f})"
    match tells(auroc):
        case "surely":
            return f"{what[:1].upper()}{what[1:]} tells the class: {figures}"
        case "few images":
            return f"Too few images to say whether {what} tells the class: {figures}"
        case _:
            return f"It is not sure that {what} tells the class: {figures}, not surely over {TELLS}"


@dataclass(frozen=True, slots=True)
class LowerEnd:
    """What a figure would be if how the images were made meant nothing elsewhere.

    estimate : of the selection metric, None where it is not given. surface_auroc : how well how the
    images were made (their surface) alone tells the classes; surface_auroc_weighted : under the
    weights that take this away. n_effective : groups that the weights leave, of the class with the
    fewest. reason : why it is not given: fewer than 20 such groups ("few images"), or the surface
    tells the classes under the weights too ("still telling"). surface : surface_auroc with its
    interval. beyond : the model's AUROC minus that, on the same images.
    """

    estimate: Estimate | None
    n_effective: float
    surface_auroc: float
    surface_auroc_weighted: float
    reason: NotGiven = ""
    surface: Estimate | None = None
    beyond: Comparison | None = None


@dataclass(frozen=True, slots=True)
class SetFigures:
    """How often sets of classes hold the true one, and how large they are (`docs/sets.md`).

    alpha : the share of each class that sets may miss. by_class : the share of its images whose set
    holds it; None where there is no image of it. coverage : the same of all images. size : classes
    in a set, in the mean. single : the share of sets of one class. always : the classes that are in
    every set, for too few patients were learned from to say more. Every patient weighs the same.
    """

    alpha: float
    by_class: Mapping[str, Estimate | None]
    coverage: Estimate
    size: Estimate
    single: Estimate
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnlikeFigures:
    """How many of n images are unlike anything learned from (`profile/unlike.py`).

    rate : of false alarms: so many patients like those learned from have an image that is called
    unlike. known : False where too few patients were learned from, and no image is. images : that
    are called so. patients : the share of patients with such an image.
    """

    rate: float
    known: bool
    n: int
    images: int
    patients: Estimate


@dataclass(frozen=True, slots=True)
class Subgroup:
    """How one sub-group does, and how it differs from all that are not in it.

    estimate : None where the metric is not defined. few : it, or the rest, has too few groups of a
    class for its figure to say much; then it is not tested. difference : its figure minus the
    rest's, with the ends of the 95 % interval. p : that there is none, Holm's over all sub-groups.
    """

    name: str
    n_images: int
    n_groups: int
    estimate: Estimate | None
    few: bool
    difference: tuple[float, float, float] | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Subgroups:
    """The sub-groups of one column."""

    column: str
    figures: tuple[Subgroup, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """A sensitivity or a specificity that is asked for, and the threshold that promises it.

    threshold : None where too few patients of the class were learned from; `needed` are. found :
    sensitivity and specificity at it on other images, by name; empty where there is none.
    """

    of: Literal["sensitivity", "specificity"]
    wanted: float
    threshold: float | None
    needed: int
    found: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GradeCut:
    """One threshold between two grades: whether an image is of `grade` or a higher one.

    n_above : images that are, by their true grade. estimates : auroc, sensitivity and specificity,
    by name; sensitivity and specificity at the operating threshold on the probability of `grade` or
    higher. operating : of the deployed model, chosen out of fold. wishes : thresholds for a wanted
    sensitivity.
    """

    grade: str
    n_above: int
    estimates: Mapping[str, Estimate]
    operating: Operating
    wishes: tuple[Wish, ...] = ()


@dataclass(frozen=True, slots=True)
class GradeFigures:
    """How far from the truth the grades are that images are given.

    values : the number of each grade (`data.grades.grade_values`). kappa : quadratic weighted.
    exact, off_by_one, off_by_more : shares of the images by distance in places. mean_error : the
    mean distance. mean_grade_error : that between the true grade and the mean grade by the
    probabilities, which is no whole number. cuts : from the lowest threshold up.
    """

    values: tuple[int, ...]
    kappa: Estimate
    exact: Estimate
    off_by_one: Estimate
    off_by_more: Estimate
    mean_error: Estimate
    mean_grade_error: Estimate
    cuts: tuple[GradeCut, ...]


@dataclass(frozen=True, slots=True)
class SiteFigure:
    """How one site was judged by models that learned from others.

    fold : that the site was left out in; sites of one fold were left out together. estimate : of
    the selection metric, its interval as wide as to hold for all sites at once; None where it is
    not defined there (images of one class). few : it has so few groups of a class that its figure
    says next to nothing, and does not count towards the worst.
    """

    site: str
    n_images: int
    n_groups: int
    fold: int
    estimate: Estimate | None
    few: bool = False


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """The recommended scenario at each site, the worst first, then the few, then the undefined.

    asked : the column or pattern that names sites. worst : of the site that is worst in truth,
    whichever it is: the ends are the worst ends of the intervals of all sites that count. None
    where no site does.
    """

    asked: str
    figures: tuple[SiteFigure, ...]
    worst: Estimate | None
