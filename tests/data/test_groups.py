"""Groups: columns, patterns, habits of naming; and the shorter keys that leakage will judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medgraft.data.groups.grouping import apply_grouping, crossing
from medgraft.data.groups.paths import short_keys
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def grouped(ids, classes=None, splits=None, metadata=None, group=None, no_groups=False):
    """Group with what matters; the class is the first folder unless told otherwise."""
    ids = np.array(ids)
    classes = np.array([i.split("/")[0] for i in ids] if classes is None else classes)
    splits = np.array([""] * len(ids) if splits is None else splits)
    metadata = {k: np.array(v) for k, v in (metadata or {}).items()}
    groups, grouping, _ = apply_grouping(ids, splits, metadata, classes, group, no_groups)
    return groups.tolist(), grouping


def partition(groups):
    """The sets of row numbers that share a group."""
    return {frozenset(i for i, g in enumerate(groups) if g == name) for name in groups}


def test_nothing_known_is_each_its_own():
    groups, grouping = grouped(["a/x.png", "b/y.png"])
    assert groups == ["image:a/x.png", "image:b/y.png"]
    assert (grouping.rule, grouping.guessed) == ("none", False)


def test_column_with_gaps():
    groups, grouping = grouped(
        ["1.png", "2.png", "3.png", "4.png"],
        classes=["a", "b", "a", "b"],
        metadata={"site": ["x", "", "x", ""]},
        group="site",
    )
    assert groups == ["column:x", "image:2.png", "column:x", "image:4.png"]
    assert (grouping.rule, grouping.guessed) == ("site", False)
    assert "4 images were joined into 3 groups by column 'site'" in grouping.text
    assert "2 without a key are groups of their own" in grouping.text


def test_column_named_like_a_patients_is_used_and_said_so():
    metadata = {"Patient ID": ["7", "7", "8"]}
    ids, classes = ["1.png", "2.png", "3.png"], ["a", "b", "a"]
    groups, grouping = grouped(ids, classes, metadata=metadata)
    assert partition(groups) == {frozenset({0, 1}), frozenset({2})}
    assert grouping.rule == "Patient ID"
    assert grouping.guessed
    assert "because of its name" in grouping.text
    assert "--no-groups" in grouping.text
    assert len(partition(grouped(ids, classes, metadata=metadata, no_groups=True)[0])) == 3
    empty = {"patient": ["", "", ""]}
    assert grouped(ids, classes, metadata=empty)[1].rule == "none"


def test_a_file_that_is_called_like_a_key_does_not_join_its_group():
    groups, _ = grouped(
        ["x", "y", "z"], ["a", "b", "a"], metadata={"g": ["image:z", "image:z", ""]}, group="g"
    )
    assert partition(groups) == {frozenset({0, 1}), frozenset({2})}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("patient", r"no group column 'patient' \(further columns: age\).*--no-groups"),
        ("age", "group column 'age' is empty"),
        ("regex:(", "is not a regular expression"),
        ("regex:zebra", "matches none of the 2 file names"),
    ],
)
def test_groupings_that_are_refused(group, message):
    with pytest.raises(DataError, match=message):
        grouped(["1.png", "2.png"], ["a", "b"], metadata={"age": ["", ""]}, group=group)


def test_regex_with_and_without_capture_groups():
    ids = ["a/p1-l.png", "a/p1-r.png", "b/p2-l.png", "b/nune.png"]
    groups, grouping = grouped(ids, group=r"regex:p\d+-[lr]")
    assert groups == ["name:p1-l", "name:p1-r", "name:p2-l", "image:b/nune.png"]
    assert grouping.rule == r"regex:p\d+-[lr]"
    groups, _ = grouped(ids, group=r"regex:(p)(\d+)-[lr]")
    assert groups == ["name:p_1", "name:p_1", "name:p_2", "image:b/nune.png"]
    groups, _ = grouped(ids, group=r"regex:p(\d)+|nu(x)?ne")  # a group that took no part
    assert groups == ["name:1", "name:1", "name:2", "name:nune"]


def test_regex_looks_at_the_file_name_first_and_never_at_class_or_split():
    ids = ["train/case1/case9.png", "train/case1/p7/x.png", "train/case1/p7/y.png"]
    ids += ["train/case1/z.png"]
    groups, _ = grouped(ids, classes=["case1"] * 4, group=r"regex:(?:p|case)\d+|train")
    assert groups == ["name:case9", "name:p7", "name:p7", "image:train/case1/z.png"]


def test_proposal_for_folders_of_patients():
    ids = [f"train/a/patient0000{p}/study1/view{v}.png" for p in (1, 2) for v in (1, 2)]
    ids += [f"train/b/patient0000{p}/study1/view1.png" for p in (2, 3)]
    groups, grouping = grouped(ids, classes=["a"] * 4 + ["b"] * 2)
    assert partition(groups) == {frozenset({0, 1}), frozenset({2, 3, 4}), frozenset({5})}
    assert grouping.guessed
    assert grouped(ids, classes=["a"] * 4 + ["b"] * 2, group=grouping.rule)[0] == groups


FILLERS = {  # further patients, so that every class keeps two groups
    "pe": ["person3_bacteria_1.jpeg"],
    "NO": [],
    "00": ["00000002_000.png"],
    "SO": [],
    "TC": ["TCGA-XY-9999-01A.png"],
    "Pa": [],
}


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["person1_virus_6.jpeg", "person1_virus_7.jpeg"], ["person1_virus"] * 2),
        (["NORMAL2-IM-0115-0001.jpeg", "IM-0115-0001.jpeg"], ["NORMAL2-IM-0115", "IM-0115"]),
        (["00000001_000.png", "00000001_001.png"], ["00000001"] * 2),
        (["SOB_B_TA-14-4659-40-001.png", "SOB_M_DC-14-2523-40-001.png"], ["14-4659", "14-2523"]),
        (["TCGA-02-0001-01Z-00-DX1.png", "TCGA-02-0001-01Z-00-DX2.png"], ["TCGA-02-0001"] * 2),
        (["Patient_12_left.png", "subj-3.png"], ["Patient_12", "subj-3"]),
    ],
)
def test_habits(names, keys):
    # the same names in two folders, so that every habit joins something
    ids = [f"{side}/{name}" for side in ("a", "b") for name in names]
    ids += [f"{side}/{filler}" for side in ("a", "b") for filler in FILLERS[names[0][:2]]]
    groups, grouping = grouped(ids)
    assert groups[: len(names)] == [f"name:{key}" for key in keys]
    assert grouping.guessed


@pytest.mark.parametrize(
    "names",
    [
        ["arnat59.jpg", "art1204.jpg", "a866048.jpg", "bost100.jpg"],
        ["lungaca1135.jpeg", "lungn91.jpeg", "lungscc893.jpeg"],
        ["fd7f1cc4-a819-4253-b778-9ed68816d343.jpg", "0cafab70-d514-45d5-b999-8d7bfb8cbe5e.jpg"],
        ["20190101_001.png", "20190101_002.png"],  # a date, not a patient
        ["transcript12.png", "prompt3.png", "showcase4.png"],
        ["ISIC_0024306.jpg", "ISIC_0024307.jpg"],
    ],
)
def test_habits_are_not_seen_where_there_are_none(names):
    ids = [f"{side}/{name}" for side in ("a", "b") for name in names]
    assert grouped(ids)[1].rule == "none"


def test_no_proposal_where_it_fits_too_few_joins_none_or_leaves_a_class_one_group():
    fitting = [f"{c}/patient{i}_{v}.png" for c in "ab" for i in range(10) for v in range(2)]
    assert grouped([*fitting, "a/x.png", "b/y.png"])[1].guessed  # 40 of 42 is 95.2 %
    assert not grouped([*fitting, "a/x.png", "b/y.png", "b/z.png"])[1].guessed  # 93.0 %
    assert not grouped(["a/patient1.png", "a/patient2.png", "b/patient3.png"])[1].guessed
    one_each = [f"{c}/patient{n}_{v}.png" for c, n in (("a", 1), ("b", 2)) for v in "xyz"]
    assert not grouped(one_each)[1].guessed  # patient1 is all of a
    assert not grouped(fitting, no_groups=True)[1].guessed


def test_text_says_what_lies_in_several_splits():
    ids = ["a/p1_1.png", "b/p1_2.png", "a/p2_1.png", "b/p3_1.png"]
    _, grouping = grouped(ids, splits=["train", "test", "test", "train"], group=r"regex:p\d")
    assert "1 of the groups lies in several splits" in grouping.text


def test_crossing():
    keys = np.array(["p1", "p1", "p2", "p2", "", "", "p3", "p3"])
    splits = np.array(["train", "test", "train", "train", "train", "test", "", "test"])
    assert crossing(keys, splits).tolist() == ["p1"]
    assert crossing(keys, np.full(8, "")).tolist() == []


def test_short_keys():
    ids = np.array(["t/N/NORMAL2-IM-0115-0001.jpeg", "t/P/person12_virus_3.jpeg"])
    found = {name: keys.tolist() for name, keys in short_keys(ids).items()}
    assert found == {"personN": ["", "person12"], "IM-N": ["IM-0115", ""]}
    assert short_keys(np.array(["a/1.png", "b/2.png"])) == {}


@needs_shared
def test_chest_xray_keys():
    """The counts of the set's SOURCE.md: long keys never cross the splits, shorter ones do."""
    table = load(SHARED / "chest_xray")
    assert table.grouping.guessed
    assert "5,856 images were joined into 4,097 groups" in table.grouping.text
    assert "none of the groups lie in several splits" in table.grouping.text
    names = np.unique(table.groups)
    assert sum("person" in name for name in names) == 2653
    assert sum("IM-" in name for name in names) == 1444
    assert len(names) == 2653 + 1444
    assert len(crossing(table.groups, table.splits)) == 0
    crossed = {k: len(crossing(v, table.splits)) for k, v in short_keys(table.ids).items()}
    assert crossed == {"personN": 170, "IM-N": 94}
    alone = load(SHARED / "chest_xray", LoadOptions(no_groups=True))
    assert len(np.unique(alone.groups)) == 5856


@needs_shared
@pytest.mark.parametrize("name", ["scenes_ot8", "hyperkvasir5", "lc25000_lung_unique"])
def test_sets_without_patients_in_their_names(name):
    table = load(SHARED / name)
    assert table.grouping.rule == "none"
    assert len(np.unique(table.groups)) == len(table)
