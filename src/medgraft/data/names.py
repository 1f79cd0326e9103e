"""What the names of folders and files usually mean: splits, masks, parts, patients, classes.

Only words stand here; what follows from them where is decided by the readers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

from medgraft.types import Split


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tests": "test",
    "holdout": "test",
    "pred": "test",
    "predict": "test",
    "prediction": "test",
}
# Said by a whole level only, of which one is the training part: `tr` alone may be anything.
SHORT_SPLITS: Mapping[str, Split] = {
    "tr": "train",
    "trn": "train",
    "va": "val",
    "vl": "val",
    "te": "test",
    "ts": "test",
    "tst": "test",
}
_JOINED = ("set", "sets", "data", "dataset", "images", "imgs", "img", "split", "folder")
NEGATIVE = _set(
    """
    normal normals benign healthy negative negatives neg control controls uninfected
    nondemented noncovid nonfractured unaffected uninvolved nonmalignant noncancer
    noncancerous nodr nontumor notumor nofinding nofindings nodisease nv nevus nevi naevus naevi
    """
)  # as words, small letters
_NOT = frozenset({"no", "non", "not", "without", "none"})
_POSITIVE = _set(
    """
    positive positives pos malignant abnormal cancer tumor tumour disease diseased infected
    ill sick yes covid pneumonia fractured fracture demented
    """
)
_MASKS = _set(
    """
    mask masks segmentation segmentations seg segs groundtruth groundtruths gt annotation
    annotations anno label labels manual contour contours roi rois
    """
)
_OF_MASKS = _set(
    """
    lung lungs infection lesion lesions liver polyp polyps tumor tumour organ binary png bmp
    tif tiff jpg image images img folder data ground truth left right the of all pixel pixels
    level 1st 2nd 1 2 3 st nd task part heart brain nuclei cell cells vessel vessels expert
    """
)  # what may stand beside the word in a folder's name
_PARTS = _set(
    """
    fold folds part parts batch set subset chunk section volume group site center centre
    hospital scanner device left right l r od os cc mlo pa ap lat lateral frontal axial
    coronal sagittal view views magnification mag x 40x 100x 200x 400x zoom level session
    visit date year month male female men women m f
    """
)
_PATIENTS = _set(
    """
    patient pat pt p subject subj sub person case id pid uid sid study exam slide specimen
    animal mouse participant volunteer
    """
)
_NUMBERED_CLASSES = _set(
    """
    class classes c grade stage type level category cat label birads bi rads score cluster
    severity group degree dr k kl isup gleason
    """
)
_EMPTY = _set(
    """
    image images img imgs picture pictures pics photo photos data dataset all
    """
)
_ABOUT = _set(
    """
    doc docs documentation documents figure figures fig figs plot plots result results output
    outputs log logs readme notebook notebooks asset assets src code script scripts screenshot
    screenshots paper papers report reports thumbnail thumbnails thumbs
    """
)
# What other programs leave lying about, and our own results; nothing of it is anyone's data.
_DROPPINGS = _set(
    """
    __macosx thumbs.db desktop.ini @eadir $recycle.bin lost+found __pycache__ .ds_store
    #recycle @recycle #snapshot @recently-snapshot recycler found.000
    """
) | {"system volume information"}


@lru_cache(maxsize=65536)
def words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, in small letters.

    >>> words("Training_Set2"), words("COVIDNeg-01"), words("XR_ELBOW")
    (('training', 'set', '2'), ('covid', 'neg', '01'), ('xr', 'elbow'))
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+|\d+", name)
    return tuple(part.casefold() for part in parts)


@lru_cache(maxsize=65536)
def split_of(name: str) -> Split:
    """The split that a folder's name or a table's cell says, '' where it says none, or two.

    >>> [split_of(name) for name in ("Training Set", "seg_test", "valdata", "latest", "trainval")]
    ['train', 'test', 'val', '', '']
    """
    said = {SPLIT_NAMES[w] for word in words(name) if (w := _without_tail(word)) in SPLIT_NAMES}
    return said.pop() if len(said) == 1 else ""


def says_only_split(text: str) -> Split:
    """The split that a text says and nothing else with it, '' where it says more or none.

    >>> [says_only_split(cell) for cell in ("Train set", "test images", "test positive", "set")]
    ['train', 'test', '', '']
    """
    only = all(_without_tail(w) in SPLIT_NAMES or w in _JOINED for w in words(text))
    return split_of(text) if only else ""


def short_split_of(name: str) -> Split:
    """The split that a folder's name says, be it by an abbreviation.

    >>> [short_split_of(name) for name in ("imagesTr", "ts", "test", "tra")]
    ['train', 'test', 'test', '']
    """
    said = words(name)
    return split_of(name) or (SHORT_SPLITS.get(said[-1], "") if said else "")


def _without_tail(word: str) -> str:
    """`trainset` and `testdata` are train and test."""
    for tail in _JOINED:
        if word.endswith(tail) and word.removesuffix(tail) in SPLIT_NAMES:
            return word.removesuffix(tail)
    return word


def is_dropping(name: str) -> bool:
    """Whether a file or folder is left behind by a program: hidden, a thumbnail, a run of ours."""
    small = name.casefold()
    return name.startswith(".") or small in _DROPPINGS or small.startswith("medgraft-")


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that masks lie in it, and says little else.

    >>> is_mask_folder("Lung Masks"), is_mask_folder("Dataset_with_GT"), is_mask_folder("seg_train")
    (True, False, False)
    """
    said = words(name)
    joined = "".join(said)
    masks = [word for word in said if word in _MASKS] or joined in _MASKS
    others = [word for word in said if word not in _MASKS and word not in _OF_MASKS]
    return (bool(masks) and not others) or ({"ground", "truth"} <= set(said) and not others)


_MASK = r"(?:mask|masks|segmentation|seg|gt|ground[_ -]?truth|annotations?|anno|labels?|manual\d?)"
_MASK_WORD = re.compile(rf"(?i){_MASK}")
_MASK_AFTER = (
    re.compile(rf"(?i)(.+)[ _.-]+{_MASK}(?:[ _.-]?\(?\d*\)?)"),
    re.compile(rf"(?i)(.+?)[ _.-]+(?:[A-Za-z]+[ _-])?{_MASK}(?:[ _.-]?\(?\d*\)?)"),
)
_MASK_BEFORE = re.compile(rf"(?i){_MASK}([ _.-]*)(.+)")
_IMAGE_ALONE = (
    "image",
    "img",
    "im",
    "original",
    "orig",
    "raw",
    "scan",
    "photo",
    "picture",
    "slice",
)


@lru_cache(maxsize=1 << 17)
def image_of_mask(stem: str) -> tuple[str, ...]:
    """The stems that the image of a mask may have, by the mask's own; () where it is none by name.

    >>> image_of_mask("benign (1)_mask_1"), image_of_mask("mask-07")
    (('benign (1)',), ('07', 'img-07', 'image-07', 'im-07', 'case-07'))
    >>> image_of_mask("ISIC_0000003_Segmentation"), image_of_mask("unmasked")
    (('ISIC_0000003',), ())
    >>> image_of_mask("mask")[:2]
    ('image', 'img')
    """
    if not _MASK_WORD.search(stem):
        return ()
    if _MASK_WORD.fullmatch(stem):
        return _IMAGE_ALONE
    after = [match[1] for pattern in _MASK_AFTER if (match := pattern.fullmatch(stem))]
    if after:
        return tuple(dict.fromkeys(after))
    head = _MASK_BEFORE.fullmatch(stem)
    if not head or not (head[1] or head[2][0].isdigit()):
        return ()
    return head[2], *(f"{kind}{head[1]}{head[2]}" for kind in ("img", "image", "im", "case"))


def is_negative(name: str) -> bool:
    """Whether a class is the one in which nothing was found: normal, uninfected, without_polyp.

    >>> [is_negative(n) for n in ("NORMAL", "CT_NonCOVID", "not fractured", "abnormal", "nodule")]
    [True, True, True, False, False]
    """
    said = words(name)
    joined = {a + b for a, b in pairwise(said)}
    return bool(NEGATIVE.intersection(said) or NEGATIVE & joined or _NOT.intersection(said))


def says_class(name: str) -> bool:
    """Whether a name is one that classes have (and patients, parts and splits do not)."""
    return is_negative(name) or bool(_POSITIVE.intersection(words(name)))


def says_part(name: str) -> bool:
    """Whether a name is that of a part of the data: fold 3, left, 40X, site A, 2019-05."""
    said = words(name)
    if re.fullmatch(r"(?:19|20)\d\d(?:[-_.]?[01]\d(?:[-_.]?[0-3]\d)?)?", name):
        return True
    named = [word for word in said if word in _PARTS]
    others = [w for w in said if w not in _PARTS and not w.isdecimal() and w not in _EMPTY]
    return bool(named) and all(len(word) == 1 for word in others)


def says_patient(name: str) -> bool:
    """Whether a name is a patient's or the like by its word: patient_07, P012, case3."""
    said = words(name)
    return len(said) >= 2 and said[0] in _PATIENTS and any(word.isdecimal() for word in said[1:])


def says_nothing(name: str) -> bool:
    """Whether a folder's name only says that images are in it."""
    return all(word in _EMPTY for word in words(name))


def is_about_data(name: str) -> bool:
    """Whether a folder's name says that what lies in it is about the data: docs, figures."""
    return bool(words(name)) and all(word in _ABOUT for word in words(name))


def is_no_class(name: str) -> bool:
    """Whether a lone folder is no class by its name: images, train_data, part_1, CXR_png.

    >>> [is_no_class(name) for name in ("images_part_1", "train", "CXR_png", "NORMAL")]
    [True, True, True, False]
    """
    said = words(name)
    kinds = {"png", "jpg", "jpeg", "tif", "tiff", "bmp", "dicom", "dcm"}
    nothing = kinds | _EMPTY | {"part", "fold", "batch", "chunk", "subset"}
    return bool(split_of(name) or nothing & set(said)) or says_part(name)


def is_numbered_class(name: str) -> bool:
    """Whether a name is a class's number: 3, grade2, class_0 (and not 007 or 12345)."""
    said = words(name)
    if len(said) == 1:
        return said[0].isdecimal() and (said[0] == "0" or said[0][0] != "0") and len(said[0]) < 4
    return set(said[:-1]) <= _NUMBERED_CLASSES and said[-1].isdecimal() and len(said[-1]) < 3


@lru_cache(maxsize=1 << 18)
def stem_of(file: str) -> str:
    """A file's name without its suffix, and without the second one of `.nii.gz`."""
    name = file.rsplit("/", 1)[-1]
    return name[: len(name) - len(kind_of(name))]


_SUFFIX = re.compile(r"((?:\.[A-Za-z]\w{0,5})?\.(?:gz|bz2|xz|zip)|\.[A-Za-z]\w{0,7})$")


@lru_cache(maxsize=1 << 18)
def kind_of(file: str) -> str:
    """The suffix in small letters; of two where the last one only says that it is packed.

    A suffix is short and has a letter: `1.2.840.99.1` has none.

    >>> kind_of("a/b.nii.gz"), kind_of("SCAN.DCM"), kind_of("1.2.840.113.1")
    ('.nii.gz', '.dcm', '')
    """
    name = file.rsplit("/", 1)[-1]
    match = _SUFFIX.search(name)
    return match[1].lower() if match and match.start() else ""


def as_seen(text: str) -> str:
    """A text as the eye sees it: letters in one piece, nothing invisible, single blanks.

    >>> as_seen("be\u0301nin  x") == "b\u00e9nin x"
    True
    """
    whole = unicodedata.normalize("NFC", text)
    return " ".join("".join(c for c in whole if unicodedata.category(c) != "Cf").split())
