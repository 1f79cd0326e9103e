# ruff: noqa: E501 -- a row a scheme
"""Naming schemes as published sets have them, and which images belong together in each.

What is right was worked out by hand: `truth` names the patient of every image. Two classes, and a
patient is of one of them unless a row says otherwise.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from medgraft.data.groups.grouping import apply_grouping

CLASSES = ("normal", "ill")
random.seed(14)
HEX16 = [f"{random.getrandbits(64):016x}" for _ in range(40)]
UUIDS = [
    f"{h[:8]}-{h[8:12]}-4{h[13:]}-a{g[1:4]}-{g[4:]}"
    for h, g in zip(HEX16, reversed(HEX16), strict=True)
]
SPARSE = sorted(random.sample(range(10, 900), 24))  # numbers of people who were screened
LONG = sorted(random.sample(range(1_000_000, 9_999_999), 24))
DAYS = [f"201{i % 10}{1 + i % 12:02d}{1 + i:02d}" for i in range(24)]


def of(keys, tails, template="{c}/{k}_{t}.png", mixed=False):
    """(id, class, patient) of every image: key i is of class i % 2, or with `mixed` of both."""
    rows = []
    for i, key in enumerate(keys):
        some = tails(i) if callable(tails) else tails
        for j, tail in enumerate(some):
            name = CLASSES[(i + j if mixed else i) % 2]
            rows.append((template.format(c=name, k=key, t=tail, i=i, j=j), name, str(key)))
    return rows


def by_class(keys, tails, template):
    """The same names in every class: counting starts anew, so a patient is of one class."""
    return [
        (template.format(c=name, k=key, t=tail), name, f"{name} {key}")
        for name in CLASSES
        for key in keys
        for tail in tails
    ]


def by_split(keys, tails, template):
    return [
        (template.format(s=split, c=name, k=key, t=tail), name, f"{split} {key}")
        for split in ("train", "test")
        for i, key in enumerate(keys)
        for name in CLASSES[i % 2 : i % 2 + 1]
        for tail in tails
    ]


N20, N24 = range(1, 21), range(1, 25)
SIDES = ("left", "right")


def few(i):
    """Two to four shots, counted from 1."""
    return range(1, 3 + i % 3)


def patches(i):
    return [f"x{51 + 50 * j + i}_y{1251 + 50 * (j // 2)}_class{j % 2}" for j in range(6)]


SURE = {
    "EyePACS": of(SPARSE, SIDES, "{c}/{k}_{t}.jpeg"),
    "EyePACS, eyes of two classes": of(SPARSE, SIDES, "{c}/{k}_{t}.jpeg", mixed=True),
    "EyePACS in capitals": of(SPARSE, ("LEFT", "RIGHT"), "{c}/{k}-{t}.JPG", mixed=True),
    "eye before the number": of(SPARSE, SIDES, "{c}/{t}_{k}.png", mixed=True),
    "ODIR": of(range(24), SIDES, "{c}/{k}_{t}.jpg"),
    "L and R": of(SPARSE, "LR", "{c}/{k}_{t}.png", mixed=True),
    "OD and OS": of(SPARSE, ("OD", "OS"), "{c}/{k}_{t}.tif", mixed=True),
    "OAI knees": of(LONG, "LR", "{c}/{k}{t}.png", mixed=True),
    "CHASE": of(range(1, 25), "LR", "{c}/Image_{k:02d}{t}.jpg"),
    "eyes in folders": of(SPARSE, SIDES, "{c}/{t}/{k}.png"),
    "mammography views": of(SPARSE, ("L_CC", "L_MLO", "R_CC", "R_MLO"), "{c}/{k}_{t}.png"),
    "CBIS-DDSM": of(N24, ("LEFT_CC", "LEFT_MLO"), "{c}/Mass-Training_P_{k:05d}_{t}.png"),
    "CBIS-DDSM folders": of(N24, ("LEFT_CC", "LEFT_MLO"), "{c}/Mass-Training_P_{k:05d}_{t}/1-1.png"),
    "INbreast": [
        (f"{c}/{20586908 + 13 * i + j}_{k}_MG_{'LR'[j]}_CC_ANON.png", c, k)
        for i, k in enumerate(HEX16[:20]) for c in CLASSES[i % 2 : i % 2 + 1] for j in range(2)
    ],
    "VinDr-Mammo": of(HEX16[:20], HEX16[20:24], "{c}/{k}/{t}{i}.png"),
    "chest in two views": of(SPARSE, ("PA", "LAT"), "{c}/{k}_{t}.png"),
    "IU X-ray": of(N24, ("1001", "2001"), "{c}/CXR{k}_IM-{i:04d}-{t}.png"),
    "CheXpert": of(LONG, ("study1/view1_frontal", "study1/view2_lateral"), "{c}/patient{k}/{t}.jpg"),
    "MURA": [
        (f"{s}/XR_{b}/patient{i:05d}/study1_{c}/image{j}.png", c, f"{i:05d}")
        for i in range(1, 31) for s in ("train",) for b in (("ELBOW", "HAND", "WRIST")[i % 3],)
        for c in (("negative", "positive")[i // 3 % 2],) for j in (1, 2, 3)
    ],
    "MIMIC": [
        (f"{c}/p{k // 100000}/p{k}/s{5000 + i}/{HEX16[i % 40]}-{j}.jpg", c, str(k))
        for i, k in enumerate(range(10000032, 10000032 + 24 * 700007, 700007))
        for c in CLASSES[i % 2 : i % 2 + 1] for j in range(3)
    ],
    "OASIS": of(N24, (100, 101, 102), "{c}/OAS1_{k:04d}_MR1_mpr-1_{t}.jpg"),
    "OASIS, several scans": of(N24, ("mpr-1_100", "mpr-2_100", "mpr-3_101"), "{c}/OAS1_{k:04d}_MR1_{t}.jpg"),
    "ADNI": [
        (f"{c}/ADNI_{i % 7:03d}_S_{1000 + 37 * i}_MR_{j}.png", c, f"{i}")
        for i in range(24) for c in CLASSES[i // 7 % 2 : i // 7 % 2 + 1] for j in range(3)
    ],
    "slices": of(N20, range(1, 6), "{c}/p{k}_slice_{t}.png"),
    "slices, one word": of(N20, range(1, 6), "{c}/p{k}_slice{t}.png"),
    "slices, glued": of(N20, range(1, 6), "{c}/p{k}s{t}.png"),
    "visits": of(N20, (1, 2), "{c}/P{k}-visit{t}.png"),
    "time points": of(N20, (1, 2, 3), "{c}/pat{k:02d}_t{t:02d}.png"),
    "baseline": of(SPARSE, ("baseline", "followup"), "{c}/{k}_{t}.png"),
    "BIDS": of(N20, ("ses-01_T1w", "ses-02_T1w"), "{c}/sub-{k:02d}_{t}.png"),
    "BIMCV": of(LONG, ("ses-E1_run-1_vp-ap", "ses-E2_run-1_vp-ap"), "{c}/sub-S{k}_{t}.png"),
    "LIDC folders": of(N24, ("000001/1-001", "000001/1-002"), "{c}/LIDC-IDRI-{k:04d}/{t}.png"),
    "folders of patients": of(N20, (1, 2, 3), "{c}/P{k:03d}/img{t}.png"),
    "folders of s": of(N20, (1, 2, 3), "{c}/s{k}/{t}.png"),
    "folders of numbers": of(range(100, 124), (0, 1, 2), "{c}/{k:05d}/{t:03d}.png"),
    "folders of both classes": of(range(8801, 8811), patches, "{k}/{c}/{k}_idx5_{t}.png", mixed=True),
    "IDC patches": of(range(8801, 8831), patches, "{c}/{k}_idx5_{t}.png", mixed=True),
    "Camelyon17": of(N20, ("x_3328_y_21792", "x_64_y_21792"), "{c}/patient_{k:03d}_node_4_{t}.png"),
    "shots": of(range(101, 125), few),
    "shots, hyphen": of(range(101, 125), few, "{c}/{k}-{t}.png"),
    "shots in brackets": of(range(101, 125), few, "{c}/{k} ({t}).png"),
    "DDTI": of(N24, few, "{c}/{k}_{t}.jpg"),
    "OCT": of(LONG, few, "{c}/{c}-{k}-{t}.jpeg"),
    "C-NMC": of(N24, ("1_1", "1_2", "2_1", "3_1"), "{c}/UID_{k}_{t}_{c}.bmp"),
    "C-NMC with H": of([*range(1, 12), *(f"H{i}" for i in range(1, 12))], ("1_1", "1_2", "2_1"), "{c}/UID_{k}_{t}_{c}.bmp"),
    "PAD-UFES": [
        (f"{c}/PAT_{i}_{100 + 7 * i + j // 2}_{random.randrange(999)}{j}.png", c, str(i))
        for i in range(8, 38) for c in CLASSES[i % 2 : i % 2 + 1] for j in range(3)
    ],
    "malaria": of([f"C{i + 39}P{i}ThinF" for i in range(1, 25)], [f"20150918_1441{j:02d}_cell_{j}" for j in range(6)], "{c}/{k}_IMG_{t}.png", mixed=True),
    "TCGA": of([f"TCGA-{i % 3:02d}-{1000 + 17 * i}" for i in range(24)], ("01Z-00-DX1", "01Z-00-DX2"), "{c}/{k}-{t}.png"),
    "LGG": of([f"TCGA_CS_{4000 + 17 * i}" for i in range(24)], (1, 2, 3), "{c}/{k}_19960909/{k}_19960909_{t}.tif"),
    "BreakHis": of([f"14-{4000 + 17 * i}" for i in range(24)], ("40-001", "40-002", "100-001"), "{c}/SOB_B_TA-{k}-{t}.png"),
    "NIH": of(N24, ("000", "001", "002"), "{c}/{k:08d}_{t}.png", mixed=True),
    "Kermany": of(N24, (1, 2), "{c}/person{k}_virus_{i}{t}.jpeg"),
    "fetal planes": of(N24, ("Plane1_1_of_2", "Plane1_2_of_2"), "{c}/Patient{k:05d}_{t}.png"),
    "BUS-BRA": of(N24, "lr", "{c}/bus_{k:04d}-{t}.png"),
    "capsule videos": of(HEX16[:20], lambda i: [10195 + 31 * i + j for j in range(5)], "{c}/{k}_{t}.jpg", mixed=True),
    "Cholec80": of(N24, lambda i: [f"{25 * j + 100 * i:06d}" for j in range(5)], "{c}/video{k:02d}_{t}.png", mixed=True),
    "videos in folders": of(N20, ("frame_0001", "frame_0007"), "{c}/video{k}/{t}.png"),
    "COVID-CT preprints": of([f"2020.{i:02d}.24.{919183 + 77 * i}" for i in range(1, 21)], ("p27-132", "p28-133"), "{c}/{k}-{t}.png"),
    "rotated copies": of([f"a{random.random():.9f}"[2:] for _ in N20], ("", "_rot90", "_rot180", "_flip"), "{c}/{k}{t}.png"),
    "augmented copies": of([f"scan{chr(97 + i)}" for i in range(20)], ("", "_aug1", "_aug2", "_aug3"), "{c}/{k}{t}.png"),
    "second downloads": of([f"scan{chr(97 + i)}" for i in range(20)], ("", "(1)"), "{c}/{k}{t}.png"),
    "copies of Windows": of([f"scan{chr(97 + i)}" for i in range(20)], ("", " - Copy"), "{c}/{k}{t}.png"),
    "Roboflow": of([f"scan{chr(97 + i)}" for i in range(20)], HEX16[:2], "{c}/{k}_jpg.rf.{i}{t}.jpg"),
    "numbered folders, anew in each class": by_class(N24, (0, 1, 2), "{c}/{k}/{t}.png"),
    "a side and shots": of(SPARSE, ("left_1", "left_2", "right_1"), mixed=True),
    "sites before patients": of([f"site{i % 3}_{i:03d}" for i in range(24)], SIDES, "{c}/{k}_{t}.png"),
    "numbers of sites before patients": of([f"{i % 3 + 1}_{100 + i}" for i in range(24)], SIDES, "{c}/{k}_{t}.png", mixed=True),
    "split in the name": of([f"train_{i}" for i in range(20)], ("left", "right"), mixed=True),
    "two sequences in folders": of(SPARSE, ("T1", "T2"), "{c}/{t}/{k}.png", mixed=True),
    "visits in folders": of(N20, ("visit1", "visit2"), "{c}/P{k:03d}/{t}/scan.png"),
    "stained slides in folders": of(HEX16[:16], range(6), "{c}/{k}/patch_{t}.png", mixed=True),
    "slices numbered alike in folders": of(N20, [f"{n}_{view}" for n in range(1030, 1036) for view in ("ax", "cor")], "{c}/P{k:03d}/{t}.png"),
    "dots": of(SPARSE, SIDES, "{c}/{k}.{t}.png", mixed=True),
    "dots, patient first": of(N20, ("slice1", "slice2"), "{c}/patient{k}.{t}.png"),
    "shots, anew in each split": by_split(N24, (1, 2, 3), "{s}/{c}/{k}_{t}.png"),
    "blanks": of(SPARSE, SIDES, "{c}/{k} {t}.png", mixed=True),
    "six patients above the classes": of([f"p{i}" for i in range(6)], range(8), "{k}/{c}/{t}.png", mixed=True),
    "patients of a table's paths": of(SPARSE, range(3), "P{k:04d}/img{t}.png"),
    "split, class, patient": of(range(100, 124), (1, 2), "train/{c}/{k}/{t}.png"),
    "patient folder and names of it": of(SPARSE, (1, 2, 3), "{c}/{k}/{k}_{t}.png"),
    "images and crops": of(N24, range(5), "{c}/image{k:04d}_crop{t}.png"),
    "mice": of(N20, range(4), "{c}/mouse{k}_section{t}.tif"),
    "KiTS": of(N20, range(4), "{c}/case_{k:05d}_slice_{t}.png"),
    "BraTS": of(N20, ("000-t1c", "000-t2f", "001-t1c"), "{c}/BraTS-GLI-{k:05d}-{t}.png"),
    "LUNA": of([f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{k}" for k in LONG], (10, 20, 31), "{c}/{k}_{t}.png"),
    "DICOM studies in folders": of([f"1.2.840.{k}.{i}" for i, k in enumerate(LONG)], range(3), "{c}/{k}/IM{t:05d}.png"),
    "Nerthus": of(N20, range(4), "{c}/bowel_{k}_score_1-1_{t:08d}.png"),
    "ACDC": of(N20, ("frame01_slice1", "frame01_slice2", "frame12_slice1"), "{c}/patient{k:03d}_{t}.png"),
    "numbers in the middle": of(SPARSE, range(3), "{c}/ultrasound_{k}_view{t}_final.png"),
    "cine frames": of(HEX16[:20], range(0, 60, 12), "{c}/{k}-frame-{t:03d}.png", mixed=True),
    "before and after": of(SPARSE, ("pre", "post"), "{c}/{k}_{t}.jpg", mixed=True),
    "letters after numbers": of(SPARSE, "abc", "{c}/{k}{t}.jpg"),
    "patients below both splits": by_split(range(1, 13), (1, 2), "{s}/{c}/patient_{k}_{t}.png"),
    "the same people in both splits": of(LONG, SIDES, "{c}/{k}_{t}.png", mixed=True),
    "P, anew in each split": by_split(N24, ("left", "right"), "{s}/{c}/p{k}_{t}.png"),
}  # fmt: skip

ASKED = {
    "shots, anew in each class": by_class(N24, (1, 2, 3), "{c}/{k}_{t}.png"),
    "numbers of people in both classes": by_class(SPARSE, ("",), "{c}/{k}{t}.png"),
    "eight folders of numbers": of(range(1, 9), range(9), "{c}/{k}/{t}.png"),
    "three patients": of(("p1", "p2", "p3", "p4"), ("slice1", "slice2", "slice3")),
    "numbered and random": of(range(1, 25), lambda i: [f"{HEX16[i][j:]}q" for j in range(3)]),
}  # fmt: skip

NONE = {
    "case numbers by class": by_class(N24, ("",), "{c}/case_{k:03d}{t}.png"),
    "patient numbers by class": by_class(N24, ("",), "{c}/patient {k}{t}.png"),
    "named by class and counted": [(f"{c}/{c}_{k}.png", c, "") for c in CLASSES for k in N24],
    "BUSI": [(f"{c}/{c} ({k}).png", c, "") for c in CLASSES for k in N24],
    "HRF": [(f"{c}/{k:02d}_{c[0]}.jpg", c, "") for c in CLASSES for k in N24],
    "Shenzhen": [(f"{c}/CHNCXR_{2 * k + j:04d}_{j}.png", c, "") for j, c in enumerate(CLASSES) for k in N24],
    "brain MRI": [(f"{s}/{c}/{s[:2]}-{c[:2]}_{k:04d}.jpg", c, "") for s in ("Training", "Testing") for c in CLASSES for k in N24],
    "ISIC": of(range(24306, 24354), ("",), "{c}/ISIC_{k:07d}.jpg"),
    "UUIDs": of(UUIDS, ("",), "{c}/{k}{t}.jpg"),
    "hex": of(HEX16, ("",), "{c}/{k}{t}.png"),
    "one number": of(range(60), ("",), "{c}/{k}{t}.png"),
    "one number for both": [(f"{c}/{k}.png", c, "") for c in CLASSES for k in N24],
    "letters and numbers": of(range(60), ("",), "{c}/lungaca{k}.jpeg"),
    "days": of(DAYS[:12], ("001", "002", "003")),
    "days with a word": of(DAYS[:12], ("144104", "144207"), "{c}/IMG_{k}_{t}.jpg"),
    "years": of(range(2008, 2020), (1, 2, 3), "{c}/{k}/{t}.png"),
    "folds": of(range(1, 11), range(1, 9), "{c}/fold{k}/{j}{i}.png"),
    "batches in names": of(range(1, 11), range(1, 9), "{c}/batch{k}_{t}.png"),
    "parts": of((1, 2), range(30), "images_part_{k}/ISIC_{i}{t}.jpg"),
    "subtypes": of(("adenosis", "fibroadenoma", "phyllodes", "tubular", "ductal", "lobular"), range(8)),
    "subtype folders": of(("adenosis", "fibroadenoma", "phyllodes", "tubular", "ductal", "lobular"), range(8), "{c}/{k}/{t}.png"),
    "magnifications": of(("40X", "100X", "200X", "400X", "10X", "20X"), range(8), "{c}/{k}/{i}{t}.png"),
    "scenes": of(("art", "nat", "bea", "cdmc", "gre", "land"), range(900, 910), "{c}/{k}{t}.jpg"),
    "slice number first": [(f"{c}/{k} ({t}).jpg", c, "") for c in CLASSES for k in range(26, 33) for t in range(1, 12)],
    "NCT-CRC": of([f"{c}{d}{e}" for c, d, e in itertools.product("ABCD", "KLM", "XYZW")], ("",), "{c}/{c}-AAA{k}{t}.tif"),
    "folders at several depths": [
        (f"{c}/{'more/' * (k % 3)}{k % 8}_{k // 8}.png", c, "") for c in CLASSES for k in range(48)
    ],
    "shards": of([f"images_{i:03d}" for i in range(1, 13)], range(5), "{k}/images/{c}{i}{t}.png"),
    "shelves of hashes": [(f"{c}/{h[:2]}/{h}.png", c, "") for i, h in enumerate(HEX16) for c in CLASSES[i % 2 : i % 2 + 1]],
    "sizes": of((16, 32, 64, 128, 256, 512), range(6), "{c}/{k}x{i}{t}.png"),
    "anew in each split": by_split(N24, ("",), "{s}/{c}/img_{k}{t}.png"),
    "anew in each split and class": [(f"{s}/{c}/img_{k}.png", c, "") for s in ("train", "test") for c in CLASSES for k in N24],
    "class inside the number": [(f"{c}/{c}-{k // 10}{k % 10}.png", c, "") for c in CLASSES for k in N24],
    "COVID radiography": [(f"{c}/{c.upper()}-{k}.png", c, "") for c in CLASSES for k in N24],
    "synsets": [(f"{c}/n0144076{j}_{k}.JPEG", c, "") for j, c in enumerate(CLASSES) for k in N24],
    "cameras": of(("cam1", "cam2", "cam3", "cam4", "cam5", "cam6"), range(9)),
    "sites": of([f"site{i:02d}" for i in range(12)], range(9)),
    "magnified": of([f"{m}x" for m in (10, 20, 40, 60, 100, 200)], range(9)),
    "downloads": [(f"{c}/image ({k}).jpg", c, "") for c in CLASSES for k in N24],
    "grid": [(f"{CLASSES[(i * 7 + j * 3) // 5 % 2]}/{i}_{j}.png", CLASSES[(i * 7 + j * 3) // 5 % 2], "") for i in range(9) for j in range(9)],
    "versions": of(("v1", "v2", "v3", "v4", "v5"), range(9)),
    "class numbers below parts": [(f"{p}/{s}/{c}/i{j}_{k:03d}.png", c, "") for p in ("x", "y", "z") for s in ("train", "test") for j, c in enumerate(CLASSES) for k in N24],
    "weeks": of([f"week{i}" for i in range(12)], range(9)),
    "MedMNIST": [(f"{s}/{k}", CLASSES[k % 2], "") for s in ("train", "test") for k in range(60)],
}  # fmt: skip


def read(rows):
    ids = np.array([row[0] for row in rows])
    splits = np.array(
        [{"train": "train", "test": "test"}.get(i.split("/")[0], "") for i in ids], dtype="U5"
    )
    classes = np.array([row[1] for row in rows])
    assert len(set(ids.tolist())) == len(ids)
    return apply_grouping(ids, splits, {}, classes), ids, splits, classes


def partition(names):
    """The rows that share a name, as a set of sets."""
    members: dict[str, set[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(str(name), set()).add(row)
    return {frozenset(rows) for rows in members.values()}


@pytest.mark.parametrize("rows", SURE.values(), ids=SURE)
def test_patients_are_found(rows):
    (groups, grouping, findings), ids, splits, classes = read(rows)
    assert findings == ()
    assert grouping.guessed
    assert partition(groups) == partition([row[2] for row in rows]), grouping.text
    again, stated, _ = apply_grouping(ids, splits, {}, classes, group=grouping.rule)
    assert again.tolist() == groups.tolist()  # `rule` is what a user would type to get the same
    assert not stated.guessed


@pytest.mark.parametrize("rows", ASKED.values(), ids=ASKED)
def test_what_is_only_possible_is_asked(rows):
    (groups, grouping, findings), *_ = read(rows)
    assert len(set(groups.tolist())) == len(rows), grouping.text
    (finding,) = findings
    assert (finding.check, finding.severity) == ("possible_groups", "warn")
    assert "--group" in finding.remedy
    assert "--no-groups" in finding.remedy


@pytest.mark.parametrize("rows", NONE.values(), ids=NONE)
def test_no_patients_where_names_do_not_tell(rows):
    (groups, grouping, findings), *_ = read(rows)
    assert (grouping.rule, findings) == ("none", ())
    assert len(set(groups.tolist())) == len(rows)


def test_a_few_other_names_are_groups_of_their_own():
    """A few names of another kind change nothing; they are groups of their own."""
    rows = of(SPARSE, SIDES, "{c}/{k}_{t}.jpeg")
    (groups, _, _), *_ = read([*rows, ("ill/logo.png", "ill", "logo"), ("ill/x.png", "ill", "x")])
    assert partition(groups) == partition([*(row[2] for row in rows), "logo", "x"])


@pytest.mark.parametrize(
    "name", ["EyePACS", "OASIS", "folders of numbers", "P, anew in each split"]
)
def test_the_order_of_rows_does_not_matter(name):
    rows = SURE[name]
    (groups, grouping, _), ids, *_ = read(rows)
    owner = dict(zip(ids.tolist(), groups.tolist(), strict=True))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        (again, told, _), ids, *_ = read([rows[i] for i in order])
        assert [owner[i] for i in ids.tolist()] == again.tolist()
        assert told == grouping


def test_names_that_say_unknown_join_nothing():
    rows = of(SPARSE, SIDES) + [
        (f"{CLASSES[i % 2]}/unknown_{i}.png", CLASSES[i % 2], f"?{i}") for i in range(2)
    ]
    (groups, *_), *_ = read(rows)
    assert partition(groups) == partition([row[2] for row in rows])
    (groups, *_), ids, splits, classes = read(rows)
    asked, *_ = apply_grouping(ids, splits, {}, classes, group=r"regex:^(\d+|unknown)_")
    assert partition(asked) == partition([row[2] for row in rows])


def test_a_pattern_with_a_slash_is_searched_in_the_whole_path():
    rows = of(N20, (1, 2), "train/{c}/{k}/{t}.png")
    _, ids, splits, classes = read(rows)
    groups, *_ = apply_grouping(ids, splits, {}, classes, group="regex:^train/([^/]+)/([^/]+)/")
    assert groups[0] == "name:normal_1"
    assert len(set(groups.tolist())) == 20


def test_series_that_osirix_exports_are_not_patients():
    """Every patient's are IM-0001, IM-0002, …, as those of a set of children's X-rays are."""
    rows = [
        (f"{'ab'[p % 2]}/P{p:03d}/IM-{s:04d}-{k:04d}.jpg", p)
        for p in range(24)
        for s in range(1, 4)
        for k in range(2)
    ]
    (groups, _, findings), *_ = read([(path, path[0], str(p)) for path, p in rows])
    assert partition(groups) == partition([p for _, p in rows])
    assert findings == ()


def test_what_counts_anew_is_said():
    (_, grouping, _), *_ = read(SURE["P, anew in each split"])
    assert "numbered anew in test, train" in grouping.text


def test_folders_may_be_named_by_those_who_know_the_layout():
    """Classes that the folders do not spell, as after --rename: the class level is no patient."""
    rows = [(f"K{i % 2}/{100 + i}/{j}.png", CLASSES[i % 2]) for i in range(24) for j in range(3)]
    ids, classes = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    folders = [tuple(i.split("/")[1:-1]) for i in ids.tolist()]
    groups, grouping, _ = apply_grouping(ids, np.full(72, ""), {}, classes, folders=folders)
    assert partition(groups) == partition([i.split("/")[1] for i in ids.tolist()])
    assert grouping.rule == "regex:^[^/]+/([^/]+)/"


SURNAMES = [
    "smith",
    "jones",
    "brown",
    "garcia",
    "miller",
    "davis",
    "lopez",
    "wilson",
    "moore",
    "taylor",
    "lee",
    "white",
    "harris",
    "clark",
]


@pytest.mark.parametrize(
    ("names", "each", "warned"),
    [
        (SURNAMES, 3, True),
        (SURNAMES[:8], 3, False),  # as many kinds may have
        (SURNAMES, 20, False),
        (
            [
                "img",
                "image",
                "scan",
                "slice",
                "view",
                "left",
                "right",
                "rot",
                "flip",
                "crop",
                "lat",
                "front",
                "study",
                "series",
            ],
            3,
            False,
        ),
    ],
)
def test_surnames_are_warned_of_and_never_joined(names, each, warned):
    rows = of(names, [f"{i:02d}" for i in range(1, each + 1)])
    ids, classes = (np.array([row[at] for row in rows]) for at in (0, 1))
    groups, _, findings = apply_grouping(ids, np.full(len(ids), ""), {}, classes)
    assert len(set(groups.tolist())) == len(ids)
    told = " ".join(one.text for one in findings if one.check == "possible_groups")
    assert ("14 groups, such as" in told) == warned
