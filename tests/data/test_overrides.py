"""Do approved corrections reach the table, and are wrong lines refused by their number?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medgraft.data.overrides import apply_overrides
from medgraft.errors import DataError
from medgraft.types import ImageTable, Source

IDS = ("a/1.png", "a/2.png", "b/3.png", "b/4.png")


@pytest.fixture
def table() -> ImageTable:
    ids, empty = np.array(IDS), np.array([""] * 4)
    made = ImageTable(
        ids, tuple(Source(i) for i in IDS), ids, np.array([0, 0, 1, 1]), np.array(["p"] * 4),
        empty, empty, ("a", "b"),
    )  # fmt: skip
    for column in (made.labels, made.groups):
        column.flags.writeable = False  # whoever changes its input fails
    return made


def written(folder: Path, *lines: str) -> Path:
    path = folder / "fix.csv"
    path.write_text("\n".join(["path,action,value,why", *lines]) + "\n", encoding="utf-8")
    return path


def test_lines_are_carried_out(table: ImageTable, tmp_path: Path) -> None:
    path = written(
        tmp_path, "a/1.png,exclude,,black", 'a/2.png,relabel,b,"looks, to me, like b"',
        "b/3.png,group,a much longer name,", "a/1.png,exclude,,again",
    )  # fmt: skip
    fixed = apply_overrides(table, written(tmp_path, "a/1.png,exclude,,black"))
    assert fixed.ids.tolist() == list(IDS[1:])
    assert [(s.source, s.reason) for s in fixed.skipped] == [
        ("a/1.png", "excluded by fix.csv: black")
    ]
    path = written(
        tmp_path, "a/2.png,relabel,b,", "b/3.png,group,a much longer name,", "b/4.png,exclude,,"
    )
    fixed = apply_overrides(table, path)
    assert fixed.labels.tolist() == [0, 1, 1]
    assert fixed.groups.tolist() == ["p", "p", "a much longer name"]
    counted, new = fixed.findings
    assert dict(counted.numbers) == {"exclude": 1, "relabel": 1, "group": 1}
    assert (new.check, new.severity, new.images) == ("overrides_new_group", "warn", ("b/3.png",))
    assert fixed.fingerprint != table.fingerprint
    assert apply_overrides(table, written(tmp_path)).fingerprint == table.fingerprint


def test_a_patient_is_joined_by_the_name_that_a_person_sees(
    table: ImageTable, tmp_path: Path
) -> None:
    """Groups say where they were read, `column:P07`; whoever writes a line does not."""
    groups = np.array(["column:P07", "column:P08", "column:P08", "name:P09"])
    table = replace(table, groups=groups)
    path = written(tmp_path, "b/3.png,group,P07,", "b/4.png,group,column:P08,")
    fixed = apply_overrides(table, path)
    assert fixed.groups.tolist() == ["column:P07", "column:P08", "column:P07", "column:P08"]
    assert [one.check for one in fixed.findings] == ["overrides"]
    two = replace(table, groups=np.array(["column:P07", "name:P07", "x", "y"]))
    with pytest.raises(DataError, match=r"line 2: group P07 may be column:P07 or name:P07"):
        apply_overrides(two, written(tmp_path, "b/3.png,group,P07,"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("a/1.png,exclude,,", "a/9.png,exclude,,"), ("line 3", "'a/9.png'", "a/1.png")),
        (("a/1.png,delete,,",), ("line 2", "'delete'", "exclude, relabel, group")),
        (("a/1.png,relabel,c,",), ("line 2", "'c'", "a, b")),
        (("a/1.png,relabel,,",), ("line 2", "needs a value")),
        ((",exclude,,",), ("line 2", "names no image")),
        (("a/1.png,exclude,,", "a/1.png,relabel,b,"), ("line 3", "line 2", "keep one")),
        (("a/1.png,exclude,,", "a/2.png,exclude,,"), ("no image of class 'a'",)),
    ],
)
def test_a_wrong_line_is_named(
    table: ImageTable, tmp_path: Path, lines: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        apply_overrides(table, written(tmp_path, *lines))
    for word in words:
        assert word in str(error.value)


def test_a_file_that_is_none(table: ImageTable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        apply_overrides(table, tmp_path / "absent.csv")
    (tmp_path / "x.csv").write_text("file,action\na,exclude\n")
    with pytest.raises(DataError, match="no column 'path'"):
        apply_overrides(table, tmp_path / "x.csv")


def test_lines_name_images_as_tables_do(table: ImageTable, tmp_path: Path) -> None:
    lines = pd.DataFrame({
        "Path": ["1", "C:\\x\\b\\4.png", "3.png"], "Action": ["Exclude", "relabel", "group"],
        "Value": [None, "a", 7], "why": [np.nan] * 3,
    })  # fmt: skip
    lines.to_excel(tmp_path / "fix.xlsx")
    fixed = apply_overrides(table, tmp_path / "fix.xlsx")
    assert fixed.ids.tolist() == list(IDS[1:])
    assert fixed.labels.tolist() == [0, 1, 0]
    assert fixed.groups.tolist() == ["p", "7", "p"]
    twice = written(tmp_path, "2,exclude,,", "a/2,relabel,b,")
    with pytest.raises(DataError, match=r"line 3 says relabel b of a/2.png, and line 2"):
        apply_overrides(table, twice)
