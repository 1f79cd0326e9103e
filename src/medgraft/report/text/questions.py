"""What a study asked of its data, in words."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.results.recommendation import Question, Variation


def sentence(one: Question) -> str:
    """The question: whether a variation helps where it was asked about, or a family anywhere."""
    variation = one.variation
    if variation.kind == "family":
        words = formatting.FAMILY_WORDS.get(variation.family, variation.family)
        return f"Is the best of {variation.family} ({words}) better than the best probe?"
    if variation.kind == "network":
        several = len(variation.networks) > 1
        named = formatting.join(variation.networks)
        what = f"Are {named} joined" if several else f"Is the best probe of {named}"
        return f"{what} better than the best probe of {one.backbone}?"
    place = f"{one.tap} of {one.backbone}" if one.backbone else one.tap
    return f"{_asked(variation)} ({place}, {one.head})?"


def _asked(variation: Variation) -> str:
    edits = " and ".join(map(formatting.name_edit, variation.edits))
    sizes = " and ".join(map(str, variation.sizes))
    match variation.kind:
        case "instead":
            return f"Does {edits} help instead of the raw image"
        case "beside":
            return f"Does {edits} help beside the raw image"
        case "averaged":
            return f"Does it help to average raw and {edits} probabilities"
        case "views":
            return f"Do augmented views ({variation.views}) help"
        case "sizes" if len(variation.sizes) == 1:
            return f"Does an input of {sizes} pixels help"
        case _:
            how = "averaged" if variation.join == "mean" else "side by side"
            return f"Do codes at {sizes} pixels, {how}, help"
