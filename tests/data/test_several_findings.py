"""Several findings an image: read as one column each, as joined names, or as an `.npz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import LoadOptions, load, load_any
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.panel import Panel
from named_files import put

N = range(8)
UNKNOWN, UNCERTAIN = -1, -2


def written(root: Path, header: str, rows: list[str], name: str = "t.csv") -> Path:
    path = root / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def panel(root: Path, header: str, rows: list[str], **options) -> Panel:
    """A table of images x0.png, x1.png, … read as a panel."""
    put(root, *(f"x{i}.png" for i in range(len(rows))))
    path = written(root, f"path,{header}", [f"x{i}.png,{row}" for i, row in enumerate(rows)])
    found = load_any(path, LoadOptions(**options))
    assert isinstance(found, Panel)
    return found


def test_blank_is_not_known_and_minus_one_is_uncertain(tmp_path):
    found = panel(tmp_path, "Mass,Edema", ["1.0,0", ",-1.0", "0,1", "-1,", "1,1", "0,0", "1,0"])
    assert found.names == ("Mass", "Edema")
    assert found.marks.T.tolist() == [
        [1, UNKNOWN, 0, UNCERTAIN, 1, 0, 1],
        [0, UNCERTAIN, 1, UNKNOWN, 1, 0, 0],
    ]


@pytest.mark.parametrize(
    ("uncertain", "there", "not_there"), [("unknown", 1, 2), ("negative", 1, 3), ("positive", 2, 2)]
)
def test_what_is_not_known_is_never_negative(tmp_path, uncertain, there, not_there):
    rows = ["1,1", "0,0", "0,1", "-1,1", ",1", ",0"]
    question = panel(tmp_path, "a,b", rows).taken_as(uncertain).question("a")
    assert question.classes == ("a", "no a")
    assert question.positive == "a"
    assert np.bincount(question.labels).tolist() == [there, not_there]


def test_a_question_is_the_table_that_two_classes_of_its_finding_make(tmp_path):
    found = panel(tmp_path, "labels", ["Mass|Nodule", "No Finding", "Mass", "Nodule"] * 2)
    alone = load(tmp_path / "t.csv", LoadOptions(binarize="Mass"))
    assert found.names == ("Mass", "Nodule")
    assert found.question("Mass").fingerprint == alone.fingerprint


def test_of_a_blank_cell_of_joined_names_nothing_is_known(tmp_path):
    found = panel(tmp_path, "Finding Labels", ["a|b", "", "No Finding", "a", "b"])
    assert found.marks.tolist() == [[1, 1], [UNKNOWN] * 2, [0, 0], [1, 0], [0, 1]]


def test_no_finding_tells_that_the_others_are_not_there_but_nothing_of_devices(tmp_path):
    rows = ["1,,,", ",1,0,1", ",0,1,0", "1,,,1", "1,1,,"]
    found = panel(tmp_path, "No Finding,Mass,Edema,Support Devices", rows)
    assert found.names == ("Mass", "Edema", "Support Devices")
    assert found.marks.tolist() == [
        [0, 0, UNKNOWN], [1, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0, UNKNOWN],
    ]  # fmt: skip
    assert [f.numbers for f in found.images.findings if f.check == "finding_and_none"] == [{"n": 1}]


def test_where_nothing_is_marked_0_blanks_stand_for_it(tmp_path):
    found = panel(tmp_path, "a,b", ["1,1", ",1", "1,", ","])
    assert found.marks.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]


def test_readers_who_do_not_agree_leave_a_finding_uncertain(tmp_path):
    put(tmp_path, "x.png", "y.png")
    rows = ["x.png,1,1", "x.png,0,1", "x.png,0,1", "y.png,1,0", "y.png,,0"]
    found = load_any(written(tmp_path, "image,a,b", rows))
    assert found.marks.tolist() == [[UNCERTAIN, 1], [1, 0]]
    assert [f.numbers for f in found.images.findings if f.check == "rows_differ"] == [{"n": 1}]


def test_what_fits_classes_and_findings_is_asked_and_either_flag_decides(tmp_path):
    rows = ["1,0", "0,1", "0,0", "1,0"]
    with pytest.raises(DataError, match=r"--finding-columns 'a,b'(.|\n)*--label-columns 'a,b'"):
        panel(tmp_path, "a,b", rows)
    assert panel(tmp_path, "a,b", rows, finding_columns=("a", "b")).marks.sum() == 3
    classes = load_any(tmp_path / "t.csv", LoadOptions(label_columns=("a", "b")))
    assert classes.classes == ("a", "b")


def test_one_1_in_every_row_is_one_class_an_image_as_ever(tmp_path):
    put(tmp_path, *(f"x{i}.png" for i in N))
    path = written(tmp_path, "path,a,b", [f"x{i}.png,{i % 2},{1 - i % 2}" for i in N])
    assert load_any(path).fingerprint == load(path).fingerprint


def test_class_folders_beside_a_table_of_findings_are_asked_about(tmp_path):
    put(tmp_path, *(f"{'ab'[i % 2]}/x{i}.png" for i in N))
    rows = [f"x{i}.png,{('Mass|Nodule', 'Mass', 'No Finding')[i % 3]}" for i in N]
    written(tmp_path, "image,labels", rows)
    with pytest.raises(AmbiguousDataError, match="two ways"):
        load_any(tmp_path)
    assert load_any(tmp_path, LoadOptions(layout="class/image")).classes == ("a", "b")


def test_names_are_changed_joined_and_left_out(tmp_path):
    rows = ["1,0,1", "0,0,1", "0,1,", "1,1,1", ",0,0"]
    options = {"rename": (("a", "ab"), ("b", "ab"))}
    assert panel(tmp_path, "a,b,c", rows, **options).marks.T.tolist() == [
        [1, 0, 1, 1, UNKNOWN], [1, 1, UNKNOWN, 1, 0],
    ]  # fmt: skip
    assert panel(tmp_path, "a,b,c", rows, leave_out=("b",)).names == ("a", "c")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"positive": "a"}, "--positive"),
        ({"drop_classes_below": 3}, "--drop-classes-below"),
        ({"leave_out": ("z",)}, "'z' is no finding"),
        ({"rename": (("a", "B"),)}, "differ only in case"),
        ({"finding_columns": ("a", "words")}, "holds 'x'"),
        ({"finding_columns": ("a",)}, "no list of several findings"),
    ],
)
def test_what_cannot_be_meant_of_findings_is_refused(tmp_path, options, words):
    with pytest.raises(DataError, match=words):
        panel(tmp_path, "a,b,words", ["1,1,x", "0,0,x", "0,1,x", "1,0,x"], **options)


def test_an_array_of_findings_keeps_splits_and_what_is_not_known(tmp_path):
    train = np.array([[1, 0], [1, 1], [np.nan, 0], [-1, 1]])
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
    path = tmp_path / "s.npz"
    np.savez(path, train_images=images, train_labels=train, test_images=images,
             test_labels=np.eye(2)[[0, 1, 0, 1]])  # fmt: skip
    found = load_any(path)
    assert found.marks[:4].tolist() == [[1, 0], [1, 1], [UNKNOWN, 0], [UNCERTAIN, 1]]
    assert found.images.splits.tolist() == ["train"] * 4 + ["test"] * 4
    with pytest.raises(DataError, match="not one integer"):
        load(path)


def test_who_wants_one_class_an_image_is_told_how_to_make_two(tmp_path):
    put(tmp_path, *(f"x{i}.png" for i in N))
    path = written(tmp_path, "path,a,b", [f"x{i}.png,{i % 2},{i // 4}" for i in N])
    with pytest.raises(DataError, match="--binarize"):
        load(path, LoadOptions(finding_columns=("a", "b")))


def test_findings_that_say_the_same_or_the_opposite_are_named(tmp_path):
    cells = [f"{i % 2},{int(i % 3 == 0)},{1 - i % 2},{i % 2},{int(i % 5 < 2)}" for i in range(30)]
    found = panel(tmp_path, "a,b,c,d,e", cells, finding_columns=("a", "b", "c", "d", "e"))
    said = [f.text for f in found.images.findings if f.check == "related_findings"]
    assert [text[:25] for text in said] == [
        "'a' and 'c' say the oppos", "'a' and 'd' say the same ", "'c' and 'd' say the oppos",
    ]  # fmt: skip


def test_a_hundred_findings_are_read(tmp_path):
    rng = np.random.default_rng(0)
    truth = (rng.random((10, 100)) < 0.4).astype(int)
    names = ",".join(f"f{k}" for k in range(100))
    found = panel(tmp_path, names, [",".join(map(str, row)) for row in truth])
    assert (found.marks == truth).all()
