"""Classes that are grades: read in their order where that is asked, else only proposed."""

from __future__ import annotations

from pathlib import Path

import pytest

from medgraft.data.grades import by_rank, grade_values, in_order, ranks_of
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError
from medgraft.types import ImageTable
from named_files import put

GRADES = LoadOptions(ordered=True)


def graded(root: Path, *classes: str) -> Path:
    put(root, *(f"{name}/{name}_{i}.png" for name in classes for i in range(3)))
    return root


def said(table: ImageTable) -> str:
    return " ".join(f"{f.text} {f.remedy}" for f in table.findings if f.check == "grades")


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1", "2", "3", "4"),
        ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"),
        ("0Normal", "1Doubtful", "2Mild", "3Moderate", "4Severe"),
        ("NonDemented", "VeryMildDemented", "MildDemented", "ModerateDemented"),
        ("grade 1", "grade 2", "grade 10"),
        ("stage I", "stage II", "stage III"),
        ("BI-RADS 3", "BI-RADS 4a", "BI-RADS 4b", "BI-RADS 5"),
        ("0.0", "0.5", "1.0", "2.0"),
    ],
)
def test_names_that_count_up(names: tuple[str, ...]) -> None:
    mixed = tuple(sorted(names, reverse=True))
    found, ordered, _ = in_order(mixed, True, ())
    assert (found, ordered) == (names, True)


@pytest.mark.parametrize(
    "names",
    [
        ("CNV", "DME", "DRUSEN", "NORMAL"),
        ("mild", "moderate", "tumour"),
        ("1", "01", "2"),
        ("covid", "normal", "viral"),
        ("akiec", "bcc", "mel", "nv"),
    ],
)
def test_names_that_do_not(names: tuple[str, ...]) -> None:
    assert ranks_of(names) is None
    assert in_order(names, False, ())[1:] == (False, [])
    with pytest.raises(DataError, match=r"--ordered: the names .* --order"):
        in_order(names, True, ())


def test_nothing_changes_without_the_flag_but_that_grades_are_proposed(tmp_path: Path) -> None:
    plain = load(graded(tmp_path, "0", "1", "2", "3", "4"))
    asked = load(tmp_path, GRADES)
    assert (plain.ordered, asked.ordered) == (False, True)
    assert plain.classes == asked.classes
    assert plain.fingerprint == asked.fingerprint  # so that a plain head's numbers are the same
    assert "count up (0, 1, 2, 3, 4)" in said(plain)
    assert "--ordered" in said(plain)
    assert said(asked).startswith("The classes are grades, the lowest first: 0, 1, 2, 3, 4.")


def test_a_table_of_grades_as_of_aptos_is_proposed(tmp_path: Path) -> None:
    names = [f"{7919 * i:08x}" for i in range(1, 13)]
    put(tmp_path, *(f"train_images/{name}.png" for name in names))
    rows = [f"{name},{i % 4}.0" for i, name in enumerate(names)]
    (tmp_path / "train.csv").write_text("\n".join(["id_code,diagnosis", *rows]))
    table = load(tmp_path / "train.csv")
    assert table.classes == ("0", "1", "2", "3")  # grades that were given as floats
    assert "--ordered" in said(table)


def test_words_are_brought_to_their_order(tmp_path: Path) -> None:
    table = load(graded(tmp_path, "mild", "moderate", "normal", "severe"), GRADES)
    assert table.classes == ("normal", "mild", "moderate", "severe")
    by_id = dict(zip(table.ids.tolist(), table.labels.tolist(), strict=True))
    assert by_id["severe/severe_0.png"] == 3
    assert by_id["normal/normal_1.png"] == 0


def test_an_order_that_is_given(tmp_path: Path) -> None:
    graded(tmp_path, "adenoma", "cancer", "healthy")
    table = load(tmp_path, LoadOptions(order=("Healthy", "adenoma", "cancer")))
    assert table.classes == ("healthy", "adenoma", "cancer")
    assert table.ordered
    for order, message in (
        (("healthy", "polyp", "cancer"), r"'polyp' is no class; there are adenoma"),
        (("healthy", "cancer"), r"'adenoma' belongs.*--leave-out 'adenoma'"),
        (("healthy", "cancer", "cancer", "adenoma"), r"'cancer' twice"),
    ):
        with pytest.raises(DataError, match=message):
            load(tmp_path, LoadOptions(order=order))


def test_a_grade_that_is_missing_between_is_told(tmp_path: Path) -> None:
    table = load(graded(tmp_path, "0", "1", "3", "4"), GRADES)
    (gap,) = [f for f in table.findings if f.check == "grades" and f.severity == "warn"]
    assert gap.text.startswith("No image has the grade 2")


def test_two_classes_are_the_plain_question(tmp_path: Path) -> None:
    table = load(graded(tmp_path, "0", "1"), GRADES)
    assert not table.ordered
    assert table.positive == "1"
    assert "plain question of two classes" in said(table)


def test_several_findings_have_no_order(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "c.png")
    rows = "image,findings\na.png,Mass|Nodule\nb.png,Mass\nc.png,No Finding\n"
    (tmp_path / "labels.csv").write_text(rows)
    from medgraft.data.ingest import load_any

    with pytest.raises(DataError, match="--ordered and --order are of classes"):
        load_any(tmp_path / "labels.csv", GRADES)


def test_a_hundred_grades() -> None:
    names = tuple(sorted(f"grade {i}" for i in range(100)))
    found, ordered, findings = in_order(names, True, ())
    assert ordered
    assert found == tuple(f"grade {i}" for i in range(100))
    assert len(findings) == 1
    assert not in_order(names, False, ())[2]  # so many are rather codes, and are not proposed


def test_the_number_of_a_grade() -> None:
    assert grade_values(("KL-1", "KL-2", "KL-3")) == (1, 2, 3)
    assert grade_values(("0", "1", "3")) == (0, 1, 2)  # places: neighbours are one apart
    assert grade_values(("3", "2", "1")) == (0, 1, 2)
    assert by_rank(("b2", "a1"), [(2.0, ""), (1.0, "")]) == ("a1", "b2")
