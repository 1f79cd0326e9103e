"""Published data sets made small: how each is read without a flag, or the question asked.

`make results-layouts` writes docs/results/real-layouts.md. Each set has its folders, names and
tables as published and pictures that are made up; what is right was written down from the sets'
own descriptions before medgraft read them. Exit code 1: something is read otherwise, in silence.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

from medgraft.data.ingest import load_any
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.panel import ABSENT, PRESENT, UNCERTAIN, Panel
from medgraft.types import ImageTable

PAGE = Path(__file__).parents[1] / "docs" / "results" / "real-layouts.md"
SIDE = 24


@dataclass(frozen=True)
class Right:
    """What is right: the classes, the images in each split, the groups (0: each its own), the
    images with masks; where an image has several findings, of each how many images have it, have
    it not, and are uncertain. asked : a question is right, too, that has these words in it; where
    there are no classes it is the only right answer."""

    classes: tuple[str, ...] = ()
    splits: tuple[tuple[str, int], ...] = ()
    groups: int = 0
    masks: int = 0
    asked: str = ""
    findings: tuple[tuple[str, int, int, int], ...] = ()


class Folder:
    """Writes pictures and tables below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, *names: str, drawn: bool = False) -> None:
        """Write a noise picture at each path, other for each; drawn: one of two values."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(crc32(name.encode()))
            pixels = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
            if drawn:
                pixels = np.where(np.add.outer(np.arange(SIDE), np.arange(SIDE)) < 20, 255, 0)
            Image.fromarray(pixels.astype(np.uint8)).save(path)

    def copy(self, inside: str, *names: str) -> None:
        """Write the pictures of `names` once more below `inside`."""
        for name in names:
            path = self.root / inside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((self.root / name).read_bytes())

    def table(self, name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
        """Write a CSV."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([header.split(","), *rows] if header else rows)

    def text(self, name: str, text: str) -> None:
        """Write a file that is no picture."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


Make = Callable[[Folder], None]
SETS: dict[str, tuple[Make, Right]] = {}


def published(name: str, right: Right) -> Callable[[Make], Make]:
    """Enter a set under its name."""

    def enter(make: Make) -> Make:
        SETS[name] = make, right
        return make

    return enter


# --------------------------------------------------------------------------- chest


def _kermany() -> list[str]:
    names = []
    for part, n in (("train", 12), ("test", 6), ("val", 2)):
        start = {"train": 0, "test": 100, "val": 200}[part]
        names += [f"{part}/NORMAL/IM-{start + i:04d}-0001.jpeg" for i in range(n)]
        names += [
            f"{part}/PNEUMONIA/person{start + i // 2}_bacteria_{start + i}.jpeg" for i in range(n)
        ]
    return names


@published(
    "chest X-ray (Kermany 2018), doubled download",
    Right(("NORMAL", "PNEUMONIA"), (("test", 12), ("train", 24), ("val", 4)), 30),
)
def _(out: Folder) -> None:
    names = [f"chest_xray/{name}" for name in _kermany()]
    out.put(*names)
    for name in names:
        path = out.root / "chest_xray/chest_xray" / name.removeprefix("chest_xray/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((out.root / name).read_bytes())
    out.put("chest_xray/__MACOSX/train/NORMAL/._IM-0000-0001.jpeg")


@published(
    "COVID radiography (Rahman 2021)",
    Right(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"), masks=24),
)
def _(out: Folder) -> None:
    root = "COVID-19_Radiography_Dataset"
    for name in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        for i in range(6):
            out.put(f"{root}/{name}/images/{name}-{i + 1}.png")
            out.put(f"{root}/{name}/masks/{name}-{i + 1}.png", drawn=True)
    out.text(f"{root}/README.md.txt", "about")


@published(
    "COVID-QU-Ex (Tahir 2021)",
    Right(
        ("COVID-19", "Non-COVID", "Normal"), (("test", 24), ("train", 24), ("val", 24)), masks=72
    ),
)
def _(out: Folder) -> None:
    for data in ("Infection Segmentation Data", "Lung Segmentation Data"):
        for part in ("Train", "Test", "Val"):
            for name in ("COVID-19", "Non-COVID", "Normal"):
                for i in range(4):
                    base = f"{data}/{data}/{part}/{name}"
                    if data.startswith("Infection") and name == "Normal":
                        continue
                    if data.startswith("Infection"):
                        out.put(f"{base}/images/{name}_i{part}{i}.png")
                        out.put(f"{base}/infection masks/{name}_i{part}{i}.png", drawn=True)
                        out.put(f"{base}/lung masks/{name}_i{part}{i}.png", drawn=True)
                    elif name == "Normal" or i < 2:
                        out.put(f"{base}/images/{name}_l{part}{i}.png")
                        out.put(f"{base}/lung masks/{name}_l{part}{i}.png", drawn=True)
    # 8 COVID and Non-COVID in each part of the first, 4 + 4 + 2 … in the second: made equal below
    for part in ("Train", "Test", "Val"):
        for name in ("COVID-19", "Non-COVID"):
            base = f"Lung Segmentation Data/Lung Segmentation Data/{part}/{name}"
            for i in range(1):
                out.put(f"{base}/images/{name}_m{part}{i}.png")
                out.put(f"{base}/lung masks/{name}_m{part}{i}.png", drawn=True)
                out.put(f"{base}/images/{name}_n{part}{i}.png")
                out.put(f"{base}/lung masks/{name}_n{part}{i}.png", drawn=True)
        base = f"Lung Segmentation Data/Lung Segmentation Data/{part}/Normal"
        for i in range(4, 8):
            out.put(f"{base}/images/Normal_l{part}{i}.png")
            out.put(f"{base}/lung masks/Normal_l{part}{i}.png", drawn=True)


@published(
    "NIH ChestX-ray14 (Wang 2017)",
    Right(
        groups=8,
        findings=(("Effusion", 6, 18, 0), ("Mass", 12, 12, 0), ("Nodule", 6, 18, 0)),
    ),
)
def _(out: Folder) -> None:
    findings = ("No Finding", "Mass|Nodule", "Effusion", "Mass")
    rows = []
    for i in range(24):
        name = f"{i // 3 + 1:08d}_{i % 3:03d}.png"
        out.put(f"images_{i % 2 + 1:03d}/images/{name}")
        rows.append([name, findings[i % 4], i % 3, i // 3 + 1, 50 + i, "M", "PA"])
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"
    out.table("Data_Entry_2017.csv", header + ",View Position", rows)
    out.text("README_CHESTXRAY.pdf", "about")


@published(
    "RSNA pneumonia (as PNG)", Right(("0", "1"), (("train", 24),), asked="stage_2_train_labels")
)
def _(out: Folder) -> None:
    rows: list[list[object]] = []
    for i in range(24):
        name = f"{crc32(str(i).encode()):08x}-36a0-4b0c"
        out.put(f"stage_2_train_images/{name}.png")
        box = ["", "", "", ""] if i % 2 else [264.0, 152.0, 213.0, 379.0]
        rows.append([name, *box, int(i % 2 == 0)])
    out.table("stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)


@published("RSNA pneumonia, both tables", Right(asked="2 tables that label its images"))
def _(out: Folder) -> None:
    labels, kinds = [], []
    for i in range(24):
        name = f"{crc32(str(i).encode()):08x}-36a0-4b0c"
        out.put(f"stage_2_train_images/{name}.png")
        labels.append([name, int(i % 3 == 0)])
        kinds.append([name, ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")[i % 3]])
    out.table("stage_2_train_labels.csv", "patientId,Target", labels)
    out.table("stage_2_detailed_class_info.csv", "patientId,class", kinds)


@published(
    "CheXpert (Irvin 2019)",
    Right(
        splits=(("train", 20),),
        groups=10,
        findings=(("Cardiomegaly", 5, 10, 5), ("Edema", 5, 10, 0), ("Support Devices", 13, 0, 0)),
    ),
)
def _(out: Folder) -> None:
    rows = []
    for i in range(20):
        name = f"train/patient{i // 2 + 1:05d}/study1/view{i % 2 + 1}_frontal.jpg"
        out.put(f"CheXpert-v1.0-small/{name}")
        marks = ["", ("", "1.0", "0.0", "-1.0")[i % 4], ("", "1.0", "0.0")[i % 3]]
        if i % 4 == 0:
            marks = ["1.0", "", ""]
        devices = "1.0" if i % 2 or i % 8 == 0 else ""
        about = ["Female", 60 + i, "Frontal", "AP"]
        rows.append([f"CheXpert-v1.0-small/{name}", *about, *marks, devices])
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema,Support Devices"
    out.table("CheXpert-v1.0-small/train.csv", header, rows)


def _vindr(out: Folder) -> None:
    rows = []
    for i in range(16):
        name = f"{crc32(str(i).encode()):08x}94d8"
        out.put(f"train/{name}.png")
        for reader in range(3):
            heart, mass = int(i % 2 == 0), int(i % 4 == 0 and (i, reader) != (0, 2))
            marks = [heart, mass, int(i % 8 == 0), int(not heart)]
            rows.append([name, f"R{8 + reader}", *marks])
    header = "image_id,rad_id,Cardiomegaly,Nodule/Mass,Other diseases,No finding"
    out.table("image_labels_train.csv", header, rows)


@published(
    "VinDr-CXR (Nguyen 2022), labels of images by three readers",
    Right(
        splits=(("train", 16),),
        findings=(
            ("Cardiomegaly", 8, 8, 0),
            ("Nodule/Mass", 3, 12, 1),
            ("Other diseases", 2, 14, 0),
        ),
    ),
)
def _(out: Folder) -> None:
    _vindr(out)


@published("VinDr-CXR (Nguyen 2022), with its boxes", Right(asked="image_labels_train.csv"))
def _(out: Folder) -> None:
    _vindr(out)
    boxes = []
    for i in range(16):
        kind = ("Nodule/Mass", "No finding", "Cardiomegaly")[i % 3]
        for k in range(1 + i % 2):
            name = f"{crc32(str(i).encode()):08x}94d8"
            boxes.append([name, f"R{8 + k}", kind if k == 0 else "Cardiomegaly", 10, 20, 90, 120])
    out.table("annotations_train.csv", "image_id,rad_id,class_name,x_min,y_min,x_max,y_max", boxes)


@published(
    "PadChest (Bustos 2020), one folder of it",
    Right(
        groups=12,
        findings=(("cardiomegaly", 6, 18, 0), ("nodule", 6, 18, 0), ("pleural effusion", 6, 18, 0)),
    ),
)
def _(out: Folder) -> None:
    _padchest(out, 1)


@published(
    "PadChest (Bustos 2020)",
    Right(asked="DATA/PADCHEST_chest_x_ray_images_labels_160K.csv  3 classes"),
)
def _(out: Folder) -> None:
    _padchest(out, 12)


def _padchest(out: Folder, n_folders: int) -> None:
    findings = ("['normal']", "['cardiomegaly', 'pleural effusion']", "['nodule']", "['normal']")
    codes = ("['C0205307']", "['C0018800', 'C2073625']", "['C0028259']", "['C0205307']")
    rows = []
    for i in range(24):
        name = f"2168408408{crc32(str(i).encode()) % 10**8:08d}_{i:03d}.png"
        out.put(f"{i % n_folders}/{name}")
        about = [
            f"{1000 + i}",
            f"{3000 + i // 2}",
            1950 + i,
            "F",
            "PA",
            "sin hallazgos",
            "Physician",
        ]
        rows.append([name, i % n_folders, *about, findings[i % 4], codes[i % 4]])
    header = "ImageID,ImageDir,StudyID,PatientID,PatientBirth,PatientSex_DICOM,Projection,Report"
    out.table(
        "PADCHEST_chest_x_ray_images_labels_160K.csv",
        header + ",MethodLabel,Labels,labelCUIS",
        rows,
    )


@published("Shenzhen (Jaeger 2014)", Right(asked=r"{*}_{class}"))
def _(out: Folder) -> None:
    out.put(*[f"CXR_png/CHNCXR_{i:04d}_{int(i > 12)}.png" for i in range(1, 25)])
    for i in range(1, 25):
        out.text(f"ClinicalReadings/CHNCXR_{i:04d}_{int(i > 12)}.txt", "male 45yrs")


@published("Montgomery (Jaeger 2014)", Right(asked=r"{*}_{class}"))
def _(out: Folder) -> None:
    for i in range(1, 21):
        name = f"MCUCXR_{i:04d}_{int(i > 10)}.png"
        out.put(f"CXR_png/{name}")
        out.put(f"ManualMask/leftMask/{name}", f"ManualMask/rightMask/{name}", drawn=True)


# --------------------------------------------------------------------------- skin


@published("HAM10000 (Tschandl 2018)", Right(("bkl", "mel", "nv"), groups=18, asked="lesion_id"))
def _(out: Folder) -> None:
    rows = []
    for i in range(36):
        name = f"ISIC_{24306 + i:07d}"
        out.put(f"HAM10000_images_part_{1 + i % 2}/{name}.jpg")
        kind = ("nv", "mel", "bkl")[i // 2 % 3]
        rows.append([f"HAM_{i // 2:07d}", name, kind, "histo", 50.0, "male", "back"])
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    out.table("HAM10000_metadata.csv", header, rows)


@published("ISIC 2019 (one column a class)", Right(("BCC", "MEL", "NV"), (("train", 24),)))
def _(out: Folder) -> None:
    names = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    rows = []
    for i in range(24):
        name = f"ISIC_{i:07d}"
        out.put(f"ISIC_2019_Training_Input/ISIC_2019_Training_Input/{name}.jpg")
        rows.append([name, *[float(j == i % 3) for j in range(9)]])
    out.table("ISIC_2019_Training_GroundTruth.csv", "image," + ",".join(names), rows)


@published("ISIC 2019 with its metadata", Right(("BCC", "MEL", "NV"), (("train", 36),), 12))
def _(out: Folder) -> None:
    truth: list[list[object]] = []
    rows: list[list[object]] = []
    for i in range(36):
        name = f"ISIC_{i:07d}"
        out.put(f"ISIC_2019_Training_Input/{name}.jpg")
        truth.append([name, *[float(j == i // 3 % 3) for j in range(3)]])
        rows.append([name, 30 + i % 7, "anterior torso", f"BCN_{i // 3:07d}", "female"])
    out.table("ISIC_2019_Training_GroundTruth.csv", "image,MEL,NV,BCC", truth)
    header = "image,age_approx,anatom_site_general,lesion_id,sex"
    out.table("ISIC_2019_Training_Metadata.csv", header, rows)


@published("ISIC 2020 (Rotemberg 2021)", Right(("0", "1"), groups=12, asked="train.csv"))
def _(out: Folder) -> None:
    rows = []
    for i in range(24):
        name = f"ISIC_{2637011 + i}"
        out.put(f"train/{name}.jpg")
        bad = i % 3 == 0
        words = "melanoma" if bad else ("nevus", "unknown", "lentigo NOS")[i % 5 % 3]
        rows.append([name, f"IP_{7279968 + i // 2}", "male", 45.0, "head/neck", words,
                     "malignant" if bad else "benign", int(bad)])  # fmt: skip
    header = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis"
    out.table("train.csv", header + ",benign_malignant,target", rows)


@published("PAD-UFES-20 (Pacheco 2020)", Right(("ACK", "BCC", "NEV"), groups=12, asked="metadata"))
def _(out: Folder) -> None:
    rows = []
    for i in range(24):
        name = f"PAT_{1500 + i // 2}_{1700 + i}_{500 + i}.png"
        out.put(f"images/imgs_part_{1 + i % 3}/{name}")
        kind = ("NEV", "BCC", "ACK")[i // 2 % 3]
        rows.append([f"PAT_{1500 + i // 2}", 1700 + i, "False", 55, "ARM", kind, name])
    out.table("metadata.csv", "patient_id,lesion_id,smoke,age,region,diagnostic,img_id", rows)


# --------------------------------------------------------------------------- eye


@published("EyePACS (2015)", Right(("0", "1", "2"), (("train", 36),), 18, asked="trainLabels"))
def _(out: Folder) -> None:
    rows = []
    for i in range(18):
        for side in ("left", "right"):
            out.put(f"train/{10 + 3 * i}_{side}.jpeg")
            rows.append([f"{10 + 3 * i}_{side}", i % 3])
    out.table("trainLabels.csv", "image,level", rows)


@published("APTOS 2019", Right(("0", "1", "2"), (("train", 24),), asked="train.csv"))
def _(out: Folder) -> None:
    names = [f"{crc32(str(i).encode()):08x}{i:04x}" for i in range(32)]
    out.put(*[f"train_images/{name}.png" for name in names[:24]])
    out.put(*[f"test_images/{name}.png" for name in names[24:]])
    out.table("train.csv", "id_code,diagnosis", [[n, i % 3] for i, n in enumerate(names[:24])])
    out.table("test.csv", "id_code", [[n] for n in names[24:]])


@published(
    "retinal OCT (Kermany 2018)",
    Right(("CNV", "DME", "DRUSEN", "NORMAL"), (("test", 8), ("train", 24)), 20),
)
def _(out: Folder) -> None:
    for c, name in enumerate(("CNV", "DME", "DRUSEN", "NORMAL")):
        for i in range(6):
            out.put(f"OCT2017 /train/{name}/{name}-{1000000 + 100 * c + i // 2}-{i % 2 + 1}.jpeg")
        for i in range(2):
            out.put(f"OCT2017 /test/{name}/{name}-{2000000 + 100 * c + i}-1.jpeg")


# --------------------------------------------------------------------------- brain, breast, bone


@published("OASIS slices (Marcus 2007)", Right(("Mild Dementia", "Non Demented"), groups=10))
def _(out: Folder) -> None:
    for c, name in enumerate(("Mild Dementia", "Non Demented")):
        for i in range(20):
            out.put(f"Data/{name}/OAS1_{100 * c + i // 4:04d}_MR1_mpr-1_{100 + i % 4}.jpg")


@published("brain MRI with its copy inside", Right(("no", "yes")))
def _(out: Folder) -> None:
    names = [f"no/{i} no.jpg" for i in range(10)] + [f"yes/Y{i}.jpg" for i in range(12)]
    out.put(*names)
    out.copy("brain_tumor_dataset", *names)


@published(
    "brain tumour, four classes",
    Right(("glioma", "meningioma", "notumor", "pituitary"), (("test", 12), ("train", 32))),
)
def _(out: Folder) -> None:
    for name in ("glioma", "meningioma", "notumor", "pituitary"):
        out.put(*[f"Training/{name}/Tr-{name[:2]}_{i:04d}.jpg" for i in range(8)])
        out.put(*[f"Testing/{name}/Te-{name[:2]}_{100 + i:04d}.jpg" for i in range(3)])


@published(
    "Alzheimer, four classes",
    Right(("MildDemented", "NonDemented", "VeryMildDemented"), (("test", 9), ("train", 18))),
)
def _(out: Folder) -> None:
    for name in ("MildDemented", "NonDemented", "VeryMildDemented"):
        out.put(*[f"Alzheimer_s Dataset/train/{name}/{name}{i}.jpg" for i in range(6)])
        out.put(*[f"Alzheimer_s Dataset/test/{name}/{30 + i}.jpg" for i in range(3)])


@published(
    "BUSI breast ultrasound (Al-Dhabyani 2020)", Right(("benign", "malignant", "normal"), masks=30)
)
def _(out: Folder) -> None:
    for name in ("benign", "malignant", "normal"):
        for i in range(1, 11):
            base = f"Dataset_BUSI_with_GT/{name}/{name} ({i})"
            out.put(f"{base}.png")
            out.put(f"{base}_mask.png", drawn=True)
            if i == 3:
                out.put(f"{base}_mask_1.png", drawn=True)


@published("invasive ductal carcinoma patches (Cruz-Roa 2014)", Right(("0", "1"), groups=8))
def _(out: Folder) -> None:
    names = [
        f"{p}/{c}/{p}_idx5_x{51 + 50 * i}_y{1251 + 50 * c}_class{c}.png"
        for p in (8863, 8864, 8865, 8867, 8913, 8914, 9021, 9022)
        for c in (0, 1)
        for i in range(3)
    ]
    out.put(*names)
    out.copy("IDC_regular_ps50_idx5", *names)


@published("BreakHis (Spanhol 2016)", Right(("benign", "malignant"), groups=8, asked="class/"))
def _(out: Folder) -> None:
    kinds = {"benign": ("adenosis", "fibroadenoma"), "malignant": ("ductal", "lobular")}
    for c, (name, subs) in enumerate(kinds.items()):
        for s, sub in enumerate(subs):
            for p in range(2):
                slide = (
                    f"SOB_{name[0].upper()}_{sub[0].upper()}-14-{22549 + 7 * p + 31 * s + 100 * c}"
                )
                for zoom in ("40X", "100X"):
                    for i in range(1, 3):
                        out.put(
                            f"BreaKHis_v1/histology_slides/breast/{name}/SOB/{sub}/{slide}/{zoom}/"
                            f"{slide}-{zoom[:-1]}-{i:03d}.png"
                        )


@published("BACH photographs (Aresta 2019)", Right(("Benign", "InSitu", "Invasive", "Normal")))
def _(out: Folder) -> None:
    rows = []
    for name, letter in (("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"), ("Normal", "n")):
        for i in range(1, 7):
            out.put(f"ICIAR2018_BACH_Challenge/Photos/{name}/{letter}{i:03d}.tif")
            rows.append([f"{letter}{i:03d}.tif", name])
    out.table("ICIAR2018_BACH_Challenge/Photos/microscopy_ground_truth.csv", "", rows)


@published(
    "MURA (Rajpurkar 2018)",
    Right(("negative", "positive"), (("train", 32), ("val", 16)), 24, asked="class"),
)
def _(out: Folder) -> None:
    for part, start in (("train", 0), ("valid", 500)):
        for b, bone in enumerate(("XR_ELBOW", "XR_HAND")):
            for p in range(8 if part == "train" else 4):
                kind = "positive" if p % 2 else "negative"
                patient = f"patient{start + 20 * b + p:05d}"
                for i in range(1, 3):
                    out.put(f"MURA-v1.1/{part}/{bone}/{patient}/study1_{kind}/image{i}.png")


@published(
    "bone fractures",
    Right(("fractured", "not fractured"), (("test", 4), ("train", 16), ("val", 4)), 12),
)
def _(out: Folder) -> None:
    for part, n in (("train", 8), ("val", 2), ("test", 2)):
        for name in ("fractured", "not fractured"):
            out.put(*[f"{part}/{name}/{i}-rotated{j}.jpg" for i in range(n // 2) for j in (1, 2)])


# --------------------------------------------------------------------------- cells, tissue


@published("malaria cells (Rajaraman 2018)", Right(("Parasitized", "Uninfected"), groups=8))
def _(out: Folder) -> None:
    names = []
    for c, kind in enumerate(("Parasitized", "Uninfected")):
        for i in range(12):
            slide = f"C{33 + 40 * c + i // 3}P{60 + i // 3}ThinF_IMG_20150619_114756a"
            names.append(f"{kind}/{slide}_cell_{i}.png")
    out.put(*[f"cell_images/{name}" for name in names])
    for name in names:
        path = out.root / "cell_images/cell_images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((out.root / "cell_images" / name).read_bytes())


@published("C-NMC 2019 leukaemia", Right(("all", "hem"), (("train", 36),), 12, asked="class"))
def _(out: Folder) -> None:
    for fold in range(3):
        for c, kind in enumerate(("all", "hem")):
            for i in range(6):
                patient = 1 + 4 * fold + 2 * c + i // 3
                name = f"UID_{patient}_{i}_{i % 2 + 1}_{kind}.bmp"
                out.put(f"C-NMC_training_data/fold_{fold}/{kind}/{name}")


@published(
    "blood cells (BCCD, augmented)",
    Right(("EOSINOPHIL", "LYMPHOCYTE"), (("test", 10), ("train", 12)), asked="split"),
)
def _(out: Folder) -> None:
    root = "dataset2-master/dataset2-master/images"
    for name in ("EOSINOPHIL", "LYMPHOCYTE"):
        out.put(*[f"{root}/TRAIN/{name}/_{i}_{1000 + i}.jpeg" for i in range(6)])
        out.put(*[f"{root}/TEST/{name}/_{20 + i}_{2000 + i}.jpeg" for i in range(3)])
        out.put(*[f"{root}/TEST_SIMPLE/{name}/_{40 + i}_{3000 + i}.jpeg" for i in range(2)])


@published(
    "LC25000 (Borkowski 2019)",
    Right(("colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"), asked="class"),
)
def _(out: Folder) -> None:
    for organ, kinds in (("colon", ("aca", "n")), ("lung", ("aca", "n", "scc"))):
        for kind in kinds:
            out.put(
                *[
                    f"lung_colon_image_set/{organ}_image_sets/{organ}_{kind}/{organ}{kind}{i}.jpeg"
                    for i in range(1, 9)
                ]
            )


@published(
    "PatchCamelyon, of Kaggle (2018)", Right(("0", "1"), (("train", 24),), asked="train_labels")
)
def _(out: Folder) -> None:
    names = [f"{crc32(str(i).encode()):08x}" * 5 for i in range(30)]
    out.put(*[f"train/{name}.tif" for name in names[:24]])
    out.put(*[f"test/{name}.tif" for name in names[24:]])
    out.table("train_labels.csv", "id,label", [[n, i % 2] for i, n in enumerate(names[:24])])
    out.table("sample_submission.csv", "id,label", [[n, 0] for n in names[24:]])


@published("colorectal tissue (Kather 2018)", Right(("ADI", "BACK", "LYM", "NORM", "TUM")))
def _(out: Folder) -> None:
    for name in ("ADI", "BACK", "LYM", "NORM", "TUM"):
        out.put(
            *[
                f"NCT-CRC-HE-100K/{name}/{name}-{crc32(f'{name}{i}'.encode()):08X}.tif"
                for i in range(6)
            ]
        )


@published("Warwick glands (Sirinukunwattana 2017)", Right(asked="Grade.csv"))
def _(out: Folder) -> None:
    rows = []
    for part, n in (("train", 12), ("testA", 6)):
        for i in range(1, n + 1):
            name = f"{part}_{i}"
            out.put(f"Warwick QU Dataset/{name}.bmp")
            out.put(f"Warwick QU Dataset/{name}_anno.bmp", drawn=True)
            rows.append([name, i, "benign" if i % 2 else "malignant", "healthy"])
    header = "name,patient ID,grade (GlaS),grade (Sirinukunwattana et al. 2015)"
    out.table("Warwick QU Dataset/Grade.csv", header, rows)


# --------------------------------------------------------------------------- endoscopy, CT, others


@published("Kvasir v2 (Pogorelov 2017)", Right(("dyed-lifted-polyps", "normal-cecum", "polyps")))
def _(out: Folder) -> None:
    for name in ("dyed-lifted-polyps", "normal-cecum", "polyps"):
        out.put(
            *[
                f"kvasir-dataset-v2/{name}/{crc32(f'{name}{i}'.encode()):08x}-5f3c.jpg"
                for i in range(8)
            ]
        )


@published(
    "HyperKvasir, labelled (Borgli 2020)",
    Right(("cecum", "polyps", "pylorus", "z-line"), asked="class"),
)
def _(out: Folder) -> None:
    tree = {
        "lower-gi-tract/anatomical-landmarks/cecum": 6,
        "lower-gi-tract/pathological-findings/polyps": 6,
        "upper-gi-tract/anatomical-landmarks/pylorus": 6,
        "upper-gi-tract/anatomical-landmarks/z-line": 6,
    }
    for path, n in tree.items():
        out.put(
            *[f"labeled-images/{path}/{crc32(f'{path}{i}'.encode()):08x}-ab.jpg" for i in range(n)]
        )


@published("Kvasir-SEG beside Kvasir (masks by value)", Right(("normal", "polyps"), masks=8))
def _(out: Folder) -> None:
    for i in range(8):
        out.put(f"polyps/original/{i:03d}.jpg")
        out.put(f"polyps/drawn/{i:03d}.png", drawn=True)
        out.put(f"normal/original/n{i:03d}.jpg")


@published("SARS-CoV-2 CT (Soares 2020)", Right(("COVID", "non-COVID")))
def _(out: Folder) -> None:
    out.put(*[f"COVID/Covid ({i}).png" for i in range(1, 13)])
    out.put(*[f"non-COVID/Non-Covid ({i}).png" for i in range(1, 13)])


@published("COVID-CT (Yang 2020)", Right(("CT_COVID", "CT_NonCOVID")))
def _(out: Folder) -> None:
    out.put(*[f"CT_COVID/2020.01.24.{919183 + i}-p27-13{i}.png" for i in range(12)])
    out.put(*[f"CT_NonCOVID/{i}.jpg" for i in range(12)])


@published("CBIS-DDSM, as JPEG (Lee 2017)", Right(asked="csv"))
def _(out: Folder) -> None:
    rows = []
    for i in range(16):
        uid = f"1.3.6.1.4.1.9590.100.1.2.{1000 + i}"
        out.put(f"jpeg/{uid}/1-{i:03d}.jpg")
        side, view = ("LEFT", "RIGHT")[i % 2], ("CC", "MLO")[i // 2 % 2]
        path = f"Mass-Training_P_{i // 4:05d}_{side}_{view}/{uid}/{uid}/000000.dcm"
        kind = ("BENIGN", "MALIGNANT")[i // 4 % 2]
        rows.append([f"P_{i // 4:05d}", 3, side, view, "mass", kind, 4, path])
    header = "patient_id,breast_density,left or right breast,image view,abnormality type,pathology"
    out.table(
        "csv/mass_case_description_train_set.csv", header + ",assessment,image file path", rows
    )


@published(
    "Intel scenes",
    Right(("buildings", "forest", "sea"), (("test", 9), ("train", 24)), asked="split"),
)
def _(out: Folder) -> None:
    for name in ("buildings", "forest", "sea"):
        out.put(*[f"seg_train/seg_train/{name}/{100 + i}.jpg" for i in range(8)])
        out.put(*[f"seg_test/seg_test/{name}/{20000 + i}.jpg" for i in range(3)])
    out.put(*[f"seg_pred/seg_pred/{i}.jpg" for i in range(2)])


def _clinic() -> tuple[list[str], list[list[object]]]:
    names = [f"P{i:03d}" for i in range(1, 13)]
    return names, [[p, ("normal", "glaucoma")[i % 2], 50 + i] for i, p in enumerate(names)]


@published("a table of patients, a folder each", Right(("glaucoma", "normal"), groups=12))
def _(out: Folder) -> None:
    names, rows = _clinic()
    out.put(*[f"images/{name}/visit{v}/{i}.png" for name in names for v in (1, 2) for i in (1, 2)])
    out.table("labels.csv", "patient_id,diagnosis,age", rows)


@published("a table of patients, in the file names", Right(("glaucoma", "normal"), groups=12))
def _(out: Folder) -> None:
    names, rows = _clinic()
    out.put(*[f"{name}_{side}.png" for name in names for side in ("left", "right")])
    out.table("clinical.csv", "Patient,Diagnosis,Age", rows)


@published("tables of patients and of images", Right(("glaucoma", "normal"), groups=12))
def _(out: Folder) -> None:
    names, rows = _clinic()
    out.put(*[f"scans/img{i:04d}.png" for i in range(36)])
    out.table("images.csv", "file,patient", [[f"img{i:04d}.png", names[i // 3]] for i in range(36)])
    out.table("patients.csv", "patient_id,diagnosis,age", rows)


@published("class folders with a table of patients", Right(("glaucoma", "normal"), groups=12))
def _(out: Folder) -> None:
    names, rows = _clinic()
    files = [f"{rows[i // 3][1]}/img{i:04d}.png" for i in range(36)]
    out.put(*files)
    rows = [[file.split("/")[1], names[i // 3], 50 + i // 3] for i, file in enumerate(files)]
    out.table("metadata.csv", "filename,patient_id,age", rows)


@published("five folds of two classes", Right(("melanoma", "nevus")))
def _(out: Folder) -> None:
    for fold in range(1, 6):
        for name in ("melanoma", "nevus"):
            out.put(*[f"fold{fold}/{name}/{name[:3]}{10 * fold + i}x.png" for i in range(3)])


@published("MedMNIST (Yang 2023)", Right(("0", "1"), (("test", 8), ("train", 24), ("val", 8))))
def _(out: Folder) -> None:
    arrays: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for part, n in (("train", 24), ("val", 8), ("test", 8)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = np.arange(n)[:, None] % 2
    out.root.mkdir(exist_ok=True)
    np.savez(out.root / "breastmnist.npz", **arrays)


@published(
    "ChestMNIST (Yang 2023)",
    Right(
        splits=(("test", 8), ("train", 24), ("val", 8)),
        findings=(("0", 10, 30, 0), ("1", 8, 32, 0), ("2", 4, 36, 0)),
    ),
)
def _(out: Folder) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    start = 0
    for part, n in (("train", 24), ("val", 8), ("test", 8)):
        at = start + np.arange(n)
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = np.stack([at % 4 == 0, at % 5 == 0, at % 10 == 0], 1).astype(
            "u1"
        )
        start += n
    out.root.mkdir(exist_ok=True)
    np.savez(out.root / "chestmnist.npz", **arrays)


@published(
    "knee grades (Chen 2018, from OAI)",
    Right(("0", "1", "2", "3", "4"), (("test", 10), ("train", 20), ("val", 10)), 20),
)
def _(out: Folder) -> None:
    for part, start, n in (("train", 0, 4), ("val", 20, 2), ("test", 30, 2)):
        for grade in range(5):
            for i in range(n):
                at = start + grade * n + i
                out.put(f"{part}/{grade}/{9000100 + at // 2}{'LR'[at % 2]}.png")


# --------------------------------------------------------------------------- reading them


@dataclass(frozen=True)
class Outcome:
    """How a set was read."""

    name: str
    right: Right
    table: ImageTable | None
    question: str = ""
    panel: Panel | None = None

    @property
    def findings(self) -> tuple[tuple[str, int, int, int], ...]:
        """Of each finding how many images have it, have it not, and are uncertain."""
        if self.panel is None:
            return ()
        marks = self.panel.marks.T
        kinds = (PRESENT, ABSENT, UNCERTAIN)
        return tuple(
            (name, *(int((column == kind).sum()) for kind in kinds))  # type: ignore[misc]
            for name, column in zip(self.panel.names, marks, strict=True)
        )

    @property
    def fault(self) -> str:
        """What is read otherwise than is right, or ''."""
        if self.table is None:
            wanted = self.right.asked
            if not wanted:
                return "asked, where it is plain"
            return "" if wanted in self.question else f"the question does not say '{wanted}'"
        if not (self.right.classes or self.right.findings):
            return "read, where it had to ask"
        table = self.table
        groups = len(set(table.groups.tolist()))
        found = Right(
            table.classes,
            tuple(
                (s, int((table.splits == s).sum())) for s in sorted(set(table.splits.tolist())) if s
            ),
            groups if groups < len(table) else 0,
            int((table.masks != "").sum()),
            self.right.asked,
            self.findings,
        )
        possible = any(f.check == "possible_groups" for f in table.findings)
        wrong = [
            f"{what} {getattr(found, what)}, right is {getattr(self.right, what)}"
            for what in ("classes", "splits", "groups", "masks", "findings")
            if getattr(found, what) != getattr(self.right, what)
            and not (what == "groups" and possible and not found.groups)
        ]
        return "; ".join(wrong)


def read(name: str, scratch: Path) -> Outcome:
    """Make a set and read it without a flag."""
    make, right = SETS[name]
    root = scratch / f"{crc32(name.encode()):08x}"
    make(Folder(root))
    path = next(root.glob("*.npz"), root)
    try:
        found = load_any(path)
    except (AmbiguousDataError, DataError) as error:
        return Outcome(name, right, None, str(error).replace(str(root), "DATA"))
    if isinstance(found, Panel):
        return Outcome(name, right, found.images, panel=found)
    return Outcome(name, right, found)


def page(outcomes: Sequence[Outcome]) -> str:
    """The page of results."""
    asked = sum(one.table is None for one in outcomes)
    lines = [
        "# Published layouts, read without a flag",
        "",
        "`make results-layouts` makes each set small, with its folders, names and tables as "
        "published and made-up pictures, and reads it as `medgraft study FOLDER` would. "
        f"{len(outcomes)} sets: {len(outcomes) - asked} read, {asked} asked about, "
        f"{sum(bool(one.fault) for one in outcomes)} read otherwise than is right.",
        "",
        "| set | read as | classes | splits | groups | masks |",
        "|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        if (table := one.table) is None:
            continue
        splits = ", ".join(
            f"{s} {int((table.splits == s).sum())}" for s in sorted(set(table.splits.tolist())) if s
        )
        groups = len(set(table.groups.tolist()))
        n_masks = int((table.masks != "").sum())
        how = f"`{table.reading.layout}`" if table.reading.layout else table.reading.by
        fault = f" **{one.fault}**" if one.fault else ""
        lines.append(
            f"| {one.name}{fault} | {how} | {_classes(one)} | {splits or '–'} | "
            f"{groups if groups < len(table) else '–'} | {n_masks or '–'} |"
        )
    lines += ["", "## Asked about", ""]
    for one in (one for one in outcomes if one.table is None):
        fault = f" **{one.fault}**" if one.fault else ""
        lines += [f"**{one.name}**{fault}", "", "```", one.question, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _classes(one: Outcome) -> str:
    """The classes, or of each finding how many images have it, have it not, and are uncertain."""
    if one.panel is None:
        return ", ".join(one.table.classes) if one.table else ""
    return "; ".join(f"{name} {a}, {b}, {c}" for name, a, b, c in one.findings)


def main() -> int:
    """Read all sets, or those whose names hold a word, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="sets whose name holds this; writes no page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = [read(name, Path(scratch)) for name in SETS if arguments.only in name]
    for one in outcomes:
        read_as = one.table.reading.layout if one.table is not None else f"asked: {one.question}"
        sys.stdout.write(
            f"{'WRONG ' + one.fault if one.fault else 'right'} | {one.name} | {read_as}\n"
        )
    if not arguments.only:
        PAGE.write_text(page(outcomes))
    return int(any(one.fault for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
