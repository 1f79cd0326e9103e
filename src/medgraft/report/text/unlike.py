"""What is unlike anything learned from, in words."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.results.figures import UnlikeFigures

PATIENT = "sensitivity"  # a share of patients is written as this is


def sentence(found: UnlikeFigures, where: str) -> str:
    """What is called unlike, how often that is a false alarm, and how many of some images are."""
    one_in = f"{formatting.nominal(found.rate)} of patients"
    if not found.known:
        return (
            "No image is called unlike anything learned from: that takes more patients to learn "
            f"from, where {one_in} may be called so by mistake."
        )
    patients = found.patients
    text = (
        "An image that lies too far from all those learned from is called unlike anything learned "
        f"from: do not trust its label. By mistake {one_in} like those learned from have such an "
        f"image. Of {where} {formatting.count(found.images)} of "
        f"{formatting.count(found.n)} are, from {formatting.percent(patients.value)} "
        f"({formatting.interval(PATIENT, patients)}) of patients or groups"
    )
    if patients.low > found.rate:
        return f"{text}: more than by mistake, so they are not all like those learned from."
    return f"{text}, which is not surely more than by mistake."
