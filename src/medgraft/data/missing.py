"""Words that stand for nothing in tables: `nan`, `N/A`, `None` and their like."""

from __future__ import annotations

# As pandas reads them by default, and marks; `none` and `na` in small letters may be classes.
MISSING = {"", "-", "--", "nan", "NaN", "NAN", "-nan", "-NaN", "N/A", "n/a", "NA", "#N/A", "#NA"}
MISSING |= {"?", "<NA>", "None", "null", "NULL", "Null", "NaT", "#N/A N/A"}
# In small letters, what names nobody either, though as a label it may be a class.
NOBODY = {word.lower() for word in MISSING} | {
    "n.a.", "nil", "unknown", "unk", "missing", "undefined", "unspecified", "unidentified",
    "not available", "not applicable", "not known", "not specified", "anonymous", "anonymized",
    "anonymised", ".", "-1",
}  # fmt: skip


def is_missing(cell: str) -> bool:
    """Whether a cell says nothing.

    >>> [is_missing(word) for word in ("", " N/A ", "none", "0")]
    [True, True, False, False]
    """
    return cell.strip() in MISSING
