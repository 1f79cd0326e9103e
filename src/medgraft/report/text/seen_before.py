"""What is said where a classifier meets images again that it learned from."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.types import SeenBefore

NO_TRACES = (
    "This model keeps no traces of the images it learned from (it is of an earlier version, or was "
    "saved from Python)"
)


def is_doubtful(seen: SeenBefore) -> bool:
    """Whether there is something to warn of."""
    by_name = seen.same_file is None and seen.same_name
    return bool(seen.certain or by_name or seen.same_patient)


def of_evaluation(seen: SeenBefore) -> str:
    """What was left out of an evaluation, and what cannot be known."""
    return " ".join(filter(None, (_images(seen), _patients(seen))))


def of_audit(seen: SeenBefore) -> str:
    """What to hold against an audit; '' where there is nothing."""
    if seen.certain:
        met = f"The model learned from {_of(seen.certain, seen.n)}"
    elif seen.same_file is None and seen.same_name:
        met = f"{_named(seen.same_name, seen.n)}. If they are the same"
    else:
        return ""
    return f"{met}; audit it on others, for of images it knows by heart it may decide otherwise."


def left_out(seen: SeenBefore) -> str:
    """How many images were left out because they were learned from; '' where none were."""
    return f"Left out: the model learned from {_of(seen.certain, seen.n)}." if seen.certain else ""


def _images(seen: SeenBefore) -> str:
    if seen.same_file is None:
        return _without_traces(seen)
    if not seen.certain:
        return (
            "None of these images is one that the model learned from, neither as a file nor stored "
            "anew."
        )
    return (
        f"The model learned from {_of(seen.certain, seen.n)} ({formatting.count(seen.same_file)} "
        f"known by their bytes, {formatting.count(seen.same_picture or 0)} by what they show). "
        "They are left out of these figures, which they would flatter."
    )


def _without_traces(seen: SeenBefore) -> str:
    if seen.same_name:
        return (
            f"{_named(seen.same_name, seen.n)}. If they are the same images, these figures flatter "
            f"it; leave them out and judge again. {NO_TRACES}, so copies under other names would "
            "not be noticed."
        )
    if seen.same_name == 0:
        return (
            "None of these images bears the name of one the model learned from. "
            f"{NO_TRACES}, so copies under other names would not be noticed."
        )
    return (
        f"{NO_TRACES}, and they are not listed beside it, so whether any of them is among these "
        "cannot be known. If some are, these figures flatter it."
    )


def _patients(seen: SeenBefore) -> str:
    if seen.same_patient is None and seen.same_file is not None:
        return "Whether it learned from other images of these patients is not known."
    if not seen.same_patient:
        return ""
    verb = "is" if seen.same_patient == 1 else "are"
    return (
        f"{formatting.plural(seen.same_patient, 'other image')} {verb} of a patient or group whose "
        "name it learned from. If these are the same people, the figures flatter it too."
    )


def _of(some: int, n: int) -> str:
    return f"{formatting.count(some)} of the {formatting.plural(n, 'image')}"


def _named(some: int, n: int) -> str:
    verb = "bears" if some == 1 else "bear"
    return f"{_of(some, n)} {verb} the name of an image the model learned from"
