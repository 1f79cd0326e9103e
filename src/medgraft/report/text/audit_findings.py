"""What an audit found, in words: one sentence and one remedy for each outcome of each check.

The terminal, the pages and result.json say the same.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from medgraft.report.text import formatting
from medgraft.results.evidence import DECIDES, EVIDENCE, INSIDE, MOVED, OUTSIDE, UNDECIDED
from medgraft.results.recommendation import AuditResult
from medgraft.types import AuditCheck, AuditFinding, AuditReason, Estimate, Verdict, gravest_first

VERDICTS: Mapping[Verdict, str] = {
    "PASS": "nothing that was tested decides where it should not",
    "WARN": "something that this model looks at asks for a look",
    "FAIL": "a place that was declared to be no evidence decides",
    "INCONCLUSIVE": "these images do not allow a verdict",
}
ROLES = {
    "declared": "Declared to be no evidence",
    "suspect": "Seldom evidence, not declared",
    "evidence": "Where the evidence may lie",
    "map": "Map of the picture",
}

DECLARED = "It was declared to be no evidence."
SUSPECT = "Nobody declared it to be no evidence: is this acceptable?"
_TURNS = (
    "{Region} decides{shown_most_by}: taken from an image of another class instead of one of the "
    "same class, it turns the label of {effect:100} in 100 images ({low:100} to {high:100}), and "
    "costs {auroc:.3f} of AUROC. "
)
_UNSURE = (
    "Too few images to say whether {region} decides{shown_most_by}: taken from an image of another "
    "class, it moves what the model says, costs {auroc:.3f} of AUROC, and turns the label of "
    "{effect:100} in 100 images, which may be {low:100} to {high:100}. "
)
_QUIET = (
    "Of the regions {what}, these do not decide ({names}): none turns {limit:100} in 100 labels "
    "for certain. An effect on {visible:in 100} in 100 would have been seen (power 80 %), or is "
    "ruled out."
)
_LEFT = (
    "With {evidence} exchanged for that of other patients of either class, the model still ranks "
    "with an AUROC of {auroc_without:.3f} instead of {auroc:.3f}: {effect:100} % of its skill "
    "({low:100} to {high:100}) does not need the evidence."
)
_FILES = (
    "How the files are made (size, mode, compression, EXIF, format), without a look at the "
    "pictures, allows an AUROC of {auroc:.2f} ({low:.2f} to {high:.2f}); with the labels dealt at "
    "random it is at most {dealt:.2f} in 19 of 20 deals (p = {p:.2f}). "
)
_ALONE = "What border and corners alone would allow was not measured: "
_ENERGY = (
    "The heatmaps put {inside:%} of their energy inside the masks, which cover {area:100} % of the "
    "image, and {inside_others:%} inside the masks of other patients ({n} images): "
)
_SHUFFLED = (
    "With everything shuffled that the network and its head learned, heatmaps agree with those "
    "before by a rank correlation of {shuffled:.2f} (1 is the same; {n} images), and those of two "
    "different images agree by {two_images:.2f}. "
)
WORDS: Mapping[tuple[AuditCheck, AuditReason], tuple[str, str]] = {
    ("one_class", ""): (
        "The images are all of one class, so nothing of another class can be put into them.",
        "Audit on images of all classes.",
    ),
    ("few_images", ""): (
        "Only {fewest_of}; below {limit:g} a class nothing is decided.",
        "Audit on more images.",
    ),
    ("few_images", "masks"): (
        "Only {fewest_of}; below {limit:g} a class nothing is decided.",
        "Audit on more images, or draw more masks.",
    ),
    ("few_pairs", ""): (
        "Only {pairs} pairs of patients of different classes could be formed; below {limit:g} no "
        "region can be tested.",
        "Audit on images of more patients, or say what a patient is (--group).",
    ),
    ("few_pairs", "of a class"): (
        "Only {pairs} of the pairs of patients hold one of class {names}; below {limit:g} what "
        "moves that class alone cannot be seen.",
        "Audit on images of more of its patients, or say what a patient is (--group).",
    ),
    ("absent_classes", ""): (
        "The model knows classes of which there is no image or no pair of patients here ({names}): "
        "what moves these was not tried.",
        "",
    ),
    ("padded", ""): (
        "The images are of different shapes and padded with bars: border and corners are those of "
        "the canvas and lie on bars in some images, whose own were not tried.",
        "Audit images of one shape, or a model that squashes or crops them (--resize).",
    ),
    ("not_exchanged", ""): (
        "On canvases this small nothing but the seam of these can be exchanged between images: "
        "{names}. Whether they decide was not tried.",
        "Audit a model of a larger input.",
    ),
    ("not_exchanged", "masks"): (
        "The masks leave nothing, or hardly anything, outside of them in most images: fewer than "
        "{limit:g} pairs could be formed, and whether that decides was not tried.",
        "Draw masks of the evidence alone, or leave --masks away.",
    ),
    ("region_against", ""): (
        "{Region} turns labels the other way round{shown_most_by}: taken from an image of one "
        "class instead of another, it gives {effect:100} in 100 images more the label of the other "
        "({low:100} to {high:100}). "
        "A mark may go with another class here than where the model learned.",
        "Look at what this place shows in either class, here and where the model learned.",
    ),
    ("few_groups", ""): (
        "No model could be taught without the images of a fold: {error}.",
        "Audit the saved model on other images.",
    ),
    ("weak_model", ""): (
        "The model ranks these images with an AUROC of {value:.3f} ({low:.3f} to {high:.3f}); "
        "below {limit:g} it has no evidence to be judged.",
        "Find a model that works before asking what it looks at.",
    ),
    ("one_answer", ""): ("The model calls every image {names}.", "Look at its threshold."),
    ("power", ""): (
        "With {pairs} pairs of patients an effect on {visible:in 100} in 100 labels could have "
        "been missed, and {limit:100} are the most that may. About {wanted} pairs would do: images "
        "of {images_a_class} patients of each class, and --pairs {wanted} (--audit-pairs in a "
        "study).",
        "",
    ),
    (DECIDES, "declared"): (
        _TURNS + DECLARED,
        "Do not trust this model before the reason is removed from the images (crop, cover or "
        "balance it) and the model trained anew.",
    ),
    (DECIDES, "suspect"): (
        _TURNS + SUSPECT,
        "Look at the images. If the place should not matter, declare it (--modality, --masks).",
    ),
    (UNDECIDED, "declared"): (_UNSURE + DECLARED, "Audit on more images."),
    (UNDECIDED, "suspect"): (_UNSURE, "Audit on more images."),
    (UNDECIDED, "against"): (
        "Too few images to say whether {region} turns labels the other way round{shown_most_by}: "
        "taken from an image of one class instead of another, it gives {effect:100} in 100 images "
        "more the label of the other, which may be {low:100} to {high:100}. ",
        "Audit on more images.",
    ),
    ("declared_regions", ""): (_QUIET.replace("{what}", "declared to be no evidence"), ""),
    ("suspect_regions", ""): (_QUIET.replace("{what}", "that seldom are evidence"), ""),
    ("sufficiency", "ruled out"): (_LEFT, ""),
    ("sufficiency", "not ruled out"): (
        _LEFT + " That it is more than {limit:100} % cannot be ruled out.",
        "",
    ),
    ("sufficiency", "sure"): (
        _LEFT,
        "Train on images in which only the evidence tells the classes apart.",
    ),
    ("change_turns_labels", ""): (
        "Images {change} get another label in {effect:100} of 100 cases ({low:100} to {high:100}, "
        "{n} images), mostly towards {towards}.",
        "Look at the images, and keep such marks off new ones, or train with some of each class.",
    ),
    ("changes", "none turns"): (
        "No change of these surely turns more than {limit:100} in 100 labels: {names}. The most is "
        "{effect:100} in 100 ({low:100} to {high:100}) of {n}: {change}.",
        "",
    ),
    ("changes", "whole image"): (
        "Of 100 images ({n} tried), so many get another label when they are: {estimates:100}. "
        "Images from another machine may differ as much.",
        "Train with augmented views (--augment), and evaluate on images from elsewhere.",
    ),
    ("place_tells_class", ""): (
        "{Region} alone, everything else painted grey, would allow a model of the same kind an "
        "AUROC of {auroc:.2f} ({low:.2f} to {high:.2f}). That is what could be used there, not "
        "what this model uses.",
        "Look there for what differs between the classes; crop or cover it if it can be.",
    ),
    ("places_alone", ""): (
        "What a model of the same kind could learn from these alone, everything else painted grey "
        "(AUROC, .5 is chance): {estimates:.2f}.",
        "",
    ),
    ("alone_not_measured", "several networks"): (
        _ALONE + "it takes one network that reads all images, and this model has several, or none "
        "to look into.",
        "",
    ),
    ("alone_not_measured", "failed"): (_ALONE + "{error}.", ""),
    ("files_alone", "alike"): (
        "All files are made alike (size, mode, compression, EXIF, format): none tells a class.",
        "",
    ),
    ("files_alone", "telling"): (
        _FILES + "The model sees no file, but what made them differ may show in the pixels.",
        "Store all images in one way, from the same sources; see `medgraft profile`.",
    ),
    ("files_alone", "not telling"): (_FILES + "They tell little or nothing of the class.", ""),
    ("files_not_measured", "no files"): (
        "Files alone were not tried: the images are frames of an array, without files.",
        "",
    ),
    ("files_not_measured", "failed"): ("Files alone were not tried: {error}.", ""),
    ("heatmaps_and_masks", "own patient"): (
        _ENERGY + "{more:points} more, so they know something of where the evidence of this very "
        "patient lies. Whether it decides says the exchange of regions.",
        "",
    ),
    ("heatmaps_and_masks", "any patient"): (
        _ENERGY + "a difference of {more:points}. So they know no more of this patient's masks "
        "than of other patients': do not take where they glow for a finding in this patient.",
        "",
    ),
    ("heatmaps_and_weights", "stay"): (
        _SHUFFLED + "They hardly change: they show the image and not what was learned. Do not read "
        "them.",
        "",
    ),
    ("heatmaps_and_weights", "change"): (
        _SHUFFLED + "No more is left of them than chance: what they show was learned.",
        "",
    ),
    ("heatmaps_and_weights", "partly"): (
        _SHUFFLED + "Part of them is left: that part shows the image and not what was learned.",
        "",
    ),
    ("heatmaps_not_measured", "no maps"): (
        "Heatmaps were not tested, nor searched for a minority that is decided in another way: "
        "this model has none that is read inside the network (kNN, RBF, VLAD and the like have "
        "not), and covering each image piece by piece would take too long.",
        "",
    ),
    ("heatmaps_not_measured", "several networks"): (
        "Whether the heatmaps depend on what was learned was not tested: this model joins several "
        "networks, inputs or layers without places, of which no single map is read.",
        "",
    ),
    ("heatmaps_not_measured", "masks failed"): (
        "Heatmaps were not held against masks: {error}.",
        "",
    ),
    ("heatmaps_not_measured", "shuffle failed"): ("Weights were not shuffled: {error}.", ""),
    ("minority_strategy", ""): (
        "Of {n} images that are called {class}, {images} have heatmaps of another kind than the "
        "rest: {share:100} % of their energy lies in {region}, of the others' "
        "{share_of_others:100} %. They may be called so for another reason.",
        "Look at these images for what they share and the others of the class do not.",
    ),
    ("strategies", "too few"): (
        "Nothing can be said of a minority that is decided in another way: that takes {limit:g} "
        "images called the same class with a heatmap, of as many patients.",
        "",
    ),
    ("strategies", "none apart"): (
        "In no class do the heatmaps of some images stand clearly apart from those of the others, "
        "as they would if at least {limit:g} were decided by something else: {counts}.",
        "",
    ),
}


def sentence(finding: AuditFinding) -> str:
    """What was found."""
    text, _ = WORDS[finding.check, finding.reason]
    return _Formatter().vformat(text, (), _values(finding))


def remedy(finding: AuditFinding) -> str:
    """What to do about it; '' where there is nothing to do."""
    _, text = WORDS[finding.check, finding.reason]
    return text


def verdict_sentence(audit: AuditResult) -> str:
    """The verdict in a sentence or two, for a card."""
    grave = gravest_first(audit.findings)
    least = formatting.in_100(audit.smallest_effect)
    seen = f"An effect on {least} in 100 labels would have been seen."
    if audit.verdict == "PASS":
        return f"No region that should not decide does. {seen}"
    if not grave or (audit.verdict == "INCONCLUSIVE" and grave[0].severity == "info"):
        power = next((f.numbers for f in audit.findings if f.check == "power"), None)
        wanted = (
            f" About {power['images_a_class']} patients of each class would do." if power else ""
        )
        return f"No region was found to decide, but too little was visible. {seen}{wanted}"
    first = grave[0]
    if first.check != DECIDES:
        return formatting.sentence(sentence(first))
    value, low, high = (100 * float(first.numbers[name]) for name in ("effect", "low", "high"))
    region = formatting.capitalised(the(str(first.numbers["region"])))
    more = sum(one.check == DECIDES for one in grave) - 1
    many = formatting.plural(more, "further region decides", "further regions decide")
    return (
        f"{region} decides: it turns {value:.0f} in 100 labels "
        f"({low:.0f} to {high:.0f}). {DECLARED if first.reason == 'declared' else SUSPECT}"
    ) + (f" {many}." if more else "")


def the(region: str) -> str:
    """A region's name in a sentence.

    >>> the("outside the masks"), the("top left corner, moved")
    ('what is outside the masks', 'the top left corner (moved)')
    """
    if region == EVIDENCE:
        return region
    if region in (INSIDE, OUTSIDE):
        return f"what is {region}"
    return f"the {region.replace(MOVED, ' (moved)')}"


# --------------------------------------------------------------------------- what words name


def _values(finding: AuditFinding) -> dict[str, Any]:
    """What the words of a finding may name."""
    region = the(str(finding.numbers.get("region", "")))
    inside = finding.numbers.get("region") == INSIDE
    names = ", ".join(finding.names)
    fewest = [f"{n:,} usable images of class {name}" for name, n in finding.counts.items()]
    return {
        **finding.numbers,
        **finding.estimates,
        "estimates": finding.estimates,
        "region": region,
        "Region": formatting.capitalised(region),
        "names": names,
        "shown_most_by": f" (shown most by {names})" if names else "",
        "evidence": "what is inside the masks" if inside else "everything that was not declared",
        "counts": ", ".join(f"{name} ({n})" for name, n in finding.counts.items()),
        "fewest_of": ", ".join(fewest),
        "limit": finding.limit,
        "error": finding.error,
    }


class _Formatter(string.Formatter):
    """Formats with specs of its own: `100` is a share as a whole number of 100, `in 100` the same
    rounded up; of an `Estimate` with its interval, and then `%` and `points` too.
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Mapping):
            each = value.items()
            return "; ".join(f"{name} {self.format_field(one, format_spec)}" for name, one in each)
        if isinstance(value, Estimate):
            digits, unit = {"%": ("100", " %"), "points": ("100.1", " points")}.get(
                format_spec, (format_spec, "")
            )
            middle, low, high = (
                self.format_field(one, digits) for one in (value.value, value.low, value.high)
            )
            return f"{middle}{unit} ({low} to {high})"
        if format_spec == "in 100":
            return formatting.in_100(value)
        if format_spec.startswith("100"):
            return f"{100 * value:{format_spec.removeprefix('100') or '.0'}f}"
        return format(value, format_spec)
