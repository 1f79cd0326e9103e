"""Tables of patients, several tables of the same images, tables beside class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.types import ImageTable
from named_files import put

PATIENTS = [f"P{i:03d}" for i in range(8)]
ROWS = [f"{p},{'ab'[i % 2]}" for i, p in enumerate(PATIENTS)]
RIGHT = {p: "ab"[i % 2] for i, p in enumerate(PATIENTS)}


def written(root: Path, name: str, header: str, rows: list[str]) -> Path:
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    return root / name


def by_patient(table: ImageTable, patient_at: slice) -> dict[str, set[str]]:
    """Patient, from the file's own path → classes."""
    found: dict[str, set[str]] = {}
    for id_, label in zip(table.ids.tolist(), table.labels.tolist(), strict=True):
        name = id_.replace("images/", "").removeprefix("left-")[patient_at]
        found.setdefault(name, set()).add(table.classes[label])
    return found


def findings(table: ImageTable, check: str) -> list[str]:
    return [f"{one.severity}: {one.text}" for one in table.findings if one.check == check]


# ------------------------------------------------------------------- rows of patients


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    ("column", "file"),
    [
        ("patient_id", "{}/x{}.png"),
        ("subject", "{}/visit1/x{}.png"),
        ("patient_id", "{}_{}.png"),
        ("id", "{} ({}).png"),
        ("slide", "{}-{}.png"),
        ("ID", "{}/{}.png"),
        ("folder", "{}/{}.png"),
    ],
)
def test_a_row_for_a_patient_labels_all_its_images(tmp_path, given, column, file):
    put(tmp_path, *(f"images/{file.format(p, i)}" for p in PATIENTS for i in range(3)))
    path = written(tmp_path, "labels.csv", f"{column},diagnosis,age", [f"{r},5" for r in ROWS])
    table = load(path if given else tmp_path)
    assert len(table) == 24
    assert by_patient(table, slice(4)) == {p: {c} for p, c in RIGHT.items()}
    assert set(table.groups.tolist()) == {f"column:{p}" for p in PATIENTS}
    assert table.grouping.rule == column
    assert f"found by {column}" in findings(table, "table")[0]
    assert set(table.metadata) == {column, "age"}


def test_the_end_of_a_name_and_numbers_without_their_noughts(tmp_path):
    put(tmp_path / "a", *(f"images/{side}-{p}.png" for p in PATIENTS for side in ("left", "od")))
    written(tmp_path / "a", "labels.csv", "patient,dx", ROWS)
    assert len(set(load(tmp_path / "a").groups.tolist())) == 8
    put(tmp_path / "b", *(f"images/{i:04d}/{s}.png" for i in range(1, 9) for s in "xy"))
    written(tmp_path / "b", "labels.csv", "patient,dx", [f"{i}.0,{i % 2}" for i in range(1, 9)])
    table = load(tmp_path / "b")
    assert len(set(table.groups.tolist())) == 8
    assert [c for id_, c in zip(table.ids, table.labels, strict=True) if "0003" in id_] == [1, 1]


def test_masks_of_a_patient_are_no_images_of_it(tmp_path):
    put(tmp_path, *(f"{kind}/{p}/{i}.png" for kind in ("images", "masks") for p in PATIENTS
                    for i in range(2)))  # fmt: skip
    path = written(tmp_path, "labels.csv", "patient_id,dx", ROWS)
    assert {id_.split("/")[0] for id_ in load(path).ids.tolist()} == {"images"}


@pytest.mark.parametrize(
    ("header", "rows", "files"),
    [
        ("patient_id,dx", [r.replace("P", "Q") for r in ROWS], "{}/x{}.png"),  # of other patients
        ("patient_id,dx", ROWS + [f"Z{i},a" for i in range(8)], "{}/x{}.png"),  # half, see below
        ("patient_id,dx", ROWS, "x{}y{}.png"),  # not a whole word
        ("patient_id,dx", [f"{i},{'ab'[i % 2]}" for i in range(1, 4)], "x{}_{}.png"),  # a count
        ("a_id,b_id,dx", [f"{p},P00{7 - i},a" for i, p in enumerate(PATIENTS)], "{}/x{}.png"),
        ("image,patient_id,dx", [f"q{i}.png,{r}" for i, r in enumerate(ROWS)], "{}/x{}.png"),
    ],
)
def test_what_is_not_sure_is_not_taken_for_patients(tmp_path, header, rows, files):
    put(tmp_path, *(f"images/{files.format(p, i)}" for p in PATIENTS for i in range(3)))
    put(tmp_path, *(f"images/other_{i}.png" for i in range(3)))  # a part of the images has no row
    with pytest.raises(DataError, match=r"names no image|no column 'path'"):
        load(written(tmp_path, "labels.csv", header, rows))


def test_a_path_of_two_patients_is_nobodys(tmp_path):
    put(tmp_path, *(f"images/{p}/{i}.png" for p in PATIENTS for i in range(3)))
    path = written(tmp_path, "labels.csv", "patient_id,dx", ROWS)
    assert len(load(path)) == 24
    put(tmp_path, "images/P001/P002/3.png")
    with pytest.raises(DataError, match="no column 'path'"):
        load(path)


def test_a_table_of_more_patients_than_are_here(tmp_path):
    put(tmp_path, *(f"images/{p}/x{i}.png" for p in PATIENTS for i in range(2)))
    written(tmp_path, "labels.csv", "patient_id,dx", ROWS + [f"P{i},a" for i in range(100, 150)])
    table = load(tmp_path)
    assert by_patient(table, slice(4)) == {p: {c} for p, c in RIGHT.items()}
    (text,) = findings(table, "rows_without_image")
    assert text.startswith("warn: 50 rows of labels.csv name no image that is here, such as 'P100'")


def test_two_rows_of_a_patient_that_differ(tmp_path):
    put(tmp_path, *(f"images/{p}/x{i}.png" for p in PATIENTS for i in range(2)))
    written(tmp_path, "labels.csv", "patient_id,dx", [*ROWS, "P002,b"])
    with pytest.raises(
        DataError, match=r"patient_id 'P002' two labels: 'a' in line 4 and 'b' in line 10; keep one"
    ):
        load(tmp_path)
    written(tmp_path, "labels.csv", "patient_id,dx,age", [f"{r},4" for r in ROWS] + ["P002,a,5"])
    table = load(tmp_path)  # what the rows do not agree on is not known
    assert dict(zip(table.ids.tolist(), table.metadata["age"].tolist(), strict=True))[
        "images/P002/x0.png"
    ] == ""  # fmt: skip
    assert set(table.metadata["age"].tolist()) == {"4", ""}


def test_folders_of_patients_that_look_like_classes_are_asked_about(tmp_path):
    names = ["Anna", "Ben", "Cleo"]
    put(tmp_path, *(f"{name}/x{i}{name}.png" for name in names for i in range(6)))
    path = written(tmp_path, "people.csv", "patient,diagnosis", ["Anna,ill", "Ben,ok", "Cleo,ok"])
    with pytest.raises(AmbiguousDataError, match=r"--layout 'class/image'(.*\n)+.*ok 12") as error:
        load(tmp_path)
    assert str(path) in str(error.value)


# ------------------------------------------------------------------- several tables


def test_the_columns_of_a_second_table_are_added(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in range(12)))
    written(
        tmp_path,
        "truth.csv",
        "image,MEL,NV",
        [f"x{i},{i // 2 % 2},{1 - i // 2 % 2}" for i in range(12)],
    )
    more = [f"x{i},L{i // 2},{40 + i},{'train' if i < 8 else 'test'}" for i in range(12)]
    written(tmp_path, "metadata.csv", "image,patient_id,age,split", more)
    table = load(tmp_path)
    assert table.classes == ("MEL", "NV")
    assert set(table.metadata) == {"patient_id", "age"}
    assert len(set(table.groups.tolist())) == 6
    assert (table.splits == "test").sum() == 4
    assert not table.reading.unread
    assert "metadata.csv adds patient_id, age, split (by image)" in table.reading.by


@pytest.mark.parametrize("label_of", ["image", "patient"])
def test_a_table_of_patients_beside_one_of_images(tmp_path, label_of):
    put(tmp_path, *(f"images/x{i}.png" for i in range(24)))
    rows = [f"x{i},{PATIENTS[i // 3]}" for i in range(24)]
    people = [f"{r},{i}" for i, r in enumerate(ROWS)]
    if label_of == "image":
        rows = [f"{row},{RIGHT[row[-4:]]}" for row in rows]
        people = [f"{p},{i}" for i, p in enumerate(PATIENTS)]
    head = ",dx" if label_of == "image" else ""
    written(tmp_path, "images.csv", f"image,Patient ID{head}", rows)
    head = ",dx" if label_of == "patient" else ""
    written(tmp_path, "patients.csv", f"patient_id{head},weight", people)
    table = load(tmp_path)
    wanted = {f"images/x{i}.png": RIGHT[PATIENTS[i // 3]] for i in range(24)}
    said = {i: table.classes[c] for i, c in zip(table.ids.tolist(), table.labels, strict=True)}
    assert said == wanted
    assert len(set(table.groups.tolist())) == 8
    assert table.metadata["weight"].tolist() == [
        str(int(id_[8:-4]) // 3) for id_ in table.ids.tolist()
    ]
    if label_of == "patient":
        written(tmp_path, "patients.csv", "patient_id,dx,weight", [*people, "P003,a,3"])
        with pytest.raises(DataError, match=r"'b' and 'a' in its column 'dx'.*line 5 and 10"):
            load(tmp_path)


def test_sheets_of_one_file_are_joined(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in range(24)))
    images = pd.DataFrame({"image": [f"x{i}" for i in range(24)],
                           "patient": [PATIENTS[i // 3] for i in range(24)]})  # fmt: skip
    people = pd.DataFrame({"patient_id": PATIENTS, "dx": list(RIGHT.values())})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        images.to_excel(book, sheet_name="images", index=False)
        people.to_excel(book, sheet_name="patients", index=False)
    for data in (tmp_path, tmp_path / "t.xlsx"):
        table = load(data)
        for id_, label in zip(table.ids.tolist(), table.labels.tolist(), strict=True):
            assert table.classes[label] == RIGHT[PATIENTS[int(id_[8:-4]) // 3]]
        assert len(set(table.groups.tolist())) == 8


def test_ids_before_the_names_of_single_images_are_no_patients(tmp_path):
    put(tmp_path, *(f"images/I{i:03d}_small.png" for i in range(24)))
    rows = [f"I{i:03d},L{i // 2:04d},{'ab'[i // 2 % 2]}" for i in range(24)]
    written(tmp_path, "t.csv", "image_id,lesion_id,dx", rows)
    table = load(tmp_path)
    assert table.grouping.rule == "lesion_id"
    assert len(set(table.groups.tolist())) == 12


def test_two_tables_that_label_alike_are_no_question(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in range(12)))
    written(tmp_path, "truth.csv", "image,MEL,NV", [f"x{i},{i % 2},{1 - i % 2}" for i in range(12)])
    rows = [f"L{i // 2},x{i},{('nv', 'mel')[i % 2]}" for i in range(12)]
    written(tmp_path, "metadata.csv", "lesion_id,image_id,dx", rows)
    table = load(tmp_path)
    assert len(table.classes) == 2
    assert set(table.metadata) == {"lesion_id"}
    written(tmp_path, "truth.csv", "image,dx", [f"x{i},{'uvw'[i % 3]}" for i in range(12)])
    with pytest.raises(DataError, match="has 2 tables that label its images; pass one as DATA"):
        load(tmp_path)


# ------------------------------------------------------------------- beside class folders


def test_a_copy_of_the_folders_class_is_no_column(tmp_path):
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in range(12)))
    rows = [f"x{i}.png,{'uv'[i % 2]},{'kl'[i % 3 % 2]}" for i in range(12)]  # two that may be it
    written(tmp_path, "table.csv", "file,dx,outcome", rows)
    assert set(load(tmp_path).metadata) == {"outcome"}


@pytest.mark.parametrize("dx", [True, False])
def test_a_table_beside_class_folders_says_whose_the_images_are(tmp_path, dx):
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in range(12)))
    rows = [f"x{i}.png,P{i // 4},{i}" + (f",{'ab'[i % 2]}" if dx else "") for i in range(12)]
    written(tmp_path, "table.csv", "file,patient_id,age" + (",dx" if dx else ""), rows)
    table = load(tmp_path)
    assert table.reading.layout == "class/image"
    assert set(table.metadata) == {"patient_id", "age"}
    groups = dict(zip(table.ids.tolist(), table.groups.tolist(), strict=True))
    assert groups == {f"{'ab'[i % 2]}/x{i}.png": f"column:P{i // 4}" for i in range(12)}
    assert not findings(table, "table_beside")
    assert "table.csv adds patient_id, age (by image)" in findings(table, "table")[0]


def test_a_column_that_repeats_nowhere_changes_no_group(tmp_path):
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in range(12)))
    before = load(tmp_path).fingerprint
    written(tmp_path, "table.csv", "file,lesion_id", [f"x{i}.png,L{i}" for i in range(12)])
    assert load(tmp_path).fingerprint == before


def test_patients_beside_class_folders_by_their_names(tmp_path):
    put(tmp_path, *(f"{RIGHT[p]}/{p}_{i}.png" for p in PATIENTS for i in range(3)))
    written(tmp_path, "people.csv", "patient_id,sex,stage", [f"{p},m,{i % 4}" for i, p in
                                                            enumerate(PATIENTS)])  # fmt: skip
    table = load(tmp_path)
    assert table.classes == ("a", "b")
    assert set(table.groups.tolist()) == {f"column:{p}" for p in PATIENTS}
    assert set(table.metadata) >= {"sex", "patient_id"}


# ------------------------------------------------------------------- what does not fit


def test_images_found_in_other_folders_than_the_table_names_are_warned_of(tmp_path):
    put(tmp_path, *(f"{'uv'[i % 3 % 2]}/x{i}.png" for i in range(12)))
    rows = [f"/data/site{i % 2}/x{i}.png,{'ab'[i % 2]}" for i in range(12)]
    table = load(written(tmp_path, "t.csv", "path,label", rows))
    (text,) = findings(table, "found_elsewhere")
    assert text.startswith("warn: t.csv names images in 2 folders that were found by file name al")
    assert "'/data/site0/x0.png' in 'u/x0.png'" in text
    rows = [row.replace("site1", "site0") for row in rows]  # one folder, dealt out to two
    assert not findings(load(written(tmp_path, "t.csv", "path,label", rows)), "found_elsewhere")


def test_half_of_the_rows_is_a_warning_that_names_both(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in range(12)), "images/y.png")
    rows = [f"x{i},{'ab'[i % 2]}" for i in range(20)]
    written(tmp_path, "t.csv", "image,label", rows)
    (text,) = findings(load(tmp_path), "rows_without_image")
    assert "warn: 8 rows of t.csv name no image that is here, such as 'x12' (line 14)" in text
    assert "1 images have no row" in text


def test_class_folders_with_a_layout_given_take_the_columns_too(tmp_path):
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in range(12)))
    written(tmp_path, "t.csv", "file,patient_id", [f"x{i}.png,P{i // 4}" for i in range(12)])
    table = load(tmp_path, LoadOptions(layout="class/image", group="patient_id"))
    assert len(np.unique(table.groups)) == 3
