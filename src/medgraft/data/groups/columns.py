"""Columns of a table that say which images belong together, whatever they are called.

A column is known by its name (`PatientID`, `lesion_id`, `MRN`) or by its values, which repeat as
patients do. What a name rules out (`age`, `site`, `dx_type`) is never taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from medgraft.data.groups.keys import (
    FEW,
    LARGEST,
    MANY,
    MIN_FIT,
    Candidate,
    Repeats,
    coded,
    dates,
    digits_in,
    id_like,
    known,
    numbered,
    repeats,
)
from medgraft.types import Strings

PERSON, THING, ANYTHING = 0, 1, 2  # the ranks of columns
ARM = "group"  # a column that may hold patients, and the arms of a trial as well
PERSONS = (
    "patient", "subject", "participant", "person", "individual", "donor", "volunteer", "proband",
    "animal", "mouse", "medicalrecord", "hospitalnumber", "healthid", "patid", "subjid", "ptid",
)  # fmt: skip
PERSON_NAMES = {"pid", "mrn", "eid", "pat", "pt", "subj", "sub", "ptno", "nhs", "cprnr", "group"}
THINGS = (
    "lesion", "study", "slide", "examination", "exam", "case", "specimen", "sample", "tumour",
    "tumor", "nodule", "accession", "encounter", "admission", "video", "biopsy", "wsi", "block",
    "volume", "series", "session", "visit", "scan", "eye", "sequence", "acquisition",
)  # fmt: skip
# What may stand beside such a word, so that the column is a key and not a property.
NAMING = (
    "identifier", "identity", "identification", "anonymized", "anonymised", "pseudonymized",
    "pseudonym", "original", "deidentified", "encrypted", "instance", "number", "index", "digest",
    "dicom", "hashed", "anon", "code", "name", "hash", "uuid", "guid", "the", "new", "num", "uid",
    "ids", "key", "nr", "no", "id", "of", "s", "n",
)  # fmt: skip
# Words that make a column a property of the image, of the subject, or of how both were made.
PROPERTIES = {
    "age", "sex", "gender", "race", "ethnicity", "birth", "weight", "height", "width", "bmi",
    "date", "time", "year", "month", "day", "size", "rows", "columns", "cols", "bytes", "pixel",
    "pixels", "spacing", "depth", "bits", "mode", "modality", "view", "position", "side",
    "laterality", "orientation", "location", "localization", "localisation", "anatomy", "organ",
    "site", "center", "centre", "hospital", "clinic", "institution", "institute", "department",
    "ward", "city", "country", "region", "zip", "postcode", "device", "scanner", "machine",
    "camera", "manufacturer", "model", "operator", "reader", "rater", "radiologist", "doctor",
    "physician", "annotator", "pathologist", "batch", "fold", "part", "split", "set", "subset",
    "source", "dataset", "version", "license", "licence", "label", "class", "target", "type",
    "subtype", "species", "morphology",
    "kind", "grade", "stage", "birads", "bi", "density", "finding", "findings", "diagnosis", "dx",
    "disease", "condition", "status", "outcome", "comment", "comments", "note", "notes", "text",
    "report", "description", "quality", "score", "probability", "confidence", "count", "ratio",
    "mean", "std", "x", "y", "w", "h", "left", "top", "right", "bottom", "area", "angle", "kvp",
    "magnification", "stain", "exposure", "url", "link", "md5", "sha1", "sha256", "image", "img",
    "images", "file", "filename", "path", "sop", "isic", "frame", "slice", "row", "photo",
    "picture", "unnamed", "benign", "malignant", "smoker", "history", "treatment", "followup",
    "follow", "duration", "dose", "thickness", "contrast", "tags", "tag", "color", "colour",
}  # fmt: skip


def rank_of(column: str) -> int | None:
    """What a column's name says: persons, things such as lesions, anything, or (None) a property.

    Examples
    --------
    >>> [rank_of(name) for name in ("PatientID", "patientid", "MRN", "lesion_id", "slideNo")]
    [0, 0, 0, 1, 1]
    >>> [rank_of(name) for name in ("PatientAge", "dx_type", "StudyDate", "Pat. Nr.", "hasta")]
    [None, None, None, 0, 2]
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", column)
    words = re.findall(r"[a-z]+", spaced.lower())
    joined = "".join(words)
    if joined in PERSON_NAMES or _without_naming(words) in PERSON_NAMES:
        return PERSON
    for rank, entities in ((PERSON, PERSONS), (THING, THINGS)):
        for entity in entities:
            rest = joined.replace(entity, " ", 1)
            if entity in joined and _is_naming(rest):
                return rank
            if entity in joined and rest.strip() in PROPERTIES:
                return None
    return None if PROPERTIES.intersection(words) or joined in PROPERTIES else ANYTHING


def _without_naming(words: list[str]) -> str:
    return "".join(word for word in words if word not in NAMING)


def _is_naming(rest: str) -> bool:
    """Whether what surrounds the word for a person or thing only says that it is a key."""
    for word in NAMING:
        rest = rest.replace(word, " ")
    return not rest.strip()


def column_candidates(metadata: Mapping[str, Strings], class_names: Strings) -> list[Candidate]:
    """The columns that name patients, lesions and the like, the sure and the merely possible.

    metadata : columns (n,) of the user's table. class_names : (n,), '' where unknown.
    """
    found = []
    persons = [
        name for name in metadata if rank_of(name) == PERSON and name.strip().casefold() != ARM
    ]
    for name, values in metadata.items():
        rank, keys = rank_of(name), known(values)
        if rank is None or not keys.any():
            continue
        repeating = repeats(keys, class_names)
        few = repeating.n_keys < FEW and repeating.median >= MANY
        if name.strip().casefold() == ARM and (persons or few):
            rank = ANYTHING  # the arm of a trial, perhaps
        judged = _judged(rank, np.unique(keys[keys != ""]).tolist(), repeating)
        if judged is not None:
            why = "its values repeat as patients do" if rank == ANYTHING else "of its name"
            if not repeating.n_repeated:
                rank = ANYTHING  # a number of the image, perhaps; names may know better
            found.append(Candidate(name, keys, f"by column '{name}'", "column", judged, rank, why))
    return found


def named_once(metadata: Mapping[str, Strings]) -> tuple[str, ...]:
    """The columns named like a person's or a thing's whose every value names one image."""
    once = []
    for name, values in metadata.items():
        keys = known(values)
        keys = keys[keys != ""]
        if rank_of(name) in (PERSON, THING) and len(keys) and len(np.unique(keys)) == len(keys):
            once.append(name)
    return tuple(once)


def _judged(rank: int, unique: list[str], found: Repeats) -> bool | None:
    """Whether to use a column unasked (True), to ask about it (False), or neither (None)."""
    if found.n_keys < 2 or (rank != PERSON and dates(unique)):
        return None  # the number of a patient may begin with a year
    if rank == PERSON:
        # the arm of a study, or the label itself
        if found.labels and found.n_keys <= found.n_classes and found.n_repeated:
            return None
        if found.n_repeated == 0:
            return True  # every image is known to be of a person of its own
        return not (found.one_each and numbered(unique))
    if not found.n_repeated or found.labels or found.covered < MIN_FIT:
        return None if rank == ANYTHING or not found.n_repeated or found.labels else False
    measured = any(re.fullmatch(r"-?\d*\.(?!0+$)\d+", key) for key in unique)
    spoken = any(len(key.split()) > 4 for key in unique)
    if measured or spoken:
        return None
    small = found.n_keys >= MANY and found.median <= MANY and found.largest <= LARGEST
    like_patients = found.n_repeated >= FEW and found.leaves_two and not found.one_each
    if rank == THING:
        if found.n_keys < FEW and not id_like(unique):
            return None
        kept = small or (id_like(unique) and found.largest <= LARGEST)
        return like_patients and kept and (coded(unique) or found.pure or found.n_keys >= 2 * MANY)
    kinds = not digits_in(unique) and found.n_keys < 2 * MANY  # words, as of finer classes
    if not small or kinds or not found.leaves_two or not (found.pure or id_like(unique)):
        return None
    return like_patients and found.pure and coded(unique)
