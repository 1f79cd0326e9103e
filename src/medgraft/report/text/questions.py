"""What a study asked of its data, in words."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.types import Question, Way


def sentence(one: Question) -> str:
    """The question: whether a way helps where it was asked about, or a family anywhere."""
    way = one.way
    if way.kind == "family":
        words = formatting.FAMILY_WORDS.get(way.family, way.family)
        return f"Is the best of {way.family} ({words}) better than the best probe?"
    place = f"{one.tap} of {one.backbone}" if one.backbone else one.tap
    return f"{_asked(way)} ({place}, {one.head})?"


def _asked(way: Way) -> str:
    edits = " and ".join(map(formatting.name_edit, way.edits))
    sizes = " and ".join(map(str, way.sizes))
    match way.kind:
        case "instead":
            return f"Does {edits} help instead of the raw image"
        case "beside":
            return f"Does {edits} help beside the raw image"
        case "averaged":
            return f"Does it help to average raw and {edits} probabilities"
        case "views":
            return f"Do augmented views ({way.views}) help"
        case "sizes" if len(way.sizes) == 1:
            return f"Does an input of {sizes} pixels help"
        case _:
            how = "averaged" if way.join == "mean" else "side by side"
            return f"Do codes at {sizes} pixels, {how}, help"
