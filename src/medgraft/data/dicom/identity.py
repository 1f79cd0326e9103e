"""Where what names a person stops: a table of DICOM files leaves with hashes for names.

An image's id is a hash of its SOPInstanceUID, keyed by a salt that is made once a machine and
kept beside the cache, so that nobody else can try numbers out; folders and files lose their names
too. The groups are named by the contents of their images, and rows stand in the order of their
contents: no number hangs on the salt. `write_ids` tells the one who asks which file is which.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from medgraft.data.dicom.headers import KEYS, header_in
from medgraft.data.groups.columns import PERSON, rank_of
from medgraft.data.listing import Row
from medgraft.data.pixels.dicom_file import HEAD, guarded, is_dicom
from medgraft.errors import DecodeError
from medgraft.files import StorageError, cache_folder, csv_cell
from medgraft.types import ImageTable, Reading, Skipped, Strings, digest

PREFIX, OTHER = "dicom:", "image:"
FRAME = "#"  # between the name of a file and the number of a frame in it
SALT_BYTES = 32
LONGEST_HEAD = 1 << 16  # bytes in which a file says what it is
KNOWN_KINDS = {
    ".csv", ".tsv", ".txt", ".xlsx", ".pdf", ".xml", ".json", ".html", ".zip", ".gz", ".exe",
    ".nii", ".nii.gz", ".mp4", ".avi", ".npy", ".md", ".doc", ".docx", ".ini", ".inf", ".jar",
}  # fmt: skip
# A column of the user's table that may name a person, by words in its name.
PERSONAL = re.compile(
    r"name|birth|date|\bdob\b|mrn|accession|institut|hospital|physician|doctor|address|phone|mail"
    r"|patient.?id|study.?id|instance|series.?id|\buid\b|insurance|ssn|path|file",
    re.IGNORECASE,
)


def withheld(table: ImageTable) -> bool:
    """Whether a table's files have no names that may be written down, because some are DICOM."""
    return bool(len(table)) and str(table.ids[0]).startswith((PREFIX, OTHER))


def of_dicom(table: ImageTable) -> bool:
    """Whether some of a table's images are DICOM, as its ids or the names of its files say."""
    return withheld(table) or any(
        source.path.lower().endswith((".dcm", ".dicom")) for source in table.sources
    )


def hashed(text: str) -> str:
    """20 hexadecimal digits for a name, the same on this machine and no other."""
    return hashlib.blake2b(text.encode(), key=_salt(), digest_size=10).hexdigest()


def public_names(files: Sequence[str | os.PathLike[str]]) -> list[str]:
    """What files may be called in anything that is written: their paths, or hashes of them all
    where one of them is DICOM. Two files of one SOPInstanceUID are numbered. `path#3` is a frame.
    """
    paths = [os.fspath(file) for file in files]
    parts = [_frame_of(path) for path in paths]
    uids = {file: _instance(file) for file, _ in parts}
    if not any(uid is not None for uid in uids.values()):
        return paths
    seen: Counter[str] = Counter()
    names = []
    for file, frame in parts:
        uid = uids[file]
        name = f"{'file' if uid is None else 'dicom'}-{hashed(uid or file)}{frame}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


def _frame_of(name: str) -> tuple[str, str]:
    """A file, and which frame of it is meant as `#3`, or ''."""
    file, mark, frame = name.rpartition(FRAME)
    if not mark or not frame.isdecimal() or os.path.lexists(name):
        return name, ""
    return file, f"{mark}{frame}"


def upload_id(data: bytes) -> str:
    """The id that a table of this machine gives a DICOM file of one frame; '' for any other file.

    By the head of the file alone (PS3.10 7.1 repeats the SOPInstanceUID there), so that nothing in
    it can make this long.
    """
    import pydicom.filereader

    if not is_dicom(data[:HEAD]):
        return ""
    try:
        with guarded():
            head = io.BytesIO(data[:LONGEST_HEAD])
            found = pydicom.filereader.read_partial(head, stop_when=lambda *_: True)
            uid = str(found.file_meta.get("MediaStorageSOPInstanceUID", "")).strip()
            return f"{PREFIX}{hashed(uid)}" if uid else ""
    except (DecodeError, StorageError):
        return ""


def _instance(file: str) -> str | None:
    """A DICOM file's SOPInstanceUID, '' where it has none; None of any other file."""
    with suppress(OSError):
        if (header := header_in(file)) is not None:
            return header.keys[KEYS.index("SOPInstanceUID")]
    return "" if Path(file).suffix.lower() in (".dcm", ".dicom") else None


def _salt() -> bytes:
    """The machine's salt, made when it is first asked for; readable by its owner alone."""
    folder = cache_folder()
    path = folder.with_name(f"{folder.name}-ids.salt")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
            with open(temporary, "xb", opener=_private) as stream:
                stream.write(secrets.token_bytes(SALT_BYTES))
            with suppress(FileExistsError):  # another process was first; its salt is the one
                os.link(temporary, path)
            temporary.unlink()
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot write {path} ({error.strerror}), where the key of DICOM ids is kept; set "
            "MEDGRAFT_CACHE to a folder that can be written"
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# --------------------------------------------------------------------------- the table


def withhold(
    table: ImageTable, rows: Sequence[Row], data: Path, ids: Path | None = None
) -> ImageTable:
    """The same table without anything that names a person; `rows` are those it was made of, `data`
    what was read.

    ids : where to write which hash is which file.

    Raises
    ------
    StorageError
        The salt or `ids` cannot be written.
    """
    names = _names(rows)
    new = dict(zip(table.ids.tolist(), names, strict=True))
    private = {key for row in rows if row.dicom for key in row.dicom.keys if key}
    scrub = _Scrubber(table, rows, {*private, *_names_below(data), *data.parts})
    skipped = {one.source: f"file:{hashed(one.source)}" for one in table.skipped}
    findings = tuple(
        replace(
            one,
            text=scrub(one.text),
            remedy=scrub(one.remedy),
            images=tuple(new.get(id_) or skipped.get(id_) or scrub(id_) for id_ in one.images),
            numbers={k: scrub(v) if isinstance(v, str) else v for k, v in one.numbers.items()},
        )
        for one in table.findings
    )
    if ids is not None:
        write_ids(ids, rows, names, skipped)
    return replace(
        table,
        ids=np.array(names),
        groups=_groups_by_content(table),
        metadata={
            name: values
            for name, values in table.metadata.items()
            if not PERSONAL.search(name)
            and rank_of(name) != PERSON
            and not _names_files(values, rows)
        },
        root="",
        grouping=replace(table.grouping, text=scrub(table.grouping.text)),
        skipped=tuple(Skipped(skipped[one.source], scrub(one.reason)) for one in table.skipped),
        findings=findings,
        reading=_reading(table.reading, scrub),
    )


def nameless(skipped: Sequence[Skipped]) -> list[Skipped]:
    """The same files without their names, for a table of other images that DICOM files lie in."""
    return [Skipped(f"file:{hashed(one.source)}", one.reason) for one in skipped]


def _names(rows: Sequence[Row]) -> list[str]:
    """An id (n,) for each row; files of one SOPInstanceUID are numbered in their order."""
    seen: Counter[str] = Counter()
    names = []
    for row in rows:
        path = row.id.removesuffix(f"#{row.source.frame}")
        uid = row.dicom.keys[KEYS.index("SOPInstanceUID")] if row.dicom else ""
        name = f"{PREFIX if row.dicom else OTHER}{hashed(uid or path)}"
        if row.source.frame is not None:
            name += f"#{row.source.frame}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return names


def _groups_by_content(table: ImageTable) -> Strings:
    """The same groups (n,), each called by the contents of its images."""
    contents: dict[str, list[str]] = defaultdict(list)
    for group, content in zip(table.groups.tolist(), table.byte_hashes.tolist(), strict=True):
        contents[group].append(content)
    name = {group: f"patient:{digest(sorted(inside))}" for group, inside in contents.items()}
    return np.array([name[group] for group in table.groups.tolist()])


def _names_files(values: Strings, rows: Sequence[Row]) -> bool:
    """Whether a column holds identifiers: for half of the rows or more the row's own."""
    own = sum(
        bool(value) and row.dicom is not None and value in row.dicom.keys
        for value, row in zip(values.tolist(), rows, strict=True)
    )
    return 2 * own >= len(rows)


def _reading(reading: Reading, scrub: _Scrubber) -> Reading:
    unread: Counter[str] = Counter()
    for kind, n in reading.unread.items():
        unread[kind if kind in KNOWN_KINDS or not kind else "of other kinds"] += n
    by = reading.by if reading.by in ("", "layout", "folders") else "a table"
    left_out = tuple((scrub(what), n, scrub(why)) for what, n, why in reading.left_out)
    return replace(reading, by=by, left_out=left_out, unread=dict(unread))


def _names_below(data: Path) -> set[str]:
    """Names of all files and folders of a folder, or of those beside a table."""
    if not data.is_dir():
        return {path.name for path in data.parent.iterdir()}
    return {name for _, folders, files in os.walk(data) for name in (*folders, *files)}


class _Scrubber:
    """Takes the names of the files and folders of a table out of a sentence."""

    def __init__(self, table: ImageTable, rows: Sequence[Row], private: set[str]) -> None:
        public = {*table.classes, *(str(split) for split in set(table.splits.tolist()))}
        self.root = table.root
        self.parts = {
            part
            for text in (*(row.id for row in rows), *(one.source for one in table.skipped))
            for part in re.split(r"[/\\]", text)
            if len(part) > 2 and part not in public
        }
        self.parts |= {key for key in private if len(key) > 2}
        self.parts |= {part for part in Path(self.root).parts if len(part) > 2}
        self.parts -= public
        self.spaced = sorted((p for p in self.parts if re.search(r"[\s,;:'\"()]", p)), key=len)

    def __call__(self, text: str) -> str:
        if self.root:
            text = text.replace(self.root, "DATA")
        for part in reversed(self.spaced):
            text = text.replace(part, "…")
        words = re.split(r"([\s/\\,;:'\"()]+)", text)
        return "".join("…" if word.rstrip(".") in self.parts else word for word in words)


def write_ids(
    path: Path, rows: Sequence[Row], names: Sequence[str], skipped: Mapping[str, str]
) -> None:
    """Write a CSV id,path,frame that tells which hash is which file; its owner alone may read it.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "path", "frame"])
    for row, name in zip(rows, names, strict=True):
        frame = "" if row.source.frame is None else row.source.frame
        writer.writerow([name, csv_cell(row.source.path), frame])
    for source, name in skipped.items():
        writer.writerow([name, csv_cell(source), ""])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", opener=_private, encoding="utf-8", newline="") as stream:
            stream.write(text.getvalue())
    except OSError as error:
        raise StorageError(f"cannot write {path} ({error.strerror}); see --ids") from error


def without_paths(words: Sequence[str], table: ImageTable) -> list[str]:
    """A command's words with what may be a path of this table's files taken out, if it is withheld.

    >>> import numpy as np
    >>> from medgraft.types import ImageTable
    >>> none = np.array([""])
    >>> one = ImageTable(np.array(["dicom:1"]), (), none, np.array([0]), none, none, none, ("a",))
    >>> without_paths(["medgraft", "study", "/data/x", "--seed", "1", "--out=/data/y"], one)
    ['medgraft', 'study', '…', '--seed', '1', '--out=…']
    """
    if not withheld(table):
        return list(words)

    def public(word: str) -> str:
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals:
            return f"{name}={public(value)}"
        return "…" if re.search(r"[/\\]", word) or os.path.exists(word) else word  # noqa: PTH110

    return [public(word) for word in words]
