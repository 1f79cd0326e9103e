"""Folders and tables of DICOM files: groups, frames, labels; and no number hangs on the salt."""

from __future__ import annotations

import csv
import errno
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_files import data_set, dicom, written
from medgraft.classifier_input import given_images
from medgraft.data.dicom import headers
from medgraft.data.dicom.headers import frames_in
from medgraft.data.dicom.identity import public_names, upload_id, withheld
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.pixels.decode import decode
from medgraft.data.pool.pool import DecodePool
from medgraft.data.split import make_folds, with_test_split
from medgraft.data.unlabelled import images_named, readable, unlabelled
from medgraft.errors import DataError, DecodeError
from medgraft.types import ImageTable, Source

RNG = np.random.default_rng(3)


def picture() -> np.ndarray:
    return RNG.integers(0, 256, (8, 8)).astype(np.uint8)


def save(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def ids_of(table: ImageTable, folder: Path, **options: object) -> dict[str, str]:
    """Path by id, as `--ids` writes it."""
    file = folder / "ids.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row["path"] for row in csv.DictReader(stream)}


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Two classes, six patients of two studies of two images each; names without suffix."""
    for patient in range(6):
        for study in range(2):
            for image in range(2):
                uid = f"1.2.{patient + 1}.{study + 1}"
                data = dicom(
                    picture(), PatientID=f"P{patient}", StudyInstanceUID=uid,
                    SOPInstanceUID=f"{uid}.{image + 1}", Manufacturer="Maker", KVP="80",
                    ViewPosition="PA",
                )  # fmt: skip
                save(
                    tmp_path
                    / "clinic"
                    / ("ill" if patient % 2 else "well")
                    / f"IM{patient}{study}{image}",
                    data,
                )
    return tmp_path / "clinic"


def test_class_folders_of_files_without_suffix(clinic: Path, tmp_path: Path):
    table = load(clinic, LoadOptions(ids=tmp_path / "ids.csv"))
    assert len(table) == 24
    assert table.classes == ("ill", "well")
    assert len(set(table.groups.tolist())) == 6
    assert table.grouping.rule == "PatientID"
    assert all(id_.startswith("dicom:") for id_ in table.ids.tolist())
    paths = ids_of(table, tmp_path)
    patients = {}
    for id_, group, label in zip(table.ids, table.groups, table.labels, strict=True):
        file = Path(paths[str(id_)])
        assert file.parent.name == table.classes[label]
        patients.setdefault(str(group), set()).add(file.name[:3])
    assert sorted(map(sorted, patients.values())) == [[f"IM{i}"] for i in range(6)]
    assert set(table.metadata) >= {"DICOM manufacturer", "DICOM kVp", "DICOM view"}
    assert table.root == ""
    assert stat.S_IMODE((tmp_path / "ids.csv").stat().st_mode) == 0o600


def test_studies_stay_whole_where_a_file_lost_its_patient(tmp_path: Path):
    for i, (patient, study) in enumerate(
        [("A", "1.1"), ("", "1.1"), ("A", "1.2"), ("B", "1.3"), ("anonymous", "1.3"), ("", "1.4")]
    ):
        save(
            tmp_path / ("a" if i % 2 else "b") / f"{i}.dcm",
            dicom(picture(), PatientID=patient, StudyInstanceUID=study),
        )
    table = load(tmp_path, LoadOptions(ids=tmp_path.parent / "i.csv"))
    with (tmp_path.parent / "i.csv").open() as stream:
        name = {row["id"]: Path(row["path"]).stem for row in csv.DictReader(stream)}
    groups = {}
    for id_, group in zip(table.ids, table.groups, strict=True):
        groups.setdefault(str(group), set()).add(name[str(id_)])
    assert sorted(map(sorted, groups.values())) == [["0", "1", "2"], ["3", "4"], ["5"]]


def test_one_name_for_all_patients_is_no_patient(tmp_path: Path):
    for i in range(8):
        save(
            tmp_path / ("a" if i % 2 else "b") / f"{i}.dcm",
            dicom(picture(), PatientID="Study42", StudyInstanceUID=f"1.2.{i // 2}"),
        )
    table = load(tmp_path)
    assert len(set(table.groups.tolist())) == 4
    assert table.grouping.rule == "StudyInstanceUID"
    assert "all name the same patient" in table.grouping.text


def test_groups_as_asked_for(clinic: Path):
    assert len(set(load(clinic, LoadOptions(group="StudyInstanceUID")).groups.tolist())) == 12
    assert len(set(load(clinic, LoadOptions(no_groups=True)).groups.tolist())) == 24
    by_name = load(clinic, LoadOptions(group="regex:IM[0-2]"))
    assert (
        len(set(by_name.groups.tolist())) == 3 + 6
    )  # IM3… are not matched: their studies stay whole


def test_each_frame_is_an_image_of_its_files_group(tmp_path: Path):
    frames = RNG.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    for i in range(4):
        ds = data_set(frames + np.uint8(i), PatientID=f"P{i}")
        save(tmp_path / ("a" if i % 2 else "b") / f"{i}.dcm", written(ds))
    for options in (LoadOptions(), LoadOptions(no_groups=True)):
        table = load(tmp_path, options)
        assert len(table) == 12
        assert len(set(table.groups.tolist())) == 4
        assert len(set(table.content_hashes.tolist())) == 12
    assert [f.check for f in table.findings if f.check == "dicom_frames"]
    shown = {decode(source).pixels.tobytes() for source in table.sources}
    assert shown == {(frame + np.uint8(i)).tobytes() for frame in frames for i in range(4)}


def test_frames_of_many_bits_without_a_window_share_the_range_of_the_data_set(tmp_path: Path):
    for i in range(4):
        frames = RNG.integers(0, 4096, (3, 8, 8)).astype(np.uint16)
        save(tmp_path / "ab"[i % 2] / f"{i}.dcm", written(data_set(frames, 12)))
    table = load(tmp_path)
    assert len(table) == 12
    assert (table.rule.low, table.rule.high) == (0, 4095)
    assert all(decode(source).pixels.shape == (8, 8) for source in table.sources)
    assert not {"pixel_depth"} & {one.check for one in table.findings}
    named = unlabelled([str(tmp_path)])
    assert sorted(named.byte_hashes) == sorted(table.byte_hashes)
    assert len(set(named.groups.tolist())) == 4
    assert (named.rule.low, named.rule.high) == (0, 4095)
    assert [name.partition("#")[2] for name in named.ids] == ["0", "1", "2"] * 4


def test_frames_are_named_by_their_file_and_an_upload_says_that_it_has_more(tmp_path: Path):
    frames = RNG.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    file = save(tmp_path / "p.dcm", written(data_set(frames, SOPInstanceUID="1.2.3")))
    found = images_named([str(tmp_path), str(tmp_path / "absent.dcm")])
    assert list(found) == [*(f"{file}#{k}" for k in range(3)), str(tmp_path / "absent.dcm")]
    for k, source in enumerate(readable(found).values()):
        if k < 3:
            np.testing.assert_array_equal(decode(source).pixels, frames[k])
            assert decode(source).remark == ""
    names = public_names(list(found)[:3])
    assert [name.partition("#")[2] for name in names] == ["0", "1", "2"]
    assert len({name.partition("#")[0] for name in names}) == 1
    assert "p.dcm" not in names[0]
    assert decode(file.read_bytes()).remark == "the first of its 3 frames"
    with pytest.raises(DataError, match="is a DICOM file of 3 frames"):
        given_images([str(file)])


def test_a_header_is_read_without_its_pixels(tmp_path: Path):
    """Of a file of gigabytes, too, which decoding refuses by its size."""
    frames = RNG.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    file = save(tmp_path / "p.dcm", written(data_set(frames, SOPInstanceUID="1.2.3")))
    with file.open("r+b") as stream:
        stream.truncate(5 << 30)  # sparse
    tracemalloc.start()
    try:
        assert frames_in(file) == 3
        assert public_names([file])[0].startswith("dicom-")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 << 20
    with pytest.raises(DecodeError, match="bytes, more than"):
        decode(Source(str(file), 0))


def test_a_header_is_read_where_no_file_can_be_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "no mapping here")

    frames = RNG.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    file = save(tmp_path / "Jane_Doe", written(data_set(frames, SOPInstanceUID="1.2.3")))
    monkeypatch.setattr(headers.mmap, "mmap", type("mmap", (), {"__init__": refuse}))
    assert frames_in(file) == 3
    assert public_names([file])[0].startswith("dicom-")


def test_a_window_that_is_said_leaves_nothing_to_warn_of(tmp_path: Path):
    for i in range(6):
        window = {} if i % 3 else {"WindowCenter": "1000", "WindowWidth": "800"}
        pixels = RNG.integers(0, 4096, (8, 8)).astype(np.uint16)
        save(tmp_path / "ab"[i % 2] / f"{i}.dcm", written(data_set(pixels, 12, **window)))
    assert "dicom_windows" in {one.check for one in load(tmp_path).findings}
    table = load(tmp_path, LoadOptions(window=(40, 400)))
    assert "dicom_windows" not in {one.check for one in table.findings}


@pytest.mark.parametrize("frames", ["2147483647", "40"])
def test_frames_that_a_file_cannot_hold_are_a_problem_of_that_file(tmp_path: Path, frames: str):
    for name, count in (("a/1", frames), ("a/2", "1"), ("b/1", "1"), ("b/2", "1")):
        save(tmp_path / name, dicom(picture(), NumberOfFrames=count))
    table = load(tmp_path)
    assert len(table) == 3
    assert f"{int(frames):,} frames, more than its" in table.skipped[0].reason


def test_two_copies_of_an_image_are_two_rows(tmp_path: Path):
    data = dicom(picture(), SOPInstanceUID="1.2.3.4")
    for path in ("a/1.dcm", "b/1.dcm", "b/2.dcm"):
        save(tmp_path / path, data)
    assert len(set(load(tmp_path).ids.tolist())) == 3


@pytest.mark.parametrize(
    "column", ["SOPInstanceUID", "study_instance_uid", "PatientID", "id", "path"]
)
def test_a_table_names_images_studies_or_patients(clinic: Path, tmp_path: Path, column: str):
    lines = [f"{column},label,age"]
    for patient in range(6):
        label = "ill" if patient % 2 else "well"
        if column == "PatientID":
            lines.append(f"P{patient},{label},{40 + patient}")
        for study in range(2):
            uid = f"1.2.{patient + 1}.{study + 1}"
            if column == "study_instance_uid":
                lines.append(f"{uid},{label},{40 + patient}")
            for image in range(2):
                if column in ("SOPInstanceUID", "id"):
                    lines.append(f"{uid}.{image + 1},{label},{40 + patient}")
                elif column == "path":
                    lines.append(f"{label}/IM{patient}{study}{image},{label},{40 + patient}")
    (clinic / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    table = load(clinic / "labels.csv", LoadOptions(ids=tmp_path / "ids.csv"))
    assert len(table) == 24
    assert len(set(table.groups.tolist())) == 6
    paths = ids_of(table, tmp_path)
    for id_, label in zip(table.ids, table.labels, strict=True):
        assert Path(paths[str(id_)]).parent.name == table.classes[label]
    assert "age" in table.metadata
    assert not [name for name in table.metadata if "UID" in name or "uid" in name or name == "id"]


def test_a_table_that_names_files_is_read_by_them_whatever_patients_it_names(
    clinic: Path, tmp_path: Path
):
    """One image of each patient's four: the others are not in the table, and not of this label."""
    lines = ["filename,PatientID,label"]
    lines += [f"IM{n}00,P{n},{'ill' if n % 2 else 'well'}" for n in range(6)]
    lines += [f"IM{n}11,P{n},{'well' if n % 2 else 'ill'}" for n in range(6)]
    (clinic / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    table = load(clinic / "labels.csv", LoadOptions(ids=tmp_path / "ids.csv"))
    paths = ids_of(table, tmp_path)
    read = {
        Path(paths[str(id_)]).name: table.classes[label]
        for id_, label in zip(table.ids, table.labels, strict=True)
    }
    wanted = {line.split(",")[0]: line.split(",")[2] for line in lines[1:]}
    assert read == wanted
    assert len(set(table.groups.tolist())) == 6


def test_kinds_that_mix_are_a_finding(clinic: Path):
    for i in range(4):
        Image.fromarray(picture()).save(clinic / "ill" / f"{i}.png")
    table = load(clinic)
    [finding] = [one for one in table.findings if one.check == "dicom_mixed"]
    assert finding.severity == "warn"
    assert "ill: 12 and 4; well: 12 and 0" in finding.text or "well: 12 and 0" in finding.text
    assert sum(id_.startswith("image:") for id_ in table.ids.tolist()) == 4


def test_text_in_the_picture_private_tags_and_windows_are_findings(clinic: Path):
    ds = data_set(picture(), BurnedInAnnotation="YES", WindowCenter="100", WindowWidth="200")
    ds.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "Doe")
    save(clinic / "ill" / "x", written(ds))
    save(clinic / "ill" / "y", dicom(picture(), WindowCenter="10", WindowWidth="20"))
    found = {one.check: one for one in load(clinic).findings}
    assert found["dicom_burned_in"].severity == "warn"
    assert found["dicom_burned_in"].images[0].startswith("dicom:")
    assert found["dicom_private_tags"].numbers["files"] == 1
    assert found["dicom_windows"].numbers["windows"] == 2
    save(clinic / "ill" / "z", dicom(picture().astype(np.uint16) * 16, 12))
    found = {one.check: one for one in load(clinic).findings}
    assert found["dicom_windows"].severity == "warn"


def test_what_holds_no_picture_is_skipped_with_its_reason(clinic: Path):
    save(clinic / "ill" / "report", written(data_set(picture(), PixelData=None, Rows=None)))
    save(clinic / "ill" / "empty.dcm", b"")
    save(clinic / "ill" / "no.dcm", b"hello, this is no DICOM file at all" * 10)
    table = load(clinic)
    assert len(table) == 25  # whether bytes are a picture shows when they are decoded
    reasons = {one.reason for one in table.skipped}
    assert any("no pixels" in reason for reason in reasons)
    assert "empty file" in reasons
    assert all(one.source.startswith("file:") for one in table.skipped)


def test_other_images_keep_their_names_where_no_dicom_file_has_a_picture(tmp_path: Path):
    for i in range(4):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(picture()).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    before = load(tmp_path)
    save(tmp_path / "a" / "report", written(data_set(picture(), PixelData=None, Rows=None)))
    table = load(tmp_path)
    assert table.fingerprint == before.fingerprint
    assert [one.source[:5] for one in table.skipped] == ["file:"]
    assert not [one for one in table.findings if one.check == "dicom_mixed"]


def test_only_dicom_without_pictures_is_an_error_with_the_reason(tmp_path: Path):
    save(tmp_path / "a" / "1", written(data_set(picture(), PixelData=None, Rows=None)))
    save(tmp_path / "b" / "1", written(data_set(picture(), PixelData=None, Rows=None)))
    with pytest.raises(DataError, match="no pixels"):
        load(tmp_path)


def test_a_window_is_part_of_what_names_the_content(clinic: Path):
    plain, windowed = load(clinic), load(clinic, LoadOptions(window=(100, 50)))
    assert not set(plain.content_hashes.tolist()) & set(windowed.content_hashes.tolist())
    assert np.array_equal(plain.ids, windowed.ids)
    assert np.array_equal(plain.groups, windowed.groups)
    assert decode(windowed.sources[0]).pixels.tolist() != decode(plain.sources[0]).pixels.tolist()


def test_no_number_hangs_on_the_salt(clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two machines with different salts: other ids, the same rows, groups, test split and folds."""
    found = []
    for machine in ("one", "two"):
        monkeypatch.setenv("MEDGRAFT_CACHE", str(tmp_path / machine / "cache"))
        table = with_test_split(load(clinic), seed=4)
        folds = make_folds(table.development, 3, seed=4)
        found.append((table, folds))
        salt = tmp_path / machine / "cache-ids.salt"
        assert stat.S_IMODE(salt.stat().st_mode) == 0o600
        assert len(salt.read_bytes()) == 32
    (a, folds_a), (b, folds_b) = found
    assert not set(a.ids.tolist()) & set(b.ids.tolist())
    for name in ("content_hashes", "groups", "labels", "splits"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert np.array_equal(folds_a.assignment, folds_b.assignment)
    assert np.array_equal(load(clinic).ids, load(clinic).ids)  # and on one machine they stay


def test_names_of_files(clinic: Path, tmp_path: Path):
    Image.fromarray(picture()).save(tmp_path / "x.png")
    file = clinic / "ill" / "IM100"
    names = public_names([file, tmp_path / "x.png", file, tmp_path / "absent"])
    assert names[0].startswith("dicom-")
    assert "IM100" not in names[0]
    assert names[2] == f"{names[0]}-2"
    assert [name[:5] for name in names] == ["dicom", "file-", "dicom", "file-"]
    assert public_names([tmp_path / "x.png"]) == [str(tmp_path / "x.png")]
    assert withheld(load(clinic))


def test_lost_files_are_counted_in_files_though_others_hold_many_frames(tmp_path: Path):
    for name in ("ill", "well"):
        for number in range(4):
            frames = np.stack([picture() for _ in range(5)])
            save(tmp_path / "films" / name / f"f{number}.dcm", dicom(frames))
    for number in (0, 1):
        (tmp_path / "films" / "ill" / f"f{number}.dcm").write_bytes(b"")
    table = load(tmp_path / "films")
    assert len(table) == 6 * 5
    lost = [finding for finding in table.findings if finding.check == "many_skipped"]
    assert [finding.numbers for finding in lost] == [{"skipped": 2, "images": 8}]


def test_stored_values_come_whole_out_of_a_worker(tmp_path: Path) -> None:
    """Of files without a window the data set's range is found, others are decoded as shown."""
    deep = np.random.default_rng(0).integers(200, 3000, (9, 30, 40)).astype(np.uint16)
    for k, values in enumerate(deep):
        save(tmp_path / "deep" / "ab"[k % 2] / f"{k}.dcm", dicom(values, 12))
    rule = load(tmp_path / "deep").rule
    assert (rule.low, rule.high) == (0, 4095)  # as of any images of 12 bits that use most of them
    shown = save(tmp_path / "shown", dicom(deep[0], 12, WindowCenter="1500", WindowWidth="2000"))
    with DecodePool(1) as pool:
        found = pool.decode(Source(str(shown)))
    assert np.array_equal(found.pixels, decode(shown.read_bytes()).pixels)


def test_an_upload_has_the_id_of_its_row(clinic: Path) -> None:
    ids = set(load(clinic).ids.tolist())
    files = [file.read_bytes() for file in sorted(clinic.rglob("*")) if file.is_file()]
    assert ids == {upload_id(data) for data in files} - {""}
    assert upload_id(b"\x89PNG") == upload_id(files[0][:140]) == ""
