"""A `.medgraft` file: what is written reads back, and what somebody else made does no harm."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from medgraft.bundle import archive
from medgraft.bundle.archive import read_index, unpacked
from medgraft.bundle.model import bundle_folder, load_model
from medgraft.bundle.predict import predict_files
from medgraft.bundle.publish import bundle_model
from medgraft.errors import BundleError, MedgraftError, NewerBundleError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.files import StorageError
from medgraft.learn import fit
from medgraft.learn.bundle_files import read_bundle
from numpy_model import ByBrightness, load_numpy

CORNER = (slice(4, 11), slice(4, 11))
CANARY = Path("canary")  # in the folder that a test runs in


class Bomb:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (CANARY.touch.__func__, (CANARY,))  # type: ignore[attr-defined,return-value]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved classifier, and a reader of its family."""
    loaders: Any = {**fit.LOADERS, "numpy": lambda folder, _: load_numpy(read_bundle(folder))}
    monkeypatch.setattr(fit, "LOADERS", loaders)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    ByBrightness(CORNER).save(folder)
    return folder


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


@pytest.fixture
def written(model: Path, extractor: Extractor, tmp_path: Path) -> Path:
    return bundle_model(model.parent, tmp_path / "model.medgraft", extractor)


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(path: Path, parts: dict[str, bytes], **index: Any) -> Path:
    """A zip of these parts whose index names them as they are, with these fields changed."""
    first = parts.pop("medgraft.json", b'{"schema": "1.0"}')
    said: Any = json.loads(first) if first[:1] == b"{" else {"pickle": True}
    said["files"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in parts.items()
    }
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("medgraft.json", first if "pickle" in said else json.dumps(said | index))
        for name, data in parts.items():
            opened.writestr(name, data)
    return path


def test_what_was_bundled_answers_the_same(written: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 140, np.uint8)).save(tmp_path / "a.png")
    (here,) = predict_files(
        load_model(written, cache=tmp_path / "cache"), [str(tmp_path / "a.png")]
    )
    (there,) = predict_files(ByBrightness(CORNER), [str(tmp_path / "a.png")])
    assert here == there
    assert here.answer is not None


def test_equal_models_give_equal_bytes(
    written: Path, model: Path, extractor: Extractor, tmp_path: Path
) -> None:
    os.utime(model / "bundle.json", (1, 1))
    again = bundle_model(model, tmp_path / "again.medgraft", extractor)
    assert again.read_bytes() == written.read_bytes()


def test_a_file_is_unpacked_once_and_a_changed_one_anew(written: Path, tmp_path: Path) -> None:
    first = bundle_folder(written)
    assert bundle_folder(written) == first
    zipped(written, entries(written), more="said")
    assert bundle_folder(written) != first


def test_what_a_killed_process_had_unpacked_goes_with_the_next(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = ("medgraft-unpacked-01234567", "medgraft-unpacked-held", "medgraft-run")
    left, held, run = (tmp_path / name for name in names)
    for folder in (left, held, run):
        (folder / "model").mkdir(parents=True)
        os.utime(folder, (1000, 1000))
    held_by_another = os.open(held, os.O_RDONLY)
    fcntl.flock(held_by_another, fcntl.LOCK_EX)
    folder = unpacked(zipped(tmp_path / "a.medgraft", entries(written), more="once"))
    assert folder.parent.parent == tmp_path
    assert [one.exists() for one in (left, held, run, folder)] == [False, True, True, True]
    os.utime(folder.parent, (1000, 1000))
    archive._remove_left(tmp_path)
    assert folder.exists()  # this process holds it
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    unpacked(zipped(tmp_path / "b.medgraft", entries(written), more="said"))
    assert (
        len(list(Path("/proc/self/fd").iterdir())) == before
    )  # one lock, however many are unpacked
    os.close(held_by_another)


def test_the_index_is_read_without_unpacking(written: Path) -> None:
    assert read_index(written)["classes"] == ["0", "1"]


def test_a_later_minor_schema_may_hold_more(written: Path, tmp_path: Path) -> None:
    parts = entries(written) | {"model/new.part": b"?", "extra/x.bin": b"?"}
    later = zipped(tmp_path / "later.medgraft", dict(parts), schema="1.7", unheard={"of": 1})
    assert read_bundle(bundle_folder(later))["format"] == 2
    assert not list(unpacked(later).rglob("*.bin"))
    with pytest.raises(BundleError, match="no part of a model"):
        unpacked(zipped(tmp_path / "same.medgraft", parts))


def test_a_later_major_schema_says_what_to_do(written: Path, tmp_path: Path) -> None:
    later = zipped(tmp_path / "later.medgraft", entries(written), schema="2.0", medgraft="9.1")
    with pytest.raises(NewerBundleError, match=r"schema 2\.0, written by medgraft 9\.1.*pip"):
        unpacked(later)


def _linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


NAMES = [
    "../up.json", "/etc/x.json", "model/../../x.json", "C:/x.json", "model\\x.json", "a//b.json",
    "model/x.json/", "model/.hidden.json", "//host/x.json", "model/x.json\n",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_part_leads_out_of_its_folder(name: str, written: Path, tmp_path: Path) -> None:
    before = {*tmp_path.rglob("*")}
    made = zipped(tmp_path / "bad.medgraft", entries(written) | {name: b"{}"})
    with pytest.raises(BundleError, match=r"could lead out|no part of a model"):
        unpacked(made)
    assert {*tmp_path.rglob("*")} - before == {made}


def test_links_doubles_and_compressed_parts_are_refused(written: Path, tmp_path: Path) -> None:
    def add(*infos: zipfile.ZipInfo | str, compressed: bool = False) -> Path:
        made = zipped(tmp_path / "bad.medgraft", entries(written))
        with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED if compressed else 0) as opened:
            for info in infos:
                opened.writestr(info, b"/etc/passwd" * 9)
        return made

    with pytest.raises(BundleError, match="is a link or a device"):
        unpacked(add(_linked("model/head.safetensors")))
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        pytest.raises(BundleError, match="holds a part twice"),
    ):
        unpacked(add("model/bundle.json"))
    with pytest.raises(BundleError, match="compressed"):
        unpacked(add("model/head.safetensors", compressed=True))


def test_ten_gigabytes_of_zeros_are_never_unpacked(written: Path, tmp_path: Path) -> None:
    """Compressed, said to be there, there as a hole on the disk, or listed thousands of times."""
    packed = tmp_path / "packed.medgraft"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("model/head.safetensors", bytes(10_000_000))
    with pytest.raises(BundleError, match="compressed"):
        unpacked(packed)
    parts = entries(written)
    parts["model/head.safetensors"] = b"0" * 8
    said = zipped(tmp_path / "said.medgraft", parts).read_bytes()
    at = said.rindex(b"PK\1\2", 0, said.rindex(b"model/head.safetensors"))
    huge = said[: at + 20] + struct.pack("<II", 10**9, 10**9) + said[at + 28 :]
    (tmp_path / "said.medgraft").write_bytes(huge)
    with pytest.raises(BundleError, match="overlap"):
        unpacked(tmp_path / "said.medgraft")
    with (tmp_path / "hole.medgraft").open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(BundleError, match=r"10\.0 GB"):
        unpacked(tmp_path / "hole.medgraft")
    many = zipped(tmp_path / "many.medgraft", {f"x{n}.json": b"" for n in range(1100)})
    with pytest.raises(BundleError, match="lists 1101 parts"):
        unpacked(many)


def test_nothing_is_executed_wherever_a_pickle_stands(written: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb())
    pickle.loads(bomb)  # noqa: S301  it does go off
    assert CANARY.exists()
    CANARY.unlink()
    places = [*entries(written), "model/head.safetensors", "model/backbone.safetensors",
              "model/seen.safetensors", "model/x.pkl", "data.pkl", "model/data.pkl"]  # fmt: skip
    for place in places:
        made = zipped(
            tmp_path / f"{places.index(place)}.medgraft", entries(written) | {place: bomb}
        )
        with suppress(MedgraftError):  # a part that nothing reads may be anything
            load_model(made, cache=tmp_path / "cache")
        assert not CANARY.exists()


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (b"{", "as JSON"),
        (b"[" * 100_000, "as JSON"),
        (b"\xff", "as JSON"),
        (b"[]", "schema None"),
        (b'{"schema": 1}', "schema 1"),
        (b'{"schema": "0.9", "files": {}}', "bundle its run again"),
        (b'{"schema": "1.0"}', "garbles"),
        (b'{"schema": "1.0", "files": {}}', "other parts"),
        (b'{"schema": "1.0", "files": {"README.md": {"bytes": "1", "sha256": ""}}}', "no size"),
        (b'{"schema": "1.0", "files": [], "metric": 1}', "garbles"),
    ],
)
def test_an_index_is_checked(index: bytes, said: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.medgraft", "w") as opened:
        opened.writestr("medgraft.json", index)
        opened.writestr("README.md", b"?")
    with pytest.raises(BundleError, match=said):
        unpacked(tmp_path / "x.medgraft")


def test_what_is_no_archive_is_told_so(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    (tmp_path / "empty.medgraft").touch()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as opened:
        opened.writestr("README.md", b"?")
    for name in ("image.png", "empty.medgraft", "other.zip"):
        with pytest.raises(BundleError, match="no model"):
            load_model(tmp_path / name)


def test_no_flipped_byte_passes_or_breaks_the_reader(written: Path, tmp_path: Path) -> None:
    whole, luck = written.read_bytes(), random.Random(0)
    made = tmp_path / "flipped.medgraft"
    for _ in range(300):
        harmed = bytearray(whole)
        for _ in range(luck.choice([1, 1, 4])):
            harmed[luck.randrange(len(harmed))] ^= 1 << luck.randrange(8)
        made.write_bytes(harmed[: luck.choice([len(harmed)] * 3 + [luck.randrange(len(harmed))])])
        try:
            folder = unpacked(made)
        except MedgraftError:
            continue
        content = json.loads((folder / "medgraft.json").read_text())
        assert {**content, "medgraft": ""}["files"] == read_index(written)["files"]


def test_what_cannot_be_bundled_is_refused(
    model: Path, written: Path, extractor: Extractor, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"must end in \.medgraft"):
        bundle_model(model, tmp_path / "model.zip", extractor)
    with pytest.raises(BundleError, match="a bundle already"):
        bundle_model(written, tmp_path / "b.medgraft", extractor)
    (model / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        bundle_model(model, tmp_path / "c.medgraft", extractor)
    assert not (tmp_path / "c.medgraft").exists()


def test_large_archives_are_told_from_their_end(tmp_path: Path, monkeypatch: Any) -> None:
    """Beyond 2 GB the numbers of a zip stand elsewhere; here they do from 100 bytes on."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    save_file({"a": np.zeros(99)}, tmp_path / "head.safetensors")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.write(tmp_path / "head.safetensors", "model/head.safetensors")
        opened.writestr("README.md", b"?")
    (tmp_path / "x.medgraft").write_bytes(buffer.getvalue())
    assert archive._directory(tmp_path / "x.medgraft")[1] == 2
