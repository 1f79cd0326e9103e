"""Nothing that names a person leaves a folder of DICOM files, whatever is done with it.

Every file that the commands write, the cache too, is searched for words that stand in the headers,
in the names of files and folders, and in the path that was typed.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dicom_files import data_set, written
from medgraft.cli import main
from medgraft.features.cache import Cache

WORD = "Zqxsentinel"
UID, BIRTH, STUDIED = "1.2.826.77712345", "18990307", "18980405"
SECRETS = re.compile(
    rf"{WORD}|{re.escape(UID)}|(?<!\d)(?:{BIRTH}|{STUDIED}|1899-03-07)(?!\d)".encode(),
    re.IGNORECASE,
)


def image(label: int, patient: int, number: int) -> bytes:
    rng = np.random.default_rng(100 * patient + number)
    pixels = rng.integers(0, 120, (64, 64)).astype(np.uint8)
    pixels[16:48, 16:48] += np.uint8(100 * label)
    uid = f"{UID}.{patient}.{number}"
    ds = data_set(
        pixels, PatientID=f"{WORD}-{patient}", PatientName=f"{WORD}^Jane", PatientBirthDate=BIRTH,
        StudyDate=STUDIED, InstitutionName=f"{WORD} Clinic", StationName=WORD[:16],
        AccessionNumber=WORD[:16], OperatorsName=WORD, StudyDescription=f"{WORD} chest",
        StudyInstanceUID=f"{UID}.{patient}", SOPInstanceUID=uid, Manufacturer="Maker",
        DeviceSerialNumber=WORD, BurnedInAnnotation="YES", SeriesDescription=WORD,
    )  # fmt: skip
    ds.private_block(0x0011, WORD, create=True).add_new(1, "LO", WORD)
    return written(ds)


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    root = tmp_path / f"{WORD} files" / "clinic"
    for label, name in enumerate(("well", "ill")):
        for patient in range(6):
            for number in range(2):
                folder = root / name / f"{WORD}_{patient}"
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"{WORD}{patient}{number}"
                file.write_bytes(image(label, 10 * label + patient, number))
    whole = image(1, 99, 0)
    (root / "ill" / f"{WORD}_0" / f"{WORD}cut").write_bytes(whole[:-2000])
    (root / "ill" / f"{WORD}_0" / f"{WORD}empty.dcm").write_bytes(b"")
    (root / "ill" / f"{WORD}_0" / f"{WORD}.{WORD[:6]}").write_bytes(b"notes")
    report = data_set(np.zeros((2, 2), np.uint8), PatientName=WORD, PixelData=None, Rows=None)
    (root / "well" / f"{WORD}_0" / f"{WORD}report").write_bytes(written(report))
    table = root / f"{WORD} labels.csv"
    table.write_text(
        "PatientID,label,PatientName,note\n"
        + "".join(
            f"{WORD}-{10 * i + p},{'ab'[i]},{WORD},{WORD} {i}\n" for i in range(2) for p in range(6)
        ),
        encoding="utf-8",
    )
    return root


def told(folder: Path) -> list[str]:
    """The files below a folder that hold a secret, in their names or anywhere inside."""
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if any(SECRETS.search(part) for part in [name.encode(), *parts_of(file)]):
            found.append(name)
    return found


def parts_of(file: Path) -> list[bytes]:
    """A file's bytes, and what is packed in it; pictures inside pages are left out."""
    data = file.read_bytes()
    text = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", data)
    parts = [text, text.replace(b"\0", b"")]  # the second finds wide characters
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            parts += [archive.read(member) for member in archive.namelist()]
    if data[:2] == b"\x1f\x8b":
        parts.append(gzip.decompress(data))
    if file.suffix == ".parquet":
        table = pd.read_parquet(io.BytesIO(data)).reset_index()
        parts.append(table.to_csv().encode())
    return parts


@pytest.fixture
def medgraft(monkeypatch: pytest.MonkeyPatch, cache: Cache):
    def run(*words: object) -> int:
        argv = ["medgraft", *map(str, words), "--cache", str(cache.folder)]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


@pytest.mark.parametrize(
    "thorough", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick", "thorough"]
)
def test_nothing_personal_is_written(
    thorough: bool,
    clinic: Path,
    tmp_path: Path,
    cache: Cache,
    medgraft,
    capsys: pytest.CaptureFixture[str],
):
    """Every command, once; `thorough` by graphs too, whose conversion takes most of the time."""
    out = tmp_path / "out"
    run = out / "run"
    engine = ["--engine", "openvino" if thorough else "torch"]
    few = ["--heads", "svm", "--audit-pairs", "4", "--quiet", *engine]
    assert medgraft("study", clinic, "--out", run, *few) == 0
    assert medgraft("evaluate", run, clinic, "--out", out / "evaluation", *engine) == 0
    assert medgraft("audit", run, clinic, "--out", out / "audit", "--pairs", "4", *engine) == 0
    some = [path for path in sorted((clinic / "ill").rglob("*")) if path.is_file()][:3]
    assert medgraft("explain", run, *some, "--out", out / "maps", "--taps", "stem") == 0
    medgraft("predict", run, clinic, "--out", out / "predictions.csv", *engine)
    assert medgraft("encode", clinic, "--out", out / "codes.parquet", *engine) == 0
    if thorough:
        assert medgraft("profile", clinic, "--out", out / "profile") == 0
        assert medgraft("study", clinic, "--out", run, *few, "--resume") == 0
        assert medgraft("explain", run, *some, "--out", out / "layers", "--layers") == 0
    # what goes wrong
    assert medgraft("study", clinic, "--out", out / "other", "--group", "no such column") == 1
    assert medgraft("study", clinic, "--out", run, "--heads", "logistic", "--resume") == 1
    table = clinic / f"{WORD} labels.csv"
    assert medgraft("profile", table, "--out", out / "table", "--no-codes") == 0
    said = capsys.readouterr()
    assert said.out

    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"report.html", "result.json", "run.jsonl", "config.json", "predictions.parquet"} <= {
        file.name for file in files
    }
    assert {"data.html", "evaluation.html", "audit.html", "codes.parquet"} <= {
        file.name for file in files
    }
    assert told(out) == []
    assert told(cache.folder) == []


def test_the_search_finds_what_is_there(clinic: Path, tmp_path: Path):
    assert len(told(clinic)) == 24 + 5
    for name, content in {
        "wide.txt": WORD.encode("utf-16-le"),
        "packed.gz": gzip.compress(WORD.upper().encode()),
    }.items():
        (tmp_path / "there" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    np.savez_compressed(tmp_path / "there" / "a.npz", a=np.frombuffer(WORD.encode(), np.uint8))
    pd.DataFrame({"id": [WORD]}).to_parquet(tmp_path / "there" / "a.parquet")
    assert len(told(tmp_path / "there")) == 4


def test_only_ids_tells_which_file_is_which(clinic: Path, tmp_path: Path, medgraft):
    assert medgraft(
        "profile", clinic, "--out", tmp_path / "out", "--no-codes", "--ids", tmp_path / "ids.csv"
    ) == 0  # fmt: skip
    assert told(tmp_path / "out") == []
    assert (tmp_path / "ids.csv").read_text(encoding="utf-8").count(WORD) >= 24
