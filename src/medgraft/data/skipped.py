"""When so many images could not be used that a person should hear of it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from medgraft.types import Finding, Skipped

MANY = 1 / 20  # of all images
MANY_OF_CLASS = 1 / 10  # of the images of one class
NAMED = 3  # in a sentence


def warn_of_skipped(
    skipped: Sequence[Skipped], before: Mapping[str, int], after: Mapping[str, int]
) -> list[Finding]:
    """A warning where more than 1 image in 20, or 1 in 10 of a class, could not be used.

    before, after : images by class, '' for those without a label.
    """
    total = sum(before.values())
    lost = total - sum(after.values())
    shrunk = {
        name: n - after.get(name, 0)
        for name, n in before.items()
        if name and n - after.get(name, 0) > MANY_OF_CLASS * n
    }
    if lost <= MANY * total and not shrunk:
        return []
    reasons = Counter(one.reason for one in skipped).most_common(3)
    why = "; ".join(f"{n:,}: {reason}" for reason, n in reasons)
    of_classes = ", ".join(f"{n:,} of {before[name]:,} {name}" for name, n in shrunk.items())
    return [
        Finding(
            "many_skipped",
            "warn",
            f"{lost:,} of {total:,} images could not be used"
            + (f", {of_classes}" if of_classes else "")
            + f" ({why}).",
            {"skipped": lost, "images": total},
            tuple(one.source for one in skipped[:12]),
            "Look at the first of them: a whole kind of images may be missing from the study.",
        )
    ]


def name_skipped(skipped: Sequence[Skipped]) -> list[Finding]:
    """The images that were left out of a count that was given before, by name."""
    named = "; ".join(f"{one.source} ({one.reason})" for one in skipped[:NAMED])
    more = f" and {len(skipped) - NAMED:,} more" if len(skipped) > NAMED else ""
    images = "1 image" if len(skipped) == 1 else f"{len(skipped):,} images"
    return [
        Finding(
            "unreadable",
            "info",
            f"{images} cannot be read and {'is' if len(skipped) == 1 else 'are'} left out: "
            f"{named}{more}.",
            {"n": len(skipped)},
            tuple(one.source for one in skipped[:12]),
        )
    ]
