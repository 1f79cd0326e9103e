"""A saved classifier as one file, `NAME.medgraft`: written by `medgraft bundle`, read anywhere.

A zip whose parts are stored as they are (equal classifiers give equal bytes): `medgraft.json` names
every part with its size and sha256, `README.md` is the model card, `model/` the folder of the
classifier. Reading executes nothing and believes nothing: names, sizes and hashes are checked
before a byte is written, and only JSON, Markdown and safetensors are parts at all. Nothing is
compressed, so that what is unpacked is never larger than the file.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgraft.errors import BundleError, NewerBundleError
from medgraft.features.weights import sha256_of
from medgraft.files import StorageError, explained, is_abandoned, written_file
from medgraft.version import __version__

SUFFIX = ".medgraft"
SCHEMA = "1.0"  # a reader understands every minor number of its major one
INDEX, CARD = "medgraft.json", "README.md"
PART = re.compile(r"model/(?:member\d{1,3}/){0,3}[a-z][a-z0-9_]*\.(json|safetensors)|README\.md")
SAFE = re.compile(r"(?:\w[\w.-]*/){0,8}\w[\w.-]*", re.ASCII)  # no climbing, no root, no drive
LARGEST = 4 << 30  # bytes of a whole archive
LARGEST_TEXT = 1 << 20  # bytes of a JSON file, of the card, and of the zip's own directory
MOST_PARTS = 1000
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of all parts: when a file was written tells nothing of it
CHUNK = 1 << 20
ELSEWHERE = "set TMPDIR to another folder"
UNPACKED = "medgraft-unpacked-"  # begins the names of folders in which archives are unpacked


def is_archive(path: Path) -> bool:
    """Whether a path is that of an archive: a file, where classifiers are folders."""
    return path.is_file()


# --------------------------------------------------------------------------- written


def write_archive(model: Path, out: Path, card: str, facts: Mapping[str, Any]) -> None:
    """Write the folder of a classifier, checked by whoever read it, as one file.

    card : Markdown. facts : what else `medgraft.json` says, as JSON.

    Raises
    ------
    BundleError
        The folder holds something that is no part of a classifier, or too much.
    StorageError
        The file cannot be written, or is not named `.medgraft`.
    """
    if out.suffix != SUFFIX:
        raise StorageError(f"--out {out} must end in {SUFFIX}, by which such a file is known")
    files = {f"model/{file.relative_to(model).as_posix()}": file for file in _files_below(model)}
    strange = [name for name in files if not PART.fullmatch(name)]
    if strange:
        raise BundleError(
            f"{model} holds {strange[0]!r}, which is no part of a model; take it out of the folder"
        )
    text = card.encode()
    listed = {name: _described(file) for name, file in files.items()}
    listed[CARD] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    size = sum(int(one["bytes"]) for one in listed.values())
    if size > LARGEST - LARGEST_TEXT:
        raise BundleError(
            f"{model} holds {size / 2**30:.1f} GB, and one file takes {LARGEST >> 30} at most; "
            "copy the folder, or deploy one network (--training deploy=distilled)"
        )
    index = {"schema": SCHEMA, "kind": "model", "medgraft": __version__, **facts, "files": listed}
    with written_file(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_entry(INDEX), _json(index))
        archive.writestr(_entry(CARD), text)
        for name in sorted(files):
            info = _entry(name)
            info.file_size = int(listed[name]["bytes"])
            with files[name].open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, CHUNK)


def _files_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if not file.is_dir())


def _described(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, FIRST_DAY)
    info.create_system = 3  # Unix on every system, so that bytes are equal
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


# --------------------------------------------------------------------------- read


_unpacked: dict[tuple[object, ...], Path] = {}
_owned: dict[Path, Path] = {}  # the folder of this process below that of temporary files


def unpacked(path: Path) -> Path:
    """The folder in which an archive's parts lie, `model` among them, for as long as this runs.

    Each process unpacks a file once, for itself alone, and takes the folder away when it ends; of
    one that was killed the next one takes it away.

    Raises
    ------
    NewerBundleError
        A later version wrote it in a form that this one does not know.
    BundleError
        It is no archive of a classifier, is damaged, or holds what none may hold.
    StorageError
        There is no room to unpack it.
    """
    status = path.stat()
    known = (path.resolve(), status.st_size, status.st_mtime_ns, status.st_ino)
    if known in _unpacked and _unpacked[known].is_dir():
        return _unpacked[known]
    folder = Path(tempfile.gettempdir())
    with explained(folder, ELSEWHERE):
        folder = Path(tempfile.mkdtemp(dir=_own(folder)))
    with explained(folder, ELSEWHERE):
        _unpack(path, folder)
    _unpacked[known] = folder
    return folder


def _own(top: Path) -> Path:
    """The one folder below `top` in which this process unpacks, locked for as long as it lives."""
    if top not in _owned or not _owned[top].is_dir():
        _remove_left(top)
        _owned[top] = Path(tempfile.mkdtemp(prefix=UNPACKED, dir=top))
        _hold(_owned[top])
        atexit.register(shutil.rmtree, _owned[top], ignore_errors=True)
    return _owned[top]


def _hold(folder: Path) -> int | None:
    """Lock a folder until what is given is closed, or this process ends; None if another holds it.

    Where folders cannot be locked nobody holds one, and none is taken away.
    """
    descriptor = None
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def _remove_left(folder: Path) -> None:
    """Take away what processes had unpacked there that were killed."""
    for path in folder.glob(f"{UNPACKED}*"):
        with suppress(OSError):  # another user's, or gone
            if path.is_symlink() or not is_abandoned(path):
                continue
            held = _hold(path)
            if held is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(held)


def read_index(path: Path) -> dict[str, Any]:
    """What `medgraft.json` of an archive says, all of its parts checked but their hashes.

    Raises
    ------
    NewerBundleError, BundleError
        As `unpacked`.
    """
    _check_container(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _index(archive, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise BundleError(f"{path} is no whole zip ({error}); get it again") from error


def _unpack(path: Path, folder: Path) -> None:
    _check_container(path)
    try:
        with zipfile.ZipFile(path) as archive:
            index = _index(archive, path)
            (folder / INDEX).write_text(_json(index), encoding="utf-8")
            for name, said in index["files"].items():
                if PART.fullmatch(name):
                    _unpack_part(archive, name, said, folder / name, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise BundleError(f"{path} is no whole zip ({error}); get it again") from error


def _unpack_part(
    archive: zipfile.ZipFile, name: str, said: Mapping[str, Any], to: Path, path: Path
) -> None:
    """Write one part, no more of it than was said, and refuse it if it is another."""
    to.parent.mkdir(parents=True, exist_ok=True)
    found, left = hashlib.sha256(), said["bytes"]
    with archive.open(name) as source, to.open("xb") as target:
        while left and (chunk := source.read(min(CHUNK, left))):
            found.update(chunk)
            target.write(chunk)
            left -= len(chunk)
    if left or found.hexdigest() != said["sha256"]:
        raise BundleError(f"{name} in {path} is not what {INDEX} there says; get the file again")


def _check_container(path: Path) -> None:
    """Refuse, before anything is read of it, a file or a directory of parts that is too large."""
    size = path.stat().st_size
    if size > LARGEST:
        raise BundleError(
            f"{path} has {size / 2**30:.1f} GB, and an archive has {LARGEST >> 30} at most; it is "
            "not one that medgraft bundle wrote"
        )
    directory, parts = _directory(path)
    if directory > LARGEST_TEXT or parts > MOST_PARTS:
        raise BundleError(
            f"{path} lists {parts} parts in {directory} bytes, more than any model has; it is not "
            "one that medgraft bundle wrote"
        )


def _directory(path: Path) -> tuple[int, int]:
    """Bytes and entries of a zip's directory, as its end says (APPNOTE 6.3.10, 4.3.14 to 4.3.16).

    The comment that may follow it is not looked for: ours have none.
    """
    with path.open("rb") as file:
        end = max(0, file.seek(0, 2) - 42)
        file.seek(end)
        tail = file.read()
        if tail[-22:-18] != b"PK\5\6":
            raise BundleError(
                f"{path} is no model: give a file that medgraft bundle wrote, or the folder of a "
                "finished study"
            )
        entries, size = struct.unpack("<HI", tail[-12:-6])
        if tail[:4] == b"PK\6\7":  # beyond 2 GB: the numbers stand elsewhere
            file.seek(struct.unpack("<Q", tail[8:16])[0])
            record = file.read(56)
            if record[:4] != b"PK\6\6" or len(record) < 56:
                raise BundleError(f"{path} is no whole zip; get it again")
            entries, size = struct.unpack("<QQ", record[32:48])
    return size, entries


def _index(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """What the archive says of itself, after all its entries were held to it."""
    entries = {info.filename: info for info in archive.infolist()}
    if len(entries) < len(archive.infolist()):
        raise BundleError(f"{path} holds a part twice; it is not one that medgraft bundle wrote")
    for info in entries.values():
        _check_entry(info, path)
    if sum(info.file_size for info in entries.values()) > path.stat().st_size:
        raise BundleError(f"the parts of {path} overlap; it is not one that medgraft bundle wrote")
    if INDEX not in entries:
        raise BundleError(f"{path} is a zip without {INDEX}, and so no model of medgraft")
    try:
        index = json.loads(archive.read(INDEX).decode())
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{INDEX} in {path} cannot be read as JSON: {error}") from error
    newer = _check_schema(index, path)
    try:
        files = {str(name): (one["bytes"], one["sha256"]) for name, one in index["files"].items()}
        metric = index.get("metric", "")
        if not all(type(n) is int and type(text) is str for n, text in files.values()):
            raise ValueError("a part has no size or no sha256")
        if type(metric) is not str:
            raise ValueError("metric is no text")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{INDEX} in {path} lacks or garbles a part ({error})") from error
    if {*files, INDEX} != {*entries} or any(entries[n].file_size != files[n][0] for n in files):
        raise BundleError(f"{path} holds other parts than {INDEX} there says; get the file again")
    unknown = [name for name in files if not PART.fullmatch(name)]
    if unknown and not newer:
        raise BundleError(
            f"{path} holds {unknown[0]!r}, which is no part of a model; it is not one that "
            "medgraft bundle wrote"
        )
    return dict(index)


def _check_entry(info: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an entry that climbs, links, is compressed or encrypted, or is no small text."""
    wrong = ""
    if not SAFE.fullmatch(info.filename) or info.is_dir():
        wrong = "has a name that could lead out of its folder"
    elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):  # 0: not said
        wrong = "is a link or a device, not a file"
    elif info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        wrong = "is compressed, which parts of a model never are"
    elif info.flag_bits & 0x1:
        wrong = "is encrypted"
    elif not info.filename.endswith(".safetensors") and info.file_size > LARGEST_TEXT:
        wrong = f"is a text of more than {LARGEST_TEXT >> 20} MB"
    if wrong:
        raise BundleError(
            f"{info.filename[:100]!r} in {path} {wrong}; it is not one that medgraft bundle wrote"
        )


def _check_schema(index: Any, path: Path) -> bool:
    """Refuse a later major schema; whether it is a later minor one, which may hold more."""
    schema = index.get("schema") if isinstance(index, dict) else None
    if not isinstance(schema, str) or not re.fullmatch(r"\d{1,6}\.\d{1,6}", schema, re.ASCII):
        raise BundleError(f"{INDEX} in {path} has schema {schema!r}, which is none; get it again")
    major, minor = map(int, schema.split("."))
    own_major, own_minor = map(int, SCHEMA.split("."))
    if major > own_major:
        raise NewerBundleError(
            f"{path} is of schema {schema}, written by medgraft {str(index.get('medgraft'))[:40]}, "
            f"and this version ({__version__}) reads {own_major}.x; use that version, or run: "
            "pip install -U medgraft"
        )
    if major < own_major:
        raise BundleError(
            f"{path} is of schema {schema}, and this version reads {own_major}.x; bundle its run "
            "again"
        )
    return minor > own_minor
