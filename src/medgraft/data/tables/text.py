"""The bytes of a text table (CSV, TSV, any delimiter) → records, each with the line it ends on."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from medgraft.errors import DataError

DELIMITERS = ",;\t|"
MARKS = (  # of UTF-32 first, because the mark of UTF-16 begins it
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHERS = "cp1250 cp1251 koi8_r cp1253 cp1254 mac_roman cp850 gb18030 cp932 euc_kr"
WESTERN_LETTERS = set("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜàáâãäåæçèéêëìíîïñòóôõöøùúûüßœŒªº")
SIGNS = set("µ°²³±–—’‘“”„…·×§€«»½¼¾¹®©\xa0")
LOOKED_AT = 50  # records by which the delimiter is known

Records = list[tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class TextTable:
    """Records as (line, fields), what stands between the fields, and what had to be assumed."""

    records: Records
    delimiter: str
    assumed: str = ""


def read_text_table(raw: bytes, name: str, encoding: str | None, blanks: bool = False) -> TextTable:
    """Cut a text table into fields; lines of blanks, comments (`#`) and `sep=` are left out.

    Parameters
    ----------
    raw, name
        The bytes, and the file's name for messages.
    encoding
        None: by its mark, else UTF-8, else UTF-16 or Windows-1252 where nothing speaks against it.
    blanks
        Whether fields may stand apart by blanks alone.

    Raises
    ------
    DataError
        The encoding is unknown, wrong or not sure; a quote is left open; a line has more fields
        than the first.
    """
    text, assumed = _decoded(raw, name, encoding)
    lines = text.splitlines(keepends=True)
    delimiter = ""
    if lines and (told := re.fullmatch(r"\W*sep=(.)\W*?[\r\n]*", lines[0], re.IGNORECASE)):
        delimiter, lines[0] = told[1], "\n"
    for at, line in enumerate(lines):  # comments above the header
        if line.strip() and (not line.lstrip().startswith("#") or _is_header(lines, at)):
            lines[at] = re.sub(r"^\s*#\s*", "", line)
            break
        lines[at] = "\n"
    if not delimiter:
        delimiter = _delimiter(lines, blanks)
    records = [
        (line, fields)
        for line, fields in _cut(lines, delimiter, name)
        if any(field.strip() for field in fields)
        and not (fields[0].lstrip().startswith("#") and not any(f.strip() for f in fields[1:]))
    ]
    return TextTable(records, delimiter, assumed)


def _is_header(lines: Sequence[str], at: int) -> bool:
    """Whether a commented line is the header: the next, of as many fields, already holds data."""
    below = next((line for line in lines[at + 1 :] if line.strip()), "")
    delimiter = max(DELIMITERS, key=below.count)
    fields = [field.strip() for field in below.split(delimiter)]
    data = any(re.search(r"\.[A-Za-z]{3,5}$|^-?\d+(\.\d+)?$", field) for field in fields)
    return data and 0 < below.count(delimiter) == lines[at].count(delimiter)


def _delimiter(lines: Sequence[str], blanks: bool) -> str:
    """What cuts the first records into the most fields without any having more than the first."""
    head = "".join(lines[: 4 * LOOKED_AT])
    first = next((line for line in lines if line.strip()), "")
    most = max(DELIMITERS, key=first.count)

    def fit(delimiter: str) -> tuple[bool, int]:
        try:
            reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
            found = [row for row in reader if any(f.strip() for f in row)][:LOOKED_AT]
        except csv.Error:
            return False, 0
        widths = [max(i for i, f in enumerate(row, 1) if f.strip()) for row in found]
        steady = bool(widths) and max(widths) <= len(found[0]) and max(widths) > 1
        return steady, len(found[0]) if found else 0

    steady = {delimiter: fit(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: (*steady[d], d == most))
    if steady[best][0]:
        return best
    return " " if blanks and not any(mark in first for mark in DELIMITERS) else most


def _cut(lines: Sequence[str], delimiter: str, name: str) -> Records:
    if delimiter == " ":
        lines = [re.sub(r"[ \t]+", " ", line).strip() + "\n" for line in lines]
    text = "".join(lines)
    # a blank between delimiter and quote would make the quote a part of the value
    padded = re.search(rf'(?m)(^|{re.escape(delimiter)}) +"[^"\r\n]*"', text) is not None
    # strict, because a quote left open would otherwise swallow the rest of the file in silence
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=padded
    )
    try:
        return [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise DataError(
            f"{name} line {reader.line_num} is not valid CSV ({error}); check its quotes"
        ) from error


def _decoded(raw: bytes, name: str, encoding: str | None) -> tuple[str, str]:
    """The text, and what was assumed to get it."""
    for mark, known in MARKS:
        if raw.startswith(mark):
            return _by(raw, known, name), ""
    if encoding is not None:
        return _by(raw, encoding, name), ""
    if b"\0" in raw:
        even, odd = raw[0::2].count(0), raw[1::2].count(0)
        seems = "utf-16-le" if odd > even else "utf-16-be"
        if max(even, odd) < len(raw) / 5 or min(even, odd) > max(even, odd) / 10:
            raise DataError(f"{name} is no text, so no table; give a CSV, .xlsx or .parquet")
        return _by(raw, seems, name), f"{name} has no mark and was read as {seems.upper()}."
    try:
        return raw.decode(), ""
    except UnicodeDecodeError as error:
        place = f"byte {error.start} is 0x{raw[error.start]:02x}"
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    words = _foreign_words(text)
    if not words or not all(map(_is_western, words)):
        raise DataError(_unsure(raw, name, place))
    return text, (
        f"{name} is not UTF-8 and was read as Windows-1252 (such as '{words[0]}'; --encoding "
        "NAME reads it otherwise)."
    )


def _by(raw: bytes, encoding: str, name: str) -> str:
    try:
        return raw.decode(encoding)
    except LookupError as error:
        raise DataError(
            f"there is no encoding '{encoding}'; pass --encoding utf-8, utf-16, cp1252 or another "
            "that Python knows"
        ) from error
    except UnicodeError as error:
        raise DataError(
            f"{name} is not {encoding} ({error}); pass --encoding with the one it was saved in, "
            "or save it as 'CSV UTF-8'"
        ) from error


def _foreign_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\s,;|\"]+", text) if not word.isascii()]


def _is_western(word: str) -> bool:
    """Whether a word read as Windows-1252 could be of a Western language: its letters are, half of
    them plain, no capital after a small one, no sign between two letters.

    Other encodings put their letters where this one has signs, capitals or letters of Iceland.
    """
    foreign = [c for c in word if not c.isascii()]
    if not all(c in WESTERN_LETTERS or c in SIGNS for c in foreign):
        return False
    letters = [c for c in foreign if c in WESTERN_LETTERS]
    plain = sum(c.isascii() and c.isalnum() for c in word)
    inside = re.search(r"[^\W\d_][„“”…€§×®©¼½¾±–—¹²³µ°·][^\W\d_]|[²³¹][^\W\d_]", word)
    capital = re.search(r"[a-zà-öø-ÿœ][À-ÖØ-ÞŒ]", word)
    return len(letters) <= max(1, plain) and not inside and not capital


def _unsure(raw: bytes, name: str, place: str) -> str:
    """The question which encoding it is, with how a word looks in each."""
    readings: dict[str, str] = {}
    for encoding in ("cp1252", *OTHERS.split()):
        try:
            words = _foreign_words(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
        if words and all(c.isalpha() for word in words for c in word if not c.isascii()):
            readings.setdefault(" ".join(words[:3])[:40], encoding)
    seen = ", ".join(f"--encoding {e} ('{words}')" for words, e in readings.items())
    return (
        f"{name} is not UTF-8 ({place}), and which encoding it is is not sure; save it as 'CSV "
        f"UTF-8', or pass one of: {seen or '--encoding NAME'}"
    )
