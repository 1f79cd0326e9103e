"""Numbers and names in plain words: how an estimate, a share, a scenario's key is written.

Everything a reader sees as a number passes through here, so that digits, signs and the word for
what is missing are the same on every line of the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from medgraft.results.figures import Comparison
from medgraft.types import Estimate

if TYPE_CHECKING:
    from medgraft.evaluate.intervals import Difference

MISSING = "not measured"
CORRECTED = "corrected for the choice"  # of a figure; only the plain one is called out of fold
PERCENT = frozenset({"accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv"})
METRIC_WORDS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "quadratic_kappa": "quadratic kappa",
    "mean_absolute_error": "mean error of grade",
    "brier": "Brier score",
    "log_loss": "log loss",
    "ece": "calibration error",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
FAMILY_WORDS = {
    "probe": "one layer, or all stages",
    "multiscale": "other input sizes",
    "vlad": "encoded descriptors",
    "ensemble": "several scenarios joined",
    "finetune": "a network trained again",
    "hybrid": "VGG's first blocks with trained separable ones",
}
GLOSSARY = {
    "auroc": "The chance that a random image of the positive class gets a higher score than a "
    "random one of the other: 0.5 is guessing, 1 is no mistake in the order. With more than two "
    "classes it is the mean over each class against the rest.",
    "auprc": "Area under the curve of precision against recall. Guessing gives the share of the "
    "positive class, so compare it with that share and not with 0.5.",
    "accuracy": "The share of images that were given the right class.",
    "balanced_accuracy": "The mean over the classes of the share found; a large class weighs no "
    "more than a small one.",
    "sensitivity": "Of the images of the positive class, the share that was called positive. Also "
    "called recall.",
    "specificity": "Of the images of the other class, the share that was not called positive.",
    "ppv": "Positive predictive value: of the images called positive, the share that is. It "
    "depends on how common the class is. Also called precision.",
    "npv": "Negative predictive value: of the images not called positive, the share that is not. "
    "It depends on how common the class is.",
    "macro_f1": "For each class the harmonic mean of precision and recall, averaged over the "
    "classes.",
    "quadratic_kappa": "Agreement of grades beyond chance, a mistake weighed by the square of the "
    "grades between truth and label: 0 is guessing, 1 is no mistake. It takes the classes in their "
    "order.",
    "mean_absolute_error": "The mean number of grades between truth and label; lower is better.",
    "mcc": "Matthews correlation between truth and label: 0 is guessing, 1 is no mistake, and "
    "the size of the classes does not flatter it.",
    "brier": "The mean squared distance between the probabilities given and what was true; lower "
    "is better.",
    "log_loss": "The mean of minus the logarithm of the probability given to the true class; "
    "lower is better, and one confident mistake weighs much.",
    "ece": "By how much a stated probability is off on average, over bins of equally many images; "
    "0 means that of the images given 80 %, 80 % are so. Chance alone makes it large on few "
    "images, so nothing is judged by it.",
    "calibration_slope": "By what the log odds stated must be multiplied to come true: 1 is right; "
    "below 1 the probabilities are too extreme, above 1 too moderate.",
    "calibration_intercept": "What must be added to the log odds stated for their average to come "
    "true: 0 is right; above 0 the positive class is more frequent than stated.",
    "interval": "A 95 % interval: a range made by a method that, over many studies, holds the "
    "true value 95 times in 100. A wide one means that few images were looked at.",
    "out-of-fold": "Said of a prediction on an image that was not learned from: the development "
    "images are dealt into folds, and each fold is judged by a classifier trained on the others.",
    "test": "Images set aside. They were used for no choice, and looked at when all were made.",
    "group": "Images that belong together, such as those of one patient, and are never split "
    "between learning and judging.",
    "scenario": "One complete recipe from pixels to probabilities.",
    "backbone": "A network trained before, on other images, whose insight is reused here.",
    "tap": "A layer of the backbone at which its output is read. Early ones see edges and "
    "texture, late ones whole shapes.",
    "head": "The small classifier trained on your images, on top of what a tap gives.",
    "epoch": "One pass over all images that are learned from. After each, the network is judged on "
    "images held out, and the weights of the best epoch, or of the last, are kept.",
    "overfitting": "How much better a network is on the images it learned from than on images held "
    "out: what it knows by heart and cannot use.",
    "operating-point": "The threshold on the probability above which an image is called positive. "
    "It trades sensitivity against specificity.",
    "heatmap": "Grad-CAM: which parts of the picture raised the score of the class. It shows "
    "where, not why, and a plausible map is no proof of a sound decision.",
}

TITLES: Mapping[str, str] = {
    "metadata_tells_class": "The files tell the class",
    "columns_tell_class": "Columns tell the class",
    "content_tells_class": "File size and border tell the class",
    "metadata": "The files",
    "few_for_audit": "Too few images for the audit",
    "unreadable": "Images that cannot be read",
    "surface": "How the images were made",
    "surface_tells_class": "How the images were made tells the class",
    "near_duplicates": "Near copies",
    "near_duplicates_across_splits": "Near copies in training and test",
    "near_duplicates_across_classes": "Near copies under different labels",
    "near_duplicates_across_groups": "Near copies in different groups",
    "pixel_identical": "Equal pixels",
    "pixel_identical_across_splits": "Equal pixels in training and test",
    "pixel_identical_across_classes": "Equal pixels under different labels",
    "pixel_identical_across_groups": "Equal pixels in different groups",
    "suspected_labels": "Labels that may be wrong",
    "wrong_labels": "Labels",
    "train_test_shift": "Training against test",
    "many_skipped": "Images that could not be used",
    "unread": "Files that are not read",
    "table_beside": "A table beside the images",
    "copied_folder": "A copy that was left out",
    "possible_groups": "Images that may be of one patient",
    "classes": "Classes that were changed",
    "each_finding": "Each finding",
}


def name_metric(metric: str) -> str:
    """The metric's name as the field writes it; an unknown one stays as it is, without _."""
    return METRIC_WORDS.get(metric, metric.replace("_", " "))


def name_check(check: str) -> str:
    """The name of a check as a title, the same wherever it is shown.

    >>> name_check("small_test"), name_check("columns_tell_class")
    ('Small test', 'Columns tell the class')
    """
    return TITLES.get(check, capitalised(check.replace("_", " ")))


def capitalised(text: str) -> str:
    """The text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]


def name_edit(edit: str) -> str:
    """An edit in words; its parameters are told where they are not the usual ones.

    >>> name_edit("raw"), name_edit("clahe2-8"), name_edit("clahe4-8")
    ('raw', 'CLAHE', 'CLAHE 4-8')
    """
    return "CLAHE" if edit == "clahe2-8" else edit.replace("clahe", "CLAHE ")


def is_missing(value: float | None) -> bool:
    """Whether there is no number to show."""
    return value is None or not math.isfinite(value)


def number(value: float | None) -> str:
    """Three significant digits at most; what is almost 1 or 0 is not rounded into it.

    >>> number(0.96349), number(0.99981), number(0.0001), number(1.0), number(-0.5), number(None)
    ('0.963', '>0.999', '<0.001', '1.00', '−0.500', 'not measured')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size == 0:
        return "0"
    if 0.9995 <= size < 1:
        return ">0.999" if value > 0 else "<−0.999"
    if size < 0.0005:
        return "<0.001" if value > 0 else ">−0.001"
    digits = 3 if size < 1 else 2 if size < 9.995 else 1 if size < 99.95 else 0
    return _signed(value, f"{size:.{digits}f}")


def percent(share: float | None) -> str:
    """A share 0..1 in percent, one decimal.

    >>> percent(0.9525), percent(0.99981), percent(1.0), percent(0.0001), percent(float("nan"))
    ('95.2 %', '>99.9 %', '100 %', '<0.1 %', 'not measured')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    size = abs(100 * share)
    if size in (0.0, 100.0):
        return _signed(share, f"{size:.0f} %")
    if 99.95 <= size < 100:
        return ">99.9 %"
    if size < 0.05:
        return "<0.1 %"
    return _signed(share, f"{size:.1f} %")


def nominal(share: float) -> str:
    """A share that was asked for, not measured, in percent.

    >>> nominal(0.9), nominal(0.975)
    ('90 %', '97.5 %')
    """
    return f"{round(100 * share, 6):g} %"


def in_100(share: float) -> str:
    """A share of labels as a whole number of 100, rounded up, at least 1.

    >>> in_100(0.031), in_100(0.0)
    ('4', '1')
    """
    return f"{max(1, math.ceil(100 * share - 1e-9))}"


def value(metric: str, figure: float | None) -> str:
    """A figure of this metric: percent where it is a share of images, a plain number elsewhere."""
    return percent(figure) if metric in PERCENT else number(figure)


def interval(metric: str, estimate: Estimate | None) -> str:
    """The two ends of the interval, without brackets.

    >>> interval("auroc", Estimate(0.96, 0.951, 0.974, 624, "DeLong"))
    '0.951–0.974'
    >>> interval("accuracy", Estimate(0.9, 0.87, 0.93, 624, "Wilson"))
    '87.0–93.0 %'
    >>> interval("auroc", Estimate(1.0, 0.9996, 1.0, 624, "DeLong"))
    '>0.999 to 1.00'
    """
    if estimate is None or is_missing(estimate.low) or is_missing(estimate.high):
        return MISSING
    low, high = value(metric, estimate.low), value(metric, estimate.high)
    if metric in PERCENT:
        low = low.removesuffix(" %")
    return f"{low} to {high}" if set(low + high) & set("−<>") else f"{low}–{high}"


def between(metric: str, comparison: Comparison | Difference) -> str:
    """The ends of a difference's interval, without brackets.

    >>> between("auroc", Comparison("a", "b", 0.01, -0.002, 0.022, 0.1))
    '−0.002 to +0.022'
    >>> between("accuracy", Comparison("a", "b", 0.01, -0.002, 0.022, 0.1))
    '−0.2 to +2.2 points'
    """
    low, high = difference(metric, comparison.low), difference(metric, comparison.high)
    return f"{low.removesuffix(' points')} to {high}"


def difference(metric: str, gap: float) -> str:
    """A signed difference of two figures; of two percentages it is in points.

    >>> difference("accuracy", -0.0123), difference("auroc", 0.0123)
    ('−1.2 points', '+0.012')
    """
    if not math.isfinite(gap):
        return MISSING
    scale, digits, unit = (100, 1, " points") if metric in PERCENT else (1, 3, "")
    text = f"{abs(gap) * scale:.{digits}f}"
    sign = "" if float(text) == 0 else "+" if gap > 0 else "−"
    return f"{sign}{text}{unit}"


def margin(metric: str, half: float) -> str:
    """Half the width of an interval.

    >>> margin("auroc", 0.0123), margin("accuracy", 0.025)
    ('±0.012', '±2.5 points')
    """
    return "±" + difference(metric, half).removeprefix("+")


def p_value(p: float) -> str:
    """A p-value with its sign of equality: `p = 0.03`, `p < 0.001`."""
    if not math.isfinite(p):
        return MISSING
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def large(n: int) -> str:
    """A big number with its order of magnitude.

    >>> large(386_000_000), large(4_652_008), large(512)
    ('386 million', '4.65 million', '512')
    """
    for size, word in ((1_000_000_000, "billion"), (1_000_000, "million")):
        if n >= size:
            return f"{n / size:.3g} {word}"
    return count(n)


def count(n: int) -> str:
    """A whole number with a comma at the thousands."""
    return f"{n:,}"


def plural(n: int, one: str, many: str = "") -> str:
    """The number with its noun: `1 image`, `5,232 images`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def images_of_groups(images: int, groups: int) -> str:
    """So many images, and of how many groups where each is not a group of its own.

    >>> images_of_groups(84, 45), images_of_groups(26, 26)
    ('84 images of 45 groups', '26 images')
    """
    text = plural(images, "image")
    return text if groups == images else f"{text} of {plural(groups, 'group')}"


def duration(seconds: float) -> str:
    """A length of time a person would say.

    >>> duration(0.42), duration(75), duration(7300)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def join(items: Iterable[str], last: str = "and") -> str:
    """A list in a sentence.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    parts = list(items)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def sentence(text: str) -> str:
    r"""The text on one line, with a full stop and a capital first letter; names keep their own.

    >>> sentence("the loss\nis small"), sentence("blocks.5 is best.")
    ('The loss is small.', 'blocks.5 is best.')
    """
    line = " ".join(text.split())
    if line.partition(" ")[0].rstrip(",:;.").isalpha():
        line = capitalised(line)
    return line if not line or line[-1] in ".:?" else line + "."


def shorten(text: str, length: int) -> str:
    """One line of at most `length` characters; what is cut is marked, in the middle."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    end = (length - 1) // 3
    return f"{line[: length - 1 - end]}…{line[len(line) - end :]}"


def _signed(original: float, text: str) -> str:
    return ("−" if original < 0 else "") + text
