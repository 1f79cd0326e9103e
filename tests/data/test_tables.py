"""What tables say of images: which column names them, which is the label, what is asked."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from medgraft.data.ingest import LoadOptions, load
from medgraft.data.tables.read_table import tables_beside
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.types import ImageTable
from named_files import put

N = range(12)


def written(root: Path, header: str, rows: list[str], name: str = "t.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def labels(table: ImageTable) -> dict[str, str]:
    """Image → class."""
    names = [table.classes[label] if label >= 0 else "" for label in table.labels]
    return dict(zip(table.ids.tolist(), names, strict=True))


def counts(table: ImageTable) -> dict[str, int]:
    return dict(Counter(labels(table).values()))


def said(table: ImageTable, check: str) -> str:
    return " ".join(finding.text for finding in table.findings if finding.check == check)


# ------------------------------------------------------------------- which image


@pytest.mark.parametrize(
    ("cell", "file", "way"),
    [
        ("im/x{}.png", "im/x{}.png", "by path"),
        ("x{}.png", "deep/er/x{}.png", "by file name"),
        ("X{}.PNG", "im/x{}.png", "by file name"),
        ("x{}", "part_1/x{}.jpg", "by name without suffix"),
        ("1.2.840.{}", "im/1.2.840.{}.png", "by name without suffix"),
        ("x{}.dcm", "im/x{}.png", "by name without suffix"),
        ("/kaggle/input/set/im/x{}.png", "im/x{}.png", "by the end of the path"),
        ("C:\\data\\im\\x{}.png", "im/x{}.png", "by the end of the path"),
        ("https://a.org/im/x{}.png?dl=1", "im/x{}.png", "by the end of the path"),
        ("https://a.org/im/x%20{}.png", "im/x {}.png", "by the end of the path"),
        ("{}", "im/{:04d}.png", "by number"),
        ("{}.0", "im/{:04d}.png", "by number"),
        (unicodedata.normalize("NFC", "é{}.png"), unicodedata.normalize("NFD", "im/é{}.png"), "by"),
    ],
)
@pytest.mark.parametrize("column", ["image", "some name of a column"])
def test_images_are_found_by_what_names_them(tmp_path, cell, file, way, column):
    put(tmp_path, *(file.format(i) for i in N))
    path = written(tmp_path, f"age,{column},dx", [f"{i},{cell.format(i)},{'ab'[i % 2]}" for i in N])
    table = load(path)
    assert labels(table) == {file.format(i): "ab"[i % 2] for i in N}
    assert way in said(table, "table")
    assert table.metadata.keys() == {"age"}


def test_images_in_other_folders(tmp_path):
    put(tmp_path / "data", *(f"a/x{i}.png" for i in N))
    put(tmp_path / "more", *(f"y{i}.png" for i in N))
    rows = [f"{name}{i},{'ab'[i % 2]}" for i in N for name in "xy"]
    path = written(tmp_path / "tables", "id,label", rows)
    with pytest.raises(DataError, match=r"names no image that exists; .*; pass --images DIR"):
        load(path)
    table = load(path, LoadOptions(images=(tmp_path / "data", tmp_path / "more")))
    assert set(labels(table)) == {
        *(f"data/a/x{i}.png" for i in N), *(f"more/y{i}.png" for i in N)
    }  # fmt: skip
    with pytest.raises(DataError, match=r"--images .* is no folder"):
        load(path, LoadOptions(images=(tmp_path / "none",)))


def test_folder_and_name_in_two_columns(tmp_path):
    put(tmp_path, *(f"x/p{i // 2}/{i % 2}.png" for i in N))
    rows = [f"p{i // 2},{i % 2}.png,{'ab'[i // 2 % 2]}" for i in N]
    table = load(written(tmp_path, "patient,name,label", rows))
    assert labels(table) == {f"x/p{i // 2}/{i % 2}.png": "ab"[i // 2 % 2] for i in N}
    assert "patient" in table.metadata


def test_names_that_repeat_need_their_folders(tmp_path):
    put(tmp_path, *(f"x/p{i}/0.png" for i in N))
    rows = [f"/elsewhere/p{i + 1}/0.png,{'ab'[i % 2]}" for i in N]
    table = load(written(tmp_path, "path,label", rows))
    assert labels(table) == {f"x/p{i + 1}/0.png": "ab"[i % 2] for i in N[:-1]}
    assert len(table.skipped) == 1  # p12 is not there, and no other 0.png stands in for it


@pytest.mark.parametrize(
    ("named", "there"),
    [("train/{}.png", ["test/{}.png"]), ("a/{}.png", ["b/{}.png", "a/other{}.png"])],
)
def test_a_file_of_another_folder_does_not_stand_in(tmp_path, named, there):
    put(tmp_path, *(name.format(i) for name in there for i in N))
    rows = [f"/x/{named.format(i)},{i % 2}" for i in N]
    with pytest.raises(DataError, match="names no image that exists"):
        load(written(tmp_path, "path,label", rows))


@pytest.mark.parametrize("folder", ["im/", ""])
def test_paths_that_hold_are_not_completed_by_names(tmp_path, folder):
    put(tmp_path, *(f"{folder}x{i}.png" for i in N[:8]), *(f"old/x{i}.png" for i in N))
    table = load(written(tmp_path, "path,label", [f"{folder}x{i}.png,{i % 2}" for i in N]))
    assert sorted(labels(table)) == sorted(f"{folder}x{i}.png" for i in N[:8])
    assert [s.reason.split(" (")[0] for s in table.skipped] == ["no such file"] * 4


def test_a_number_is_no_image_where_file_names_stand(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in N))
    rows = [f"scan{i}.png,{11 - i},{i % 2}" for i in N]
    with pytest.raises(DataError, match=r"names no image .* the first: scan0.png: no such file"):
        load(written(tmp_path, "file,reads,label", rows))


def test_an_id_of_two_files(tmp_path):
    put(tmp_path, *(f"a/x{i}.png" for i in N), "b/x3.png")
    path = written(tmp_path, "id,label", [f"x{i},{i % 2}" for i in N])
    with pytest.raises(DataError, match=r"line 5: 'x3' is the name of 'a/x3.png' and 'b/x3.png'"):
        load(path)
    only = load(path, LoadOptions(images=(tmp_path / "a",)))
    assert set(labels(only)) == {f"a/x{i}.png" for i in N}


def test_a_mask_of_the_same_name_is_no_second_file(tmp_path):
    put(tmp_path, *(f"im/x{i}.jpg" for i in N), *(f"masks/x{i}.png" for i in N))
    table = load(written(tmp_path, "id,label", [f"x{i},{i % 2}" for i in N]))
    assert set(labels(table)) == {f"im/x{i}.jpg" for i in N}


def test_a_column_of_masks(tmp_path):
    put(tmp_path, *(f"{kind}/x{i}.png" for kind in ("im", "gt") for i in N))
    rows = [f"im/x{i}.png,gt/x{i}.png,{i % 2}" for i in N]
    table = load(written(tmp_path, "image,mask_path,label", rows))
    assert table.masks.tolist() == [str(tmp_path / f"gt/x{i}.png") for i in sorted(N, key=str)]


def test_two_columns_of_images(tmp_path):
    put(tmp_path, *(f"{i}_{side}.png" for i in N for side in ("left", "right")))
    path = written(
        tmp_path, "Left,Right,dx", [f"{i}_left.png,{i}_right.png,{i % 2}" for i in N]
    )  # fmt: skip
    with pytest.raises(DataError, match=r"--path-column 'Left' .12 images. or .*'Right' .12 im"):
        load(path)
    assert len(load(path, LoadOptions(path_column="right"))) == 12


def test_an_id_in_two_classes(tmp_path):
    put(tmp_path, *(f"im/x{i}.png" for i in N))
    rows = [*(f"x{i},{i % 2}" for i in N), "x3.png,0"]
    with pytest.raises(
        DataError, match=r"'im/x3.png' two labels: '1' in line 5 and '0' in line 14"
    ):
        load(written(tmp_path, "id,label", rows))


# ------------------------------------------------------------------- which label


def of(tmp_path: Path, header: str, *columns: list[object], **options: object) -> ImageTable:
    """The table of images x0.png … by these columns."""
    put(tmp_path, *(f"x{i}.png" for i in range(len(columns[0]))))
    rows = [f"x{i}," + ",".join(map(str, row)) for i, row in enumerate(zip(*columns, strict=True))]
    return load(written(tmp_path, f"id,{header}", rows), LoadOptions(**options))  # type: ignore[arg-type]


AB = ["a", "b"] * 6
ZERO_ONE = [0, 1] * 6
OTHER = [0, 0, 1] * 4


@pytest.mark.parametrize(
    "name", ["label", "Label", " LABEL ", "class", "dx", "Diagnosis", "target", "Finding Labels",
             "category", "image_label", "level", "whatever"],
)  # fmt: skip
def test_label_columns_under_the_names_people_use(tmp_path, name):
    assert counts(of(tmp_path, name, AB)) == {"a": 6, "b": 6}


@pytest.mark.parametrize("name", ["dx", "grade", "malignant"])
def test_a_label_beside_what_describes_a_patient(tmp_path, name):
    table = of(tmp_path, f"sex,{name},dx_type,age", ["m", "f"] * 6, OTHER, AB, list(N))
    assert counts(table) == {"0": 8, "1": 4}
    assert table.metadata.keys() == {"sex", "dx_type", "age"}


def test_two_columns_that_could_be_the_label(tmp_path):
    with pytest.raises(DataError) as error:
        of(tmp_path, "diagnosis,target", AB, OTHER)
    assert "--label-column 'diagnosis' (a 6, b 6)" in str(error.value)
    assert "--label-column 'target' (0 8, 1 4)" in str(error.value)
    assert counts(of(tmp_path, "diagnosis,target", AB, OTHER, label_column="Target")) == {
        "0": 8, "1": 4
    }  # fmt: skip


def test_of_two_that_agree_the_words_are_taken_and_the_copy_is_left_out(tmp_path):
    words = ["benign", "malignant"] * 6
    table = of(tmp_path, "target,benign_malignant,site", ZERO_ONE, words, OTHER)
    assert counts(table) == {"benign": 6, "malignant": 6}
    assert table.metadata.keys() == {"site"}
    assert "target says the same" in said(table, "table")


def test_nothing_sounds_like_a_label(tmp_path):
    with pytest.raises(DataError, match=r"--label-column 'colour' .r 6, g 6.\n.*'shape'"):
        of(tmp_path, "colour,shape", ["r", "g"] * 6, OTHER)


@pytest.mark.parametrize("one", ["1", "1.0", "True", "true", "1.000000e+00", "Yes", "y"])
@pytest.mark.parametrize("zero", ["0", "0.0", "False", "", "0.000000e+00", "No", "n"])
def test_one_hot(tmp_path, one, zero):
    put(tmp_path, *(f"im/x{i}.jpg" for i in N))
    names = ["MEL", "NV", "BCC"]
    rows = [f"x{i},{i}," + ",".join(one if j == i % 2 else zero for j in range(3)) for i in N]
    if zero == "":  # a column without a 1 could be anything
        names, rows = names[:2], [row.removesuffix(",") for row in rows]
    table = load(written(tmp_path, "image,age," + ",".join(names), rows))
    assert counts(table) == {"MEL": 6, "NV": 6}
    assert table.metadata.keys() == {"age"}
    assert ("BCC" in said(table, "empty_classes")) == (zero != "")


def test_one_hot_is_what_pandas_makes_of_a_column(tmp_path):
    put(tmp_path, *(f"x{i}.png" for i in N))
    frame = pd.DataFrame({"image": [f"x{i}.png" for i in N], "kind": list("abc") * 4})
    whole = pd.get_dummies(frame, columns=["kind"], prefix="", prefix_sep="")
    whole.to_csv(tmp_path / "t.csv")
    assert labels(load(tmp_path / "t.csv")) == dict(zip(frame.image, frame.kind, strict=True))


def test_several_findings_in_columns(tmp_path):
    columns = [[1, 0] * 6, [0, 0, 1] * 4, [0, 1, 1] * 4]
    with pytest.raises(DataError) as error:
        of(tmp_path, "Mass,Nodule,No Finding", *columns)
    assert "Mass 6, Nodule 4, No Finding 8" in str(error.value)
    assert "--binarize 'Mass'" in str(error.value)
    two = of(tmp_path, "Mass,Nodule,No Finding", *columns, binarize="nodule")
    assert counts(two) == {"no Nodule": 8, "Nodule": 4}
    with pytest.raises(DataError, match=r"t.csv line 4 has a 1 in Mass and Nodule"):
        of(tmp_path, "Mass,Nodule,No Finding", *columns, label_columns=("Mass", "Nodule"))


def test_uncertain_and_blank_findings_are_no_label(tmp_path):
    unsure = [1, 0, -1, ""] * 3
    table = of(tmp_path, "Edema,Mass", unsure, ZERO_ONE, binarize="Edema")
    assert counts(table) == {"Edema": 3, "no Edema": 3, "": 6}
    only_ones = of(tmp_path, "Edema,Mass", [1, ""] * 6, OTHER, binarize="Edema")
    assert counts(only_ones) == {"Edema": 6, "no Edema": 6}


@pytest.mark.parametrize(
    ("values", "binarize", "classes"),
    [
        (["No Finding", "Mass|Nodule", "Mass", "Nodule"], "Mass", {"Mass": 6, "no Mass": 6}),
        (["none", "mass; nodule", "mass", "nodule"], "MASS", {"mass": 6, "no mass": 6}),
        (["['a' 'b']", "['a']", "['c']", "['c']"], "a", {"a": 6, "no a": 6}),
        (["Mass|Nodule", "mass", "Nodule", "No Finding"], "mass", {"Mass": 6, "no Mass": 6}),
        (["a/b", "a", "b", "c"], "b", {"b": 6, "no b": 6}),
        ([f"{v}.5" for v in range(12)], ">=6", {">=6": 6, "<6": 6}),
        ([str(31 * v) for v in range(24)], "<31", {"<31": 1, ">=31": 23}),
    ],
)
def test_joined_and_measured_labels_are_asked_about(tmp_path, values, binarize, classes):
    values = values * 3 if len(values) < 12 else values
    with pytest.raises(DataError, match=r"--label-column 'finding' --binarize '"):
        of(tmp_path, "finding", values)
    assert counts(of(tmp_path, "finding", values, binarize=binarize)) == classes


@pytest.mark.parametrize(
    "values",
    [
        ["No Lung Opacity / Not Normal", "Normal", "Lung Opacity"],
        ["Pneumonia/Viral/COVID-19", "No Finding", "Pneumonia"],
        ["squamous, large", "adeno", "squamous, small"],
        ["T+", "T-", "N"],
        [0, 1, 2],
        ["1.5T", "3T", "7T"],
    ],
)
def test_marks_within_the_name_of_a_class(tmp_path, values):
    values = values * 4
    put(tmp_path, *(f"x{i}.png" for i in N))
    pd.DataFrame({"id": [f"x{i}" for i in N], "label": values}).to_csv(tmp_path / "t.csv")
    assert counts(load(tmp_path / "t.csv")) == dict(Counter(map(str, values)))


def test_free_text_is_no_label(tmp_path):
    texts = [f"a nodule of {i} mm in the left lobe" for i in range(30)]
    with pytest.raises(DataError, match="holds 30 texts, most of a single image"):
        of(tmp_path, "findings", texts)


# ------------------------------------------------------------------- spellings, words, splits


def test_numbers_and_spellings_that_look_the_same_are_one_class(tmp_path):
    assert counts(of(tmp_path, "label", ["0", "1.0", "0.0", "1"] * 3)) == {"0": 6, "1": 6}
    nfc, nfd = (unicodedata.normalize(form, "bénin") for form in ("NFC", "NFD"))
    table = of(tmp_path, "label", [nfc, nfd, " ill  case", "ill\u00a0case "] * 3)
    assert counts(table) == {nfc: 6, "ill case": 6}
    assert "look the same" in said(table, "class_spelling")
    with pytest.raises(DataError, match="Ill, ill differ only in case"):
        of(tmp_path, "label", ["Ill", "ill", "ok"] * 4)


@pytest.mark.parametrize("word", ["", "nan", "NaN", "N/A", "NA", "None", "null", "-", "<NA>", "?"])
def test_words_for_nothing(tmp_path, word):
    table = of(tmp_path, "label,age", ["a", "b", word] * 4, [word, 1, 2] * 4)
    assert counts(table) == {"a": 4, "b": 4, "": 4}
    assert set(table.metadata["age"].tolist()) == {"", "1", "2"}
    assert "4 of 12 images have no label" in said(table, "missing_label")
    if word:
        named = of(tmp_path, "label", ["a", "b", word] * 4, class_names=((word, "healthy"),))
        assert counts(named) == {"a": 4, "b": 4, "healthy": 4}


def test_a_word_for_nothing_that_may_be_the_second_class(tmp_path):
    with pytest.raises(DataError, match=r"'mild' and None, .*--class-names 'None=NAME'"):
        of(tmp_path, "label", ["None", "mild"] * 6)
    assert counts(of(tmp_path, "label", ["+", "-"] * 6)) == {"+": 6, "-": 6}


def test_class_names(tmp_path):
    names = (("0", "normal"), ("1", "ill"))
    table = of(tmp_path, "label", ["0.0", "1.0"] * 6, class_names=names)
    assert counts(table) == {"normal": 6, "ill": 6}
    assert table.positive == "ill"
    with pytest.raises(DataError, match="no image has the label '2'; the labels are 0, 1"):
        of(tmp_path, "label", ZERO_ONE, class_names=(("2", "x"),))


@pytest.mark.parametrize("name", ["split", "Usage", "fold", "partition"])
def test_splits_are_known_by_their_words(tmp_path, name):
    table = of(tmp_path, f"label,{name}", AB, ["Training", "test", "dev"] * 4)
    assert Counter(table.splits.tolist()) == {"train": 4, "test": 4, "val": 4}
    whole = of(tmp_path, f"label,{name}", AB, ["train", "test"] * 6, split_column="none")
    assert set(whole.splits.tolist()) == {""}


def test_splits_in_more_than_a_word(tmp_path):
    table = of(tmp_path, "label,set", AB, ["train set", "Test_Set", "ValData"] * 4)
    assert Counter(table.splits.tolist()) == {"train": 4, "test": 4, "val": 4}
    other = of(tmp_path, "label,rapid", AB, ["test positive", "train driver", "-"] * 4)
    assert set(other.splits.tolist()) == {""}


@pytest.mark.parametrize(
    ("columns", "cells", "right"),
    [
        ("is_test", ["1", "0", "0"], ["test", "train", "train"]),
        ("isTest", ["True", "False", "False"], ["test", "train", "train"]),
        ("test", ["1", "0", "0"], ["test", "train", "train"]),
        ("is_train", ["1", "0", "1"], ["train", "test", "train"]),
        ("is_valid", ["false", "true", "false"], ["train", "val", "train"]),
        ("train,validation", ["1,0", "0,1", "0,0"], ["train", "val", "test"]),
        ("is_train,is_val,is_test", ["1,0,0", "0,1,0", "0,0,1"], ["train", "val", "test"]),
        ("is_valid", ["1", "1", "0"], ["", "", ""]),  # most are: it is about the picture
        ("prediction", ["1", "0", "0"], ["", "", ""]),
    ],
)
def test_columns_of_0_and_1_that_say_the_split(tmp_path, columns, cells, right):
    put(tmp_path, *(f"x{i:02d}.png" for i in N))
    rows = [f"x{i:02d}.png,{'ab'[i % 2]},{cells[i % 3]}" for i in N]
    table = load(written(tmp_path, f"path,label,{columns}", rows))
    assert table.splits.tolist() == right * 4
    assert bool(table.metadata) == (right[0] == "")


def test_a_lone_column_of_a_test_is_the_label(tmp_path):
    assert counts(of(tmp_path, "test", ZERO_ONE)) == {"0": 6, "1": 6}
    with pytest.raises(DataError, match="has a 1 in is_train and is_test, and an image lies in on"):
        of(tmp_path, "label,is_train,is_test", AB, ["1"] * 6 + ["0"] * 6, ["1"] * 2 + ["0"] * 10)


def test_folds_beside_a_test_set_are_what_is_learned_from(tmp_path):
    fold = ["test" if i % 6 == 0 else str(i % 5) for i in N]
    table = of(tmp_path, "label,fold", AB, fold)
    assert Counter(table.splits.tolist()) == Counter(test=2, train=10)


def test_folds_are_said_to_be_no_split(tmp_path):
    table = of(tmp_path, "label,fold", AB, [str(i % 5) for i in N])
    assert set(table.splits.tolist()) == {""}
    assert "'fold' of t.csv numbers folds (0 … 4) and says no split" in said(table, "folds")


@pytest.mark.parametrize(
    ("columns", "label"), [("diagnosis,severity", "diagnosis"), ("subtype,label", "label")]
)
def test_a_second_column_that_could_be_the_label_is_named(tmp_path, columns, label):
    values = [AB, list("uvw") * 4]
    table = of(tmp_path, columns, *(values if columns.startswith(label) else values[::-1]))
    assert counts(table) == {"a": 6, "b": 6}
    other = (set(columns.split(",")) - {label}).pop()
    assert f"{other} could be the label too (--label-column '{other}')" in table.reading.by


@pytest.mark.parametrize("columns", ["clinical diagnosis,histology", "diagnosis,second opinion"])
def test_two_columns_that_disagree_on_some_images_are_asked_about(tmp_path, columns):
    truth = [*AB[:-1], "a" if AB[-1] == "b" else "b"]
    with pytest.raises(AmbiguousDataError) as asked:
        of(tmp_path, columns, AB, truth)
    flags = [choice.flags for choice in asked.value.choices]
    assert flags == [(("label_column", name),) for name in columns.split(",")]


@pytest.mark.parametrize(
    ("columns", "other"),
    [
        ("label,histology", ["a", *AB[1:-1], "a"]),  # named plainly
        ("diagnosis,reader", AB),  # never another
        ("diagnosis,side", ["a", *AB[1:-1], "a"]),  # a property
        ("diagnosis,second", [*"ab" * 2, *AB[::-1]][:12]),  # another question: mostly otherwise
    ],
)
def test_a_column_that_is_no_second_opinion_is_not_asked_about(tmp_path, columns, other):
    assert counts(of(tmp_path, columns, AB, other)) == {"a": 6, "b": 6}


def test_two_columns_of_splits(tmp_path):
    with pytest.raises(DataError, match="--split-column 'phase' or --split-column 'usage'"):
        of(tmp_path, "label,phase,usage", AB, ["train", "test"] * 6, ["test", "train", "val"] * 4)


@pytest.mark.parametrize("ending", ["xlsx", "parquet", "tsv"])
def test_every_kind_of_table_gives_the_same(tmp_path, ending):
    put(tmp_path, *(f"x{i}.png" for i in N))
    frame = pd.DataFrame({"image": [f"x{i}" for i in N], "dx": AB, "age": [float(i) for i in N]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    if ending == "xlsx":
        frame.to_excel(tmp_path / "t.xlsx")
    elif ending == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
    else:
        frame.to_csv(tmp_path / "t.tsv", sep="\t")
    assert load(tmp_path / f"t.{ending}").fingerprint == load(tmp_path / "t.csv").fingerprint


def test_of_several_sheets_the_one_that_fits(tmp_path):
    put(tmp_path, *(f"x{i}.png" for i in N))
    frame = pd.DataFrame({"image": [f"x{i}" for i in N], "dx": AB})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame({"word": ["a"], "meaning": ["b"]}).to_excel(writer, sheet_name="legend")
        frame.to_excel(writer, sheet_name="data", index=False)
    assert len(load(tmp_path / "t.xlsx")) == 12
    with pd.ExcelWriter(tmp_path / "t.xlsx", mode="a") as writer:
        frame.to_excel(writer, sheet_name="again", index=False)
    with pytest.raises(
        DataError, match=r"several sheets .*\n  --sheet 'data' .*\n  --sheet 'again'"
    ):
        load(tmp_path / "t.xlsx")
    assert len(load(tmp_path / "t.xlsx", LoadOptions(sheet="again"))) == 12


# ------------------------------------------------------------------- beside the images


def test_a_table_beside_the_images(tmp_path):
    put(tmp_path, *(f"part_{i % 2}/x{i}.jpg" for i in N))
    table = written(tmp_path, "lesion_id,image_id,dx", [f"L{i // 2},x{i},{'ab'[i % 2]}" for i in N])
    notes = written(tmp_path, "word,meaning", ["a,first", "b,second"], "legend.csv")
    broken = written(tmp_path, "a,b", ["x,y,z"], "broken.csv")
    images = sorted(tmp_path.rglob("*.jpg"))[:10]
    one, two, three = tables_beside(tmp_path, [table, notes, broken], images, LoadOptions())
    assert one.sure
    assert (one.n_images, one.n_nameless, one.label_columns) == (10, 2, ("dx",))
    assert one.sentence.startswith("t.csv gives the labels: column dx, 10 of 10 images")
    assert one.further == ("lesion_id",)
    listing = one.listing()
    assert [row.id for row in listing.rows] == [p.relative_to(tmp_path).as_posix() for p in images]
    assert sum(one.classes.values()) == 10
    assert not two.sure
    assert two.n_images == 0
    assert "line 2 has 3 fields" in three.why_not


def test_a_table_whose_names_are_those_of_two_files_is_warned_of(tmp_path):
    put(tmp_path, *(f"{c}/x{i}.png" for c in "ab" for i in N))
    written(tmp_path, "file,dx", [f"x{i}.png,{'uv'[i % 2]}" for i in N])
    (finding,) = [one for one in load(tmp_path).findings if one.check == "table_beside"]
    assert finding.severity == "warn"
    assert "'x0.png' is the name of 'a/x0.png' and 'b/x0.png'" in finding.text


def test_a_lone_folder_does_not_vie_with_the_table_beside_it(tmp_path):
    put(tmp_path, *(f"anything/x{i}.png" for i in N))
    written(tmp_path, "file,dx", [f"x{i}.png,{'uv'[i % 2]}" for i in N])
    assert counts(load(tmp_path)) == {"u": 6, "v": 6}


def test_two_tables_of_different_images_are_asked_about(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in N))
    rows = [f"x{i}.png,{'ab'[i % 2]}" for i in N]
    train = written(tmp_path, "file,class", rows[:8], "train.csv")
    written(tmp_path, "file,class", rows[8:], "test.csv")
    with pytest.raises(DataError, match=r"different images(.*\n)+.*test.csv  2 classes: a 2, b 2"):
        load(tmp_path)
    assert len(load(train)) == 8
    written(tmp_path, "file,class", rows[:4], "test.csv")  # names nothing else
    assert len(load(tmp_path)) == 8


def test_two_sheets_of_different_images_are_asked_about(tmp_path):
    put(tmp_path, *(f"images/x{i}.png" for i in N))
    frame = pd.DataFrame({"file": [f"x{i}.png" for i in N], "class": list("ab") * 6})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame[:8].to_excel(book, sheet_name="train", index=False)
        frame[8:].to_excel(book, sheet_name="test", index=False)
    with pytest.raises(DataError, match=r"t.xlsx --sheet 'test'  2 classes"):
        load(tmp_path)
    assert len(load(tmp_path / "t.xlsx", LoadOptions(sheet="train"))) == 8


def test_the_images_of_a_folder_and_its_table_agree(tmp_path):
    """A table beside class folders gives the same classes as they do, and the same ids."""
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in N))
    table = written(tmp_path, "file,class", [f"x{i}.png,{'ab'[i % 2]}" for i in N])
    images = list(tmp_path.rglob("*.png"))
    (reading,) = tables_beside(tmp_path, [table], images, LoadOptions())
    by_folder = labels(load(tmp_path))
    assert {row.id: row.label for row in reading.listing().rows} == by_folder


def test_a_question_about_the_label_brings_the_options_that_answer_it(tmp_path):
    rows = [f"im/x{i}.png,{'ab'[i % 2]},{'uvw'[i % 3]}" for i in N]
    written(tmp_path, "path,colour,shape", rows)
    put(tmp_path, *(f"im/x{i}.png" for i in N))
    with pytest.raises(AmbiguousDataError, match="may be one of") as asked:
        load(tmp_path / "t.csv")
    found = [load(tmp_path / "t.csv", LoadOptions(**dict(c.flags))) for c in asked.value.choices]
    assert {table.classes for table in found} == {("a", "b"), ("u", "v", "w")}
