"""How far the images are from ImageNet, and beside which known sets that is, in a sentence."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.results.recommendation import KnownSet, Similarity

REASONS = {
    "one image": "one image does not tell how far images like it are",
    "one group": "images of one patient or group do not tell how far others are",
    "other weights": "the default network has other weights here than those that are measured with",
}


def sentence(found: Similarity | None) -> str:
    """The place among known sets, with the distance; '' where nothing was measured."""
    if found is None:
        return ""
    if found.distance is None:
        return f"Similarity to ImageNet: {REASONS[found.reason]}."
    nearer, as_far, farther = found.place
    known = (*nearer, *as_far, *farther)
    low, high = (f"{end:.3f}" for end in (found.distance.low, found.distance.high))
    figures = f"{found.distance.value:.3f}, 95 % interval {low} to {high}, on "
    figures += formatting.images_of_groups(found.n_images, found.n_groups)
    if known:
        ends = dict.fromkeys((known[0], known[-1]))
        figures += "; " + ", ".join(f"{one.shows} {one.distance:.3f}" for one in ends)
    if len(as_far) > max(1, len(known) // 2):
        return (
            f"{formatting.plural(found.n_images, 'image is', 'images are')} too few to place yours "
            f"between ImageNet and other known sets (distance {figures})."
        )
    return f"Your images are {_place(nearer, as_far, farther)} (distance {figures})."


def _place(
    nearer: tuple[KnownSet, ...], as_far: tuple[KnownSet, ...], farther: tuple[KnownSet, ...]
) -> str:
    """Where that is among the known sets."""
    if as_far:
        return f"about as far from ImageNet as {formatting.join([k.shows for k in as_far], 'or')}"
    if nearer and farther:
        return f"farther from ImageNet than {nearer[-1].shows} and nearer than {farther[0].shows}"
    if nearer:
        return f"farther from ImageNet than {nearer[-1].shows}, the farthest set measured"
    if farther:
        return f"nearer to ImageNet than {farther[0].shows}, the nearest set measured"
    return "of a distance from ImageNet that nothing was measured beside"
