"""What the names of a table's columns say: letters and digits count, capitals and marks do not."""

from __future__ import annotations

import re

_LABELS = """
label labels class classes classname classlabel classid classification diagnosis diagnoses
diagnostic diagnose dx target targets category categories finding findings findinglabel
findinglabels disease diseases pathology pathologies groundtruth gt y condition outcome labelname
imagelabel
"""
_LABEL_WORDS = """
label labels class diagnosis dx target category finding findings disease pathology histology
histopathology
"""
_ABOUT_LABELS = "type id date confirm method source code notes note by url"
_LAST = """
level grade severity malignancy malignant benignmalignant abnormal cancer tumor tumour covid covid19
pneumonia result status type subtype risk stage birads answer truth
"""
_DESCRIBING = """
age sex gender patient subject person site localization location view position projection laterality
side eye date time year width height size mode bytes modality scanner device manufacturer hospital
center centre race ethnicity smoking id index number split fold set x y path file filename url
license source note notes frontal ap pa male female left right
"""
_IMAGES = """
path filepath imagepath file filename image imagefile imagename imageid imageindex img name id
idcode
"""
LABEL_NAMES = frozenset(_LABELS.split())
LABEL_WORDS = frozenset(_LABEL_WORDS.split())
ABOUT_LABELS = frozenset(_ABOUT_LABELS.split())
LAST_NAMES = frozenset(_LAST.split())
DESCRIBING = frozenset(_DESCRIBING.split())
IMAGE_NAMES = tuple(_IMAGES.split())
MASKS = re.compile(r"mask|segment|ground.?truth|annotat|contour", re.IGNORECASE)


def plain(name: str) -> str:
    """A name by its letters and digits alone, small.

    >>> plain("Image_ID ")
    'imageid'
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def words_of(name: str) -> list[str]:
    """The words of a name, small.

    >>> words_of("patientAge_years"), words_of("Label 1")
    (['patient', 'age', 'years'], ['label'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_\d]+", spaced.lower()) if word]


def is_label_name(name: str) -> bool:
    """Whether a column of this name is a label wherever it holds classes: `dx`, `Diagnosis`."""
    return plain(name) in LABEL_NAMES


def holds_label_word(name: str) -> bool:
    """Whether a label's word is in the name, and it is not about how the label came to be.

    >>> holds_label_word("image_label"), holds_label_word("dx_type")
    (True, False)
    """
    words = words_of(name)
    return bool(LABEL_WORDS.intersection(words)) and not ABOUT_LABELS.intersection(words)


def is_last_label_name(name: str) -> bool:
    """Whether the name is a label's where no better one is there: `grade`, `level`."""
    return plain(name) in LAST_NAMES


def describes(name: str) -> bool:
    """Whether a name is that of a property of a patient or a file, which is no label by itself."""
    return bool(DESCRIBING.intersection(words_of(name)))


def image_preference(name: str) -> int:
    """How early a name comes among those that columns of images have."""
    known = plain(name)
    return IMAGE_NAMES.index(known) if known in IMAGE_NAMES else len(IMAGE_NAMES)
