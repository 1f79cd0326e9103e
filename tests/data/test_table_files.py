"""Table files of every kind, against pandas and bytes made by hand."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from medgraft.data.tables.files import TableFile, read_table_file
from medgraft.errors import DataError


def read(folder: Path, content: str | bytes, name: str = "t.csv", **options: str) -> TableFile:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (table,) = read_table_file(path, **options)
    return table


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_what_pandas_writes_is_read_as_pandas_reads_it(tmp_path, mark):
    wild = [
        "a b",
        'quo"te',
        "com,ma",
        "semi;colon",
        "tab\there",
        "li\nne",
        "pi|pe",
        "größe",
        "画像",
    ]
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(9)], "label": wild, "age": range(9)})
    path = tmp_path / "t.csv"
    frame.to_csv(path, sep=mark, index=False)
    (table,) = read_table_file(path)
    again = pd.read_csv(path, sep=mark, dtype=str)
    assert table.header == tuple(again.columns)
    assert table.rows == [tuple(row) for row in again.to_numpy().tolist()]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path;label;;\n1.png;a;;\n", "t.csv"),
        ("sep=;\npath;label\n1.png;a\n", "t.csv"),
        ('"sep=;"\r\npath;label\r\n1.png;a\r\n', "t.csv"),
        (",path,label\n0,1.png,a\n", "t.csv"),
        ("Unnamed: 0,path,label\n0,1.png,a\n", "t.csv"),
        ("path,label\n7,1.png,a\n", "t.csv"),  # R's row names, which have no header
        ("# of 2020, by hand\n\n#\npath,label\n1.png,a\n", "t.csv"),
        ("#path,label\n1.png,a\n", "t.csv"),
        ("path,label\n1.png,a\n# the end\n", "t.csv"),
        ("path , label\n1.png,a\n,\n  ,\n", "t.csv"),
        ('path, label\n1.png, "a"\n', "t.csv"),
        ("Images of the ward\n\npath,label\n1.png,a\n2.png,b\n", "t.csv"),
        ("path  label\n1.png  a\n", "t.txt"),
        ('"path" "label"\n"1" "1.png" "a"\n', "t.txt"),
        ("path,label\r1.png,a\r", "t.csv"),  # an old Mac's lines
    ],
)
def test_what_offices_and_programs_add_is_taken_off(tmp_path, text, name):
    table = read(tmp_path, text, name)
    assert table.header == ("path", "label")
    assert [cell.strip() for cell in table.rows[0]] == ["1.png", "a"]


def test_a_row_is_found_where_it_ends(tmp_path):
    table = read(tmp_path, 'sep=,\n# note\npath,label\n"1\n.png",a\n\n2.png,b\n')
    assert [table.place(row) for row in (0, 1)] == ["t.csv line 5", "t.csv line 7"]


WORDS = {
    "german": "größer", "french": "bénin élevé", "spanish": "corazón niño",
    "polish": "złośliwy łagodny", "russian": "норма", "japanese": "正常", "turkish": "kötü ış",
    "greek": "υγιής",
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *((language, code) for language in WORDS for code in ("utf-8", "utf-8-sig", "utf-16")),
        *((language, code) for language in WORDS for code in ("utf-16-le", "utf-16-be", "utf-32")),
        ("german", "cp1252"), ("french", "cp1252"), ("spanish", "cp1252"),
    ],
)  # fmt: skip
def test_encodings_that_are_sure(tmp_path, language, encoding):
    rows = "".join(f"{i}.png,{WORDS[language]}\n" for i in range(20))
    if encoding in ("utf-16-le", "utf-16-be") and language in ("japanese", "greek", "russian"):
        rows += "x.png,plain text here\n" * 20
    table = read(tmp_path, ("path,label\n" + rows).encode(encoding))
    assert table.rows[0] == ("0.png", WORDS[language])
    assert bool(table.assumed) == (encoding in ("cp1252", "utf-16-le", "utf-16-be"))


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        ("german", "cp850"), ("german", "mac_roman"), ("french", "cp850"), ("french", "mac_roman"),
        ("polish", "cp1250"), ("polish", "iso8859_2"), ("russian", "cp1251"), ("russian", "koi8_r"),
        ("russian", "cp866"), ("japanese", "shift_jis"), ("japanese", "gb18030"),
        ("turkish", "cp1254"), ("greek", "cp1253"), ("spanish", "mac_roman"),
    ],
)  # fmt: skip
def test_other_encodings_are_asked_about_and_read_where_named(tmp_path, language, encoding):
    content = f"path,label\n1.png,{WORDS[language]}\n".encode(encoding)
    with pytest.raises(DataError, match=r"not UTF-8 .*--encoding"):
        read(tmp_path, content)
    assert read(tmp_path, content, encoding=encoding).rows == [("1.png", WORDS[language])]


def test_excel_cells_are_what_a_person_sees(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "label", "age", "when", "at", "flag", "share"])
    day = datetime.datetime(2020, 1, 31)
    sheet.append([7, "größer", 55.0, day, day.replace(hour=5), True, 0.25])
    sheet["A2"].number_format = "00000"
    sheet.append([None] * 7)
    sheet.append([12, "b", None, None, None, False, 1e-3])
    book.save(tmp_path / "t.xlsx")
    (table,) = read_table_file(tmp_path / "t.xlsx")
    day_, hour = "2020-01-31", "2020-01-31 05:00:00"
    assert table.rows[0] == ("00007", "größer", "55", day_, hour, "True", "0.25")
    assert table.rows[1] == ("12", "b", "", "", "", "False", "0.001")
    assert table.place(1) == "t.xlsx row 4"


def test_one_table_in_five_kinds_of_file_is_the_same(tmp_path):
    ages = [1.0, np.nan, 3.0]
    frame = pd.DataFrame({"image": ["a", "b", "c"], "dx": ["x", None, "y"], "age": ages})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", sep="\t")
    frame.to_excel(tmp_path / "t.xlsx")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.astype({"dx": "category"}).to_parquet(tmp_path / "t.pq")
    (tmp_path / "wrong_name.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    found = []
    for path in sorted(tmp_path.iterdir()):
        (table,) = read_table_file(path)
        cells = [tuple(cell.removesuffix(".0") for cell in row) for row in table.rows]
        found.append((table.header, cells))
    assert len(found) == 6
    truth = (("image", "dx", "age"), [("a", "x", "1"), ("b", "", ""), ("c", "y", "3")])
    assert all(one == truth for one in found)


def test_sheets(tmp_path):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame({"path": ["1.png"], "label": ["a"]}).to_excel(writer, sheet_name="one")
        pd.DataFrame({"path": ["2.png"], "label": ["b"]}).to_excel(writer, sheet_name="two")
        pd.DataFrame().to_excel(writer, sheet_name="empty")
        writer.book.create_sheet("hidden").append(["x"])
        writer.book["hidden"].sheet_state = "hidden"
    assert [table.part for table in read_table_file(path)] == ["one", "two"]
    (only,) = read_table_file(path, sheet="two")
    assert only.rows == [("2.png", "b")]
    with pytest.raises(DataError, match=r"no sheet 'three'; pass --sheet with one of: one, two"):
        read_table_file(path, sheet="three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1.png,a\n2.png,b\n", r"no header: its first line .1. names the image '1.png'"),
        ("1,0\n2,1\n", "no header: .* numbers only .1, 0."),
        ("path,label\n1.png,a,b\n2.png,b\n", "line 2 has 3 fields, the header 2; put values"),
        ("path,path\n1.png,a\n", "two columns of one name .'path'"),
        ('path,label\n"1.png,a\n', "not valid CSV .*check its quotes"),
        ("", "is empty; it needs a header"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "is no text|not UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"Excel file of before 2007.*save it as .xlsx"),
        (b"PK\x03\x04 and so on", "cannot be read as .xlsx"),
        (b"PAR1 and so on", "cannot be read as Parquet"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_an_excel_sheet_without_a_header(tmp_path):
    pd.DataFrame([["1.png", "a"], ["2.png", "b"]]).to_excel(
        tmp_path / "t.xlsx", header=False, index=False
    )
    with pytest.raises(DataError, match=r"t.xlsx has no header: its first row .1. names the image"):
        read_table_file(tmp_path / "t.xlsx")


def test_a_bomb_is_refused_from_its_header(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 300_000_000)
    with pytest.raises(DataError, match="unpacks to 300,000,011 bytes"):
        read_table_file(tmp_path / "t.xlsx")


def test_images_inside_a_parquet_file(tmp_path):
    frame = pd.DataFrame({"image": [{"bytes": b"x", "path": "1.png"}], "label": [0]})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="holds bytes in its column 'image'"):
        read_table_file(tmp_path / "t.parquet")
