"""Columns of tables: which are taken for patients, which are asked about, which are neither.

40 or 60 images of two classes; what is right was worked out by hand for each.
"""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.data.groups.columns import PERSON, column_candidates, rank_of
from medgraft.data.groups.grouping import apply_grouping
from medgraft.errors import DataError

N = 60
CLASSES = np.array(["normal" if i < N // 2 else "ill" for i in range(N)])
OWNER = [i // 3 for i in range(N)]  # twenty patients of three images each, ten of each class
rng = np.random.default_rng(14)


def grouped(asked=None, **columns):
    ids = np.array([f"images/{i:04d}.png" for i in range(N)])
    metadata = {name: np.array([str(v) for v in values]) for name, values in columns.items()}
    return apply_grouping(ids, np.full(N, "", "U5"), metadata, CLASSES, asked)


def partition(names):
    members: dict[str, set[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(str(name), set()).add(row)
    return {frozenset(rows) for rows in members.values()}


NAMED = [
    "PatientID",
    "patientId",
    "patientid",
    "Patient_ID",
    "patient",
    "SubjectID",
    "subject_no",
    "participant_id",
    "pid",
    "MRN",
    "eid",
    "individual",
    "donor_id",
    "mouse_id",
    "AnonymizedPatientID",
    "lesion_id",
    "study_id",
    "StudyInstanceUID",
    "slide_id",
    "SeriesInstanceUID",
    "accession_number",
    "exam_id",
    "case_id",
    "specimen",
    "tumor_id",
    "video",
    "volunteer",
    "PtID",
    "group",
]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("value", ["u{:04d}x", "{}", "{:05d}", "P{}"])
def test_columns_known_by_their_name(name, value):
    groups, grouping, findings = grouped(**{name: [value.format(k) for k in OWNER]})
    assert partition(groups) == partition(OWNER)
    assert (grouping.rule, grouping.guessed, findings) == (name, True, ())
    assert f"by column '{name}', because of its name" in grouping.text


@pytest.mark.parametrize("name", [name for name in NAMED if rank_of(name) == PERSON])
@pytest.mark.parametrize("value", ["2015{:04d}", "201503{:02d}0042", "20{:02d}"])
def test_the_number_of_a_patient_may_begin_with_a_year(name, value):
    groups, grouping, _ = grouped(**{name: [value.format(k + 1) for k in OWNER]})
    assert partition(groups) == partition(OWNER)
    assert grouping.rule == name


def test_the_arm_of_a_trial_is_nobody_where_patients_are_named():
    arm = ["ab"[owner % 2] for owner in OWNER]
    patients = [f"u{owner:04d}x" for owner in OWNER]
    for columns in ({"patient_id": patients, "group": arm}, {"group": arm, "patient_id": patients}):
        groups, grouping, _ = grouped(**columns)
        assert partition(groups) == partition(OWNER)
        assert grouping.rule == "patient_id"
    assert grouped(group=arm)[1].rule == "none"


def test_a_patient_in_capitals_is_the_same_patient():
    mixed = [f"{'pP'[i % 2]}{owner:02d}" for i, owner in enumerate(OWNER)]
    assert partition(grouped(patient_id=mixed)[0]) == partition(OWNER)


@pytest.mark.parametrize("name", ["hasta", "identifiant", "Fall", "key", "code", "ref"])
def test_columns_known_by_their_values(name):
    groups, grouping, findings = grouped(**{name: [f"u{k:04d}x" for k in OWNER]})
    assert partition(groups) == partition(OWNER)
    assert "because its values repeat as patients do" in grouping.text
    groups, grouping, findings = grouped(**{name: [1000 + 7 * k for k in OWNER]})
    if grouping.rule == "none":  # mere numbers under an unknown name: taken or asked about
        assert [f.check for f in findings] == ["possible_groups"]
        assert f"--group {name}" in findings[0].remedy
    else:
        assert partition(groups) == partition(OWNER)


def spread(values):
    """As many values as images, at random, whatever the class."""
    return rng.choice(values, N).tolist()


NEITHER = {
    "age": spread(range(20, 90)),
    "PatientAge": spread(range(20, 90)),
    "patientage": spread(range(20, 90)),
    "alter": spread(range(20, 90)),  # an age under a name we do not know
    "age_f": spread([f"{a}.0" for a in range(20, 90, 5)]),
    "sex": spread(["M", "F"]),
    "site": spread([f"H{i:04d}" for i in range(12)]),
    "scanner": spread([f"SN{i:05d}" for i in range(12)]),
    "study_date": [f"2019010{1 + k % 9}" for k in OWNER],
    "when": [f"2019-01-{1 + k:02d}" for k in OWNER],
    "year": [2000 + k for k in OWNER],
    "height": [1000 + 7 * k for k in OWNER],
    "width": [1000 + 7 * k for k in OWNER],
    "dx_type": spread(["histo", "follow_up", "consensus"]),
    "localization": spread(["back", "face", "lower extremity", "trunk"]),
    "remark": [f"a long remark about what is seen in {k}" for k in OWNER],
    "diagnosis": CLASSES.tolist(),
    "truth": ["B0" if c == "normal" else "M1" for c in CLASSES],
    "group": ["control" if c == "normal" else "case" for c in CLASSES],  # the arm of a study
    "case": ["no" if c == "normal" else "yes" for c in CLASSES],
    "index": list(range(N)),
    "": list(range(N)),
    "image_id": [f"ISIC_{i:07d}" for i in range(N)],
    "constant": ["x"] * N,
    "patient": ["p1"] * N,
    "patient_id": ["unknown"] * N,
    "subject": ["nan"] * 30 + [""] * 30,
    "visit": [k % 3 for k in range(N)],
    "visit_no": [1 + k % 3 for k in range(N)],
    "case_no": [i % 30 for i in range(N)],  # each number once in each class
    "series_description": spread(["axial", "sagittal"]),
    "score": spread([f"{i / 100:.2f}" for i in range(30)]),
    "eye": spread(["OD", "OS"]),
    "kvp": spread(range(60, 120)),
    "fold": spread(range(5)),
    "batch": [k // 2 for k in OWNER],
    "annotator": spread([f"R{i:03d}" for i in range(12)]),
    "quelle": spread([f"{i}" for i in range(4)]),
    "skin": spread(["I", "II", "III", "IV", "V", "VI"]),
}


@pytest.mark.parametrize("name", NEITHER)
def test_columns_that_are_never_taken(name):
    groups, grouping, findings = grouped(**{name: NEITHER[name]})
    assert len(set(groups.tolist())) == N, grouping.text
    if name != "case_no":
        assert findings == ()


def test_a_number_that_stands_once_in_each_class_is_asked_about():
    _, grouping, findings = grouped(case_no=[i % 30 for i in range(N)])
    assert grouping.rule == "none"
    assert "--group case_no" in findings[0].remedy
    _, grouping, findings = grouped(patient=[i % 30 for i in range(N)])
    assert grouping.rule == "none"
    assert "--group patient" in findings[0].remedy
    paired = [f"TH{4000 + 17 * (i % 30)}" for i in range(N)]  # tumour and normal of one patient
    assert grouped(patient=paired)[1].rule == "patient"


def test_the_coarsest_that_contains_the_others():
    lesion = [f"L{i // 2:04d}" for i in range(N)]
    study = [f"S{i // 6:04d}" for i in range(N)]
    person = [f"P{i // 6}" for i in range(N)]
    _, grouping, findings = grouped(lesion_id=lesion, StudyID=study)
    assert (grouping.rule, findings) == ("StudyID", ())
    _, grouping, findings = grouped(lesion_id=lesion, PatientID=person, StudyID=study)
    assert (grouping.rule, findings) == ("PatientID", ())
    wide = [f"S{i // 15:04d}" for i in range(N)]  # a study of several patients: the person counts
    assert grouped(StudyID=wide, PatientID=person)[1].rule == "PatientID"


def test_things_that_cut_across_persons_are_said():
    person = [f"P{i // 6}" for i in range(N)]
    slide = [f"W{(i + 3) // 6:04d}" for i in range(N)]
    groups, _, (finding,) = grouped(PatientID=person, slide_id=slide)
    assert partition(groups) == partition(person)
    assert "slide_id" in finding.text
    assert "--group slide_id" in finding.remedy


def test_two_that_contradict_each_other_are_a_question():
    one = [f"A{i // 6:04d}" for i in range(N)]
    two = [f"B{(i + 3) // 6:04d}" for i in range(N)]
    with pytest.raises(DataError, match="--group lesion_id or --group slide_id, or --no-groups"):
        grouped(lesion_id=one, slide_id=two)
    with pytest.raises(DataError, match="--group MRN or --group pid"):
        grouped(MRN=one, pid=two)
    assert grouped("pid", MRN=one, pid=two)[1].rule == "pid"


def test_what_repeats_nowhere_is_said():
    once = [f"HAM_{i:07d}" for i in range(N)]
    groups, grouping, findings = grouped(lesion_id=once, dx_type=spread(["histo", "consensus"]))
    assert groups.tolist() == [f"image:images/{i:04d}.png" for i in range(N)]
    assert grouping.text == (
        "Each image is its own group: 'lesion_id' names each image once, so nothing was joined."
    )
    assert (grouping.rule, findings) == ("none", ())
    _, grouping, _ = grouped(PatientID=once)
    assert grouping.rule == "PatientID"  # which patient an image is of is known
    assert "names each image once" in grouping.text


def test_a_number_of_each_image_does_not_hide_what_names_tell():
    ids = np.array([f"{i // 2 * 7}_{('left', 'right')[i % 2]}.png" for i in range(N)])
    once = {"pid": np.arange(N).astype(str)}
    groups, *_ = apply_grouping(ids, np.full(N, "", "U5"), once, CLASSES)
    assert partition(groups) == partition([i // 2 for i in range(N)])


@pytest.mark.parametrize("word", ["unknown", "nan", "", "N/A", "None", " ", "-1", "UNKNOWN", "?"])
@pytest.mark.parametrize("group", [None, "patient_id"])
def test_missing_values_never_join(word, group):
    values = [f"P{k}" if k % 5 else word for k in OWNER]
    groups, grouping, _ = grouped(group, patient_id=values)
    alone = [i for i, k in enumerate(OWNER) if not k % 5]
    assert [groups[i] for i in alone] == [f"image:images/{i:04d}.png" for i in alone]
    assert "12 without a key are groups of their own" in grouping.text


@pytest.mark.parametrize("asked", [None, "patient_id"])
def test_numbers_are_the_same_however_they_are_written(asked):
    written = [f"{key}.0" if row % 2 else key for row, key in enumerate(OWNER)]
    groups, _, _ = grouped(asked, patient_id=written)
    assert partition(groups) == partition(OWNER)


def test_equal_keys_are_never_torn_and_order_does_not_matter():
    columns = {
        "lesion_id": [f"L{i // 2:04d}" for i in range(N)],
        "PatientID": [f"P{k}" for k in OWNER],
    }
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(N)
        ids = np.array([f"images/{i:04d}.png" for i in order])
        metadata = {name: np.array(values)[order] for name, values in columns.items()}
        groups, grouping, _ = apply_grouping(ids, np.full(N, "", "U5"), metadata, CLASSES[order])
        assert grouping.rule == "PatientID"
        assert groups.tolist() == [f"column:P{OWNER[i]}" for i in order]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("PatientID", 0), ("patients", 0), ("Patient Number", 0), ("medical_record_number", 0),
        ("Pat. Nr.", 0), ("lesionID", 1), ("WSI", 1), ("study_uid", 1),
        ("PatientSex", None), ("patient_weight", None), ("lesion_type", None), ("StudyDate", None),
        ("SliceThickness", None), ("sop_instance_uid", None), ("n_visits_before", 2), ("hasta", 2),
    ],
)  # fmt: skip
def test_what_a_columns_name_says(name, rank):
    assert rank_of(name) == rank


def test_a_single_class_and_no_labels():
    owner = np.array([f"u{k:04d}x" for k in OWNER])
    for classes in (np.full(N, "one"), np.full(N, "")):
        (found,) = column_candidates({"patient": owner}, classes)
        assert found.sure
