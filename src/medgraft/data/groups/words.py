"""Words in names of files and folders: what tells a patient, what varies within one, what neither.

`12_left.png`: `left` says which image of a patient this is, and so what stands before it is the
patient. Compared are runs of letters in lower case, without the digits that follow them.
"""

from __future__ import annotations

import re

_SIDES = "l r left right lt rt od os ou lefteye righteye"
_VIEWS = """
    cc mlo ml lm lmo xccl pa ap lat lateral frontal front back anterior posterior sag sagittal cor
    coronal ax axial tra trans transverse longitudinal long oblique dorsal ventral apical lordotic
    t w flair tce tc tgd tw pd dwi adc swi pre post macro micro clinic clinical derm dermoscopy
    dermoscopic overview closeup wide uv he hne rgb fundus oct mpr bp vp
"""
_SEQUENCE = """
    slice slices slc sl z frame frames frm fr visit vis v session sess ses tp timepoint time day
    week month baseline followup fu mr scan run rep echo acq series ser se img im image images pic
    photo shot view plane patch tile crop roi cell spot region field fov seq study exam lesion les
    nodule section sec level idx of f s d e n no num nr index page phase layer stack mag hpf core
"""
_PLACES = "x y row col xy h i j k"
_COPIES = """
    rot rotate rotated rotation flip flipped hflip vflip fliplr flipud mirror mirrored aug augmented
    augment zoom zoomed shift shifted shear sheared bright brightness dark darker brighter contrast
    gamma noise noisy blur blurred jitter clahe equalized orig original copy kopie duplicate dup
    elastic affine translate translated scale scaled color colour hue sat deg degrees
"""
SPOKEN = frozenset(f"{_SIDES} {_VIEWS} {_SEQUENCE} {_PLACES} {_COPIES}".split())
# Folders of these names, or with a word of two letters or more of these, hold other images of the
# same patients.
_FOLDERS = "t1 t2 t1w t2w visit baseline followup timepoint original augmented slice"
VIEW_FOLDERS = frozenset(f"{_SIDES} {_VIEWS} {_FOLDERS}".split())

_PATIENTS = """
    patient patients pat pt subject subj sub case person participant volunteer donor individual
    mouse animal dog cat rat pig child infant fetus baby proband p s video vid clip slide wsi
    specimen sample biopsy study exam lesion tumor tumour nodule eye volume vol series scan ct mri
"""
PATIENTS = frozenset(_PATIENTS.split())
# What is numbered by such a word is neither a patient nor, but for the last, an image of one.
_OTHERS = """
    fold part batch set split train training val valid validation test testing site center centre
    hospital clinic camera cam scanner device machine version ver grade stage class cls type
    cluster magnification mag year dataset data dir folder subset shard chunk archive round phase
    week day month session ses visit slice view plane x
"""
_IMAGES = "img image images im frame fig figure page"
NUMBERED_OTHERWISE = frozenset(_OTHERS.split())
OTHERS = NUMBERED_OTHERWISE | frozenset(_IMAGES.split())
COPIES = frozenset(_COPIES.split())

_RUNS = re.compile(r"[a-z]+|\d+")


def runs(text: str) -> list[str]:
    """The runs of letters and of digits.

    >>> runs("_MR1_mpr-1_x51")
    ['mr', '1', 'mpr', '1', 'x', '51']
    """
    return _RUNS.findall(text.lower())
