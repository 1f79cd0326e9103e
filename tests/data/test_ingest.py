"""Ingest: every layout that is read, and every bad input that is named or refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from medgraft.data import file_hashes, scan
from medgraft.data.class_names import choose_positive
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError
from medgraft.types import ImageTable
from named_files import put

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def csv(root: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names_of(table: ImageTable) -> list[str]:
    return [table.classes[label] if label >= 0 else "" for label in table.labels]


def counts(table: ImageTable) -> dict[str, int]:
    return {str(s): int((table.splits == s).sum()) for s in np.unique(table.splits)}


# ------------------------------------------------------------------- folders


def test_class_folders(tmp_path):
    put(tmp_path, "b/2.PNG", "a/1.jpg", "b/deep/er/3.tiff")
    table = load(tmp_path)
    assert table.ids.tolist() == ["a/1.jpg", "b/2.PNG", "b/deep/er/3.tiff"]
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [0, 1, 1]
    assert table.splits.tolist() == ["", "", ""]
    assert table.sources[2].path == str(tmp_path / "b/deep/er/3.tiff")
    assert table.content_hashes[0] == hashlib.blake2b(b"a/1.jpg", digest_size=16).hexdigest()
    assert table.root == str(tmp_path)
    assert table.skipped == ()


def test_split_folders_under_the_names_people_use(tmp_path):
    put(tmp_path, "Training/a/1.png", "VALID/b/2.png", "dev/a/3.png", "Testing/b/4.png")
    table = load(tmp_path)
    by_id = dict(zip(table.ids.tolist(), table.splits.tolist(), strict=True))
    assert by_id == {
        "Training/a/1.png": "train",
        "VALID/b/2.png": "val",
        "dev/a/3.png": "val",
        "Testing/b/4.png": "test",
    }
    assert table.classes == ("a", "b")


def test_rows_are_sorted_by_id_as_a_whole(tmp_path):
    put(tmp_path, "a/1.png", "a-b/1.png")  # '-' sorts before '/'
    assert load(tmp_path).ids.tolist() == ["a-b/1.png", "a/1.png"]


def test_what_is_no_image_is_left_alone(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "SOURCE.md", "a/index.csv", "docs/readme.txt")
    put(tmp_path, ".hidden/x/1.png", "a/.x.png", "__MACOSX/a/1.png", "b/Thumbs.db", "a/.DS_Store")
    table = load(tmp_path)
    assert len(table) == 2
    assert table.skipped == ()


def test_names_with_blanks_newlines_and_foreign_letters(tmp_path):
    put(tmp_path, "größe 1/l\nine .png", "класс/画像.jpg")
    table = load(tmp_path)
    assert table.ids.tolist() == ["größe 1/l\nine .png", "класс/画像.jpg"]
    assert table.classes == ("größe 1", "класс")


def test_masks_go_to_their_images(tmp_path):
    put(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "test/a/3.jpg", "test/b/3.jpg", "test/b/4.jpg")
    put(
        tmp_path,
        "train/b/4.jpg",
        "masks/2.png",
        "masks/test/b/4.png",
        "masks/3.png",
        "train/a/masks/1.png",
    )
    table = load(tmp_path)
    mask = dict(zip(table.ids.tolist(), table.masks.tolist(), strict=True))
    assert table.classes == ("a", "b")
    assert mask["train/a/1.jpg"] == str(tmp_path / "train/a/masks/1.png")
    assert mask["train/b/2.jpg"] == str(tmp_path / "masks/2.png")
    assert mask["test/b/4.jpg"] == str(tmp_path / "masks/test/b/4.png")
    assert mask["train/b/4.jpg"] == ""  # the mask is the other's by its path
    assert mask["test/a/3.jpg"] == mask["test/b/3.jpg"] == ""  # two could claim masks/3.png
    (finding,) = [f for f in table.findings if f.check == "masks"]
    assert finding.numbers == {"unused": 1, "masks": 4}


def test_a_stem_that_two_masks_have_matches_nothing(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png", "masks/x/1.png", "masks/y/1.png", "masks/y/2.png")
    assert [Path(m).parts[-2:] for m in load(tmp_path).masks if m] == [("y", "2.png")]


def test_bad_files_are_skipped_by_name(tmp_path):
    put(tmp_path, "a/1.png", "a/2.png", "b/1.png", "loose.png")
    (tmp_path / "a/empty.png").touch()
    (tmp_path / "b/broken.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "b/pipe.png")
    (tmp_path / "b/loop").symlink_to(tmp_path / "b")
    table = load(tmp_path)
    assert len(table) == 3
    reasons = {s.source: s.reason for s in table.skipped}
    assert reasons == {
        "a/empty.png": "empty file",
        "b/broken.png": "broken link: its target does not exist",
        "b/loop": "this link leads back to a folder above it",
        "b/pipe.png": "not a file",
        "loose.png": "lies in no class folder, so has no label",
    }


def test_a_name_that_is_not_utf8_is_skipped(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png")).write_bytes(b"x")
    table = load(tmp_path)
    assert len(table) == 2
    (skipped,) = table.skipped
    assert skipped.source == "a/\\udcff.png"
    assert "UTF-8" in skipped.reason


def test_links_to_folders_are_followed(tmp_path):
    put(tmp_path / "else", "x.png")
    put(tmp_path / "data", "a/1.png")
    (tmp_path / "data/b").symlink_to(tmp_path / "else")
    assert load(tmp_path / "data").ids.tolist() == ["a/1.png", "b/x.png"]


@pytest.mark.parametrize(("name", "fatal"), [("", True), ("b/c", False)])
def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch, name, fatal):
    put(tmp_path, "a/1.png", "b/1.png", "b/c/2.png")
    closed, scandir = str(tmp_path / name), os.scandir

    def refuse(path):
        if str(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(scan.os, "scandir", refuse)
    if fatal:
        with pytest.raises(DataError, match=r"Permission denied.*permissions"):
            load(tmp_path)
    else:
        table = load(tmp_path)
        assert len(table) == 2
        assert table.skipped[0].source == "b/c"
        assert "Permission denied" in table.skipped[0].reason


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    put(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    opened = Path.open

    def refuse(path, *words, **options):
        if path.name == "2.png":
            raise OSError(5, "Input/output error")
        return opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", refuse)
    table = load(tmp_path)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"]
    assert table.skipped[0].reason == "cannot be read (Input/output error)"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a/1.png", "extra/1.png"], r"split folders \(train\) lie beside others \(extra\)"),
        (["1.png", "2.png"], "does not say which class .*put each class into a folder"),
        (["train/1.png", "test/2.png"], "say the split of the images, and none their class"),
        (["images/1.png", "images/2.png"], "does not say which class"),
        (["notes.txt"], "no image in .*there are 1 .txt; expected class/image"),
        (["a/1.png", "a/2.png"], "one class only .a., two are needed; add images"),
        (["train/a/1.png", "test/a/1.png"], "one class only .a."),
        (["Normal/1.png", "normal/1.png", "x/1.png"], "Normal, normal differ only in case.*rename"),
        (["train/Normal/1.png", "test/normal/1.png"], "differ only in case"),
        (
            ["Normal/1.png", "normal/1.png", "Ill/1.png", "ill/1.png", "ILL/1.png"],
            "--rename 'ILL=ill' --rename 'Ill=ill' --rename 'Normal=normal'$",
        ),
    ],
)
def test_folders_that_are_refused(tmp_path, files, message):
    put(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_class_in_two_spellings_of_one_letter_is_one_class(tmp_path):
    """An accent in two pieces, as a Mac zips it, and in one."""
    put(tmp_path, "x/be\u0301nin/1.png", "x/malin/2.png", "y/b\u00e9nin/3.png", "y/malin/4.png")
    table = load(tmp_path, LoadOptions(layout="*/class/image"))
    assert table.classes == ("b\u00e9nin", "malin")
    assert np.bincount(table.labels).tolist() == [2, 2]


def test_paths_that_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"neither a folder nor a .csv"):
        load(put(tmp_path, "x.zip") / "x.zip")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/empty.png").touch()
    with pytest.raises(
        DataError, match=r"none of the images .* can be read; the first: empty file"
    ):
        load(tmp_path)


def test_a_path_that_may_not_be_looked_at_is_explained(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"cannot be read .File name too long.; check the path"):
        load(tmp_path / ("x" * 300))
    closed, stat = tmp_path / "closed" / "data", Path.stat

    def refuse(path, **options):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DataError, match=r"cannot be read .Permission denied.; check the path"):
        load(closed)


def test_one_class_is_let_in_where_asked(tmp_path):
    put(tmp_path, "normal/1.png", "normal/2.png")
    table = load(tmp_path, LoadOptions(one_class=True))
    assert table.classes == ("normal",)
    assert table.labels.tolist() == [0, 0]
    assert table.positive is None


def test_a_class_of_one_is_loaded_and_named(tmp_path):
    table = load(put(tmp_path, "a/1.png", "a/2.png", "b/1.png"))
    (finding,) = [f for f in table.findings if f.check == "class_of_one"]
    assert finding.severity == "warn"
    assert finding.images == ("b/1.png",)


def test_equal_bytes_are_two_rows(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/2.png").write_bytes(b"a/1.png")
    table = load(tmp_path)
    assert table.content_hashes[0] == table.content_hashes[1] != table.content_hashes[2]


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    assert load(put(tmp_path, "10/x.png", "2/x.png", "1/x.png")).classes == ("1", "2", "10")


def test_progress_counts_every_image(tmp_path):
    steps: list[int] = []

    class Watcher:
        def task(self, description, total):
            import contextlib

            steps.append(-total)
            return contextlib.nullcontext(steps.append)

        def say(self, text):
            raise AssertionError(text)

    load(put(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(50))), progress=Watcher())
    assert steps[0] == -100
    assert sum(steps[1:]) == 100


# ------------------------------------------------------------------- positive class


@pytest.mark.parametrize(
    ("classes", "positive", "guessed"),
    [
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA", False),
        (("benign", "cancer"), "cancer", False),
        (("Healthy", "ill"), "ill", False),
        (("covid_negative", "covid_positive"), "covid_positive", False),
        (("abnormal", "normal"), "abnormal", False),
        (("Control", "case"), "case", False),
        (("no finding", "finding"), "finding", False),
        (("effusion", "normal-lung"), "effusion", False),
        (("0", "1"), "1", False),
        (("cat", "dog"), "dog", True),
        (("benign", "normal"), "normal", True),
        (("nodule", "nothing"), "nothing", True),  # neither is the word "no"
        (("a", "b", "normal"), None, False),
    ],
)
def test_positive_class(classes, positive, guessed):
    chosen, findings = choose_positive(classes)
    assert chosen == positive
    assert bool(findings) == guessed
    assert all(f.severity == "warn" for f in findings)


def test_positive_class_by_choice(tmp_path):
    put(tmp_path, "NORMAL/1.png", "PNEUMONIA/1.png")
    assert load(tmp_path, LoadOptions(positive="normal")).positive == "NORMAL"
    with pytest.raises(DataError, match="'flu' is none of NORMAL, PNEUMONIA"):
        load(tmp_path, LoadOptions(positive="flu"))
    put(tmp_path, "third/1.png")
    assert load(tmp_path).positive is None
    with pytest.raises(DataError, match="needs two classes, and there are 3"):
        load(tmp_path, LoadOptions(positive="NORMAL"))


# ------------------------------------------------------------------- CSV


def test_csv(tmp_path):
    put(tmp_path, "im/1.png", "im/2.png", "im/3.png")
    text = "path,label,split,age,group\nim/2.png,sick,TRAINING,71,g\nim/1.png,well,test,,g\n"
    table = load(csv(tmp_path, text + "./im//3.png,sick,,5,h\n"))
    assert table.ids.tolist() == ["im/1.png", "im/2.png", "im/3.png"]
    assert names_of(table) == ["well", "sick", "sick"]
    assert table.splits.tolist() == ["test", "train", ""]
    assert table.metadata["age"].tolist() == ["", "71", "5"]
    assert table.groups.tolist() == ["column:g", "column:g", "column:h"]
    assert table.grouping.rule == "group"
    assert table.sources[0].path == str(tmp_path / "im/1.png")


def test_csv_order_of_rows_changes_nothing(tmp_path):
    put(tmp_path, "1.png", "2.png", "3.png")
    rows = ["1.png,a", "2.png,b", "3.png,a"]
    one = load(csv(tmp_path, "\n".join(["path,label", *rows])))
    other = load(csv(tmp_path, "\n".join(["path,label", *rows[::-1]]), "other.csv"))
    assert one.fingerprint == other.fingerprint


def test_csv_with_other_column_names_mark_and_delimiter(tmp_path):
    put(tmp_path, "1.png", "2.png")
    path = csv(tmp_path, "\ufefffile;dx;fold\n1.png;a;dev\n2.png;b;train\n")
    options = LoadOptions(path_column="file", label_column="dx", split_column="fold")
    table = load(path, options)
    assert table.splits.tolist() == ["val", "train"]
    assert load(path).fingerprint == table.fingerprint  # found by what the columns hold
    with pytest.raises(DataError, match=r"no column 'im' in labels.csv \(columns: file, dx, fold"):
        load(path, LoadOptions(path_column="im"))
    with pytest.raises(DataError, match=r"no column 'site' .*--split-column"):
        load(path, LoadOptions("file", "dx", "site"))


def test_csv_paths_absolute_above_from_windows_and_quoted(tmp_path):
    put(tmp_path, "a.png", "data/im/b.png", "data/c,\nd.png", "data/ e.png")
    text = f'path,label\n{tmp_path}/a.png,x\nim\\b.png,y\n"c,\nd.png",y\n ../a.png ,x\n e.png,x\n'
    table = load(csv(tmp_path / "data", text))
    assert table.ids.tolist() == [" e.png", "../a.png", "c,\nd.png", "im/b.png"]
    (again,) = [f for f in table.findings if f.check == "repeated_rows"]
    assert "labels.csv line 6" in again.text  # the record before has two
    assert again.images == ("../a.png",)


def test_csv_rows_that_cannot_be_used_are_named(tmp_path):
    put(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "0.png").touch()
    (tmp_path / "link.png").symlink_to("gone.png")
    text = (
        "path,label\n1.png,a\ngone.png,a\n1.png,a\n2.png,b\n,b\n.,b\n0.png,b\nlink.png,a\n3.png\n"
    )
    table = load(csv(tmp_path, text))
    assert table.ids.tolist() == ["1.png", "2.png", "3.png"]
    assert {s.source: s.reason for s in table.skipped} == {
        "gone.png": "no such file (labels.csv line 3)",
        "labels.csv line 6": "the path is empty",
        ".": "not a file (labels.csv line 7)",
        "0.png": "empty file",
        "link.png": "broken link: its target does not exist (labels.csv line 9)",
    }
    assert table.labels.tolist() == [0, 1, -1]
    (again,) = [f for f in table.findings if f.check == "repeated_rows"]  # 1.png, in line 4
    assert again.numbers == {"n": 1}
    (missing,) = [f for f in table.findings if f.check == "missing_label"]
    assert missing.severity == "warn"
    assert missing.images == ("3.png",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1.png,a\n2.png,b\n1.png,b\n", "two labels: 'a' in line 2 and 'b' in line 4"),
        ("path,label,split\n1.png,a,test\n1.png,a,train\n2.png,b,\n", "two splits: 'test' in line"),
        ("path,label,split\n1.png,a,fold1\n2.png,b,\n", "line 2: the split 'fold1' is none of"),
        (
            "path,remarks\n1.png,\n",
            r"no column 'label' .*\(columns: path, remarks\).*--label-column",
        ),
        ("path,label\n1.png,a,b\n", "line 2 has 3 fields, the header 2; put values that hold ','"),
        ('path,label\n"1.png,a\n2.png,b\n', "not valid CSV .*check its quotes"),
        ("path,label,label\n1.png,a,b\n", "two columns of one name"),
        ("", "is empty; it needs a header"),
        ("path,label\n", "is empty; it needs a header"),
        ("path,label\n8.png,a\n9.png,b\n", "names no image that exists; the first: 8.png: no such"),
        ("path,label\n1.png,\n2.png,\n", "no image in .* has a label"),
        ("path,label\n1.png,a\n2.png,A\n", "A, a differ only in case"),
        ("path,label\n1.png,a\n2.png,\n", "one class only"),
        ("path,label\n1.png,gr\xf6\xdfer\n".encode("cp850"), "0x94.*--encoding cp850 .'größer'"),
    ],
)
def test_csvs_that_are_refused(tmp_path, text, message):
    put(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match=message):
        load(csv(tmp_path, text))


# ------------------------------------------------------------------- MedMNIST


def medmnist(**changes: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 12), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 4, 5, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n).reshape(n, 1) % 3
    arrays.update(changes)  # type: ignore[arg-type]
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist(tmp_path, save):
    arrays = medmnist()
    arrays["val_images"][1] = arrays["train_images"][3]
    save(tmp_path / "pathmnist.npz", **arrays)
    table = load(tmp_path / "pathmnist.npz")
    assert counts(table) == {"test": 3, "train": 12, "val": 2}
    assert table.classes == ("0", "1", "2")
    assert table.ids[[2, 10, 13]].tolist() == ["train/2", "train/10", "val/1"]
    assert table.labels[:4].tolist() == [0, 1, 2, 0]
    source = table.sources[13]
    assert (Path(source.path).name, source.frame, source.member) == (
        "pathmnist.npz",
        1,
        "val_images",
    )
    assert table.content_hashes[13] == table.content_hashes[3]
    assert len(np.unique(table.content_hashes)) == 16


def test_frames_of_equal_bytes_and_other_shape_hash_differently(tmp_path):
    hashes = []
    for name, shape in (("wide", (2, 4, 6)), ("tall", (2, 6, 4))):
        images = np.arange(48, dtype=np.uint8).reshape(shape)
        np.savez(tmp_path / f"{name}.npz", train_images=images, train_labels=np.array([0, 1]))
        hashes += load(tmp_path / f"{name}.npz").content_hashes.tolist()
    assert len(set(hashes)) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "val_labels.npy"),
        (
            {"train_images": np.zeros((12, 4, 5, 3), np.int64)},
            r"train_images is \(12, 4, 5, 3\) int64, not",
        ),
        ({"train_images": np.zeros((12, 4, 5, 6), np.uint8)}, "not .n, height, width"),
        ({"train_images": np.zeros((12, 4), np.uint8)}, "not .n, height, width"),
        ({"train_images": np.zeros((12, 4, 5), np.uint8, order="F")}, "column by column"),
        ({"train_labels": np.zeros((12, 14), int)}, "several findings an image"),
        ({"train_labels": np.zeros(11, int)}, "not one integer for each of the 12 images"),
        ({"train_labels": np.full(12, 0.5)}, "float64, not one integer"),
        ({"train_labels": np.array([None] * 12)}, "cannot be read as a MedMNIST file"),
    ],
)
def test_medmnist_files_that_are_refused(tmp_path, changes, message):
    np.savez(tmp_path / "x.npz", allow_pickle=True, **medmnist(**changes))
    with pytest.raises(DataError, match=message):
        load(tmp_path / "x.npz")


def test_npz_that_is_damaged_or_foreign(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **medmnist())
    whole = path.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a MedMNIST file"):
            load(path)
    spoilt = bytearray(whole)
    spoilt[200:260] = bytes(60)
    path.write_bytes(spoilt)
    with pytest.raises(DataError, match="cannot be read as a MedMNIST file"):
        load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(DataError, match="holds x; a MedMNIST file has train_images"):
        load(path)


# ------------------------------------------------------------------- the real sets


@needs_shared
@pytest.mark.parametrize(
    ("name", "splits", "n_classes", "positive", "n_masks"),
    [
        ("chest_xray", {"train": 5216, "val": 16, "test": 624}, 2, "PNEUMONIA", 0),
        ("chest_xray_originals", {"": 56}, 2, "PNEUMONIA", 0),
        ("scenes_ot8", {"train": 1881, "test": 807}, 8, None, 0),
        ("cancer_cells.csv", {"train": 72, "val": 26, "test": 26}, 2, "cancer", 0),
        ("mini_scenes.csv", {"train": 120, "test": 120}, 3, None, 0),
        ("hyperkvasir5", {"train": 1006, "test": 994}, 5, None, 1000),
        ("lc25000_lung_unique", {"train": 402, "test": 171}, 3, None, 0),
    ],
)
def test_real_sets(name, splits, n_classes, positive, n_masks):
    table = load(SHARED / name)
    assert counts(table) == splits
    assert len(table.classes) == n_classes
    assert table.positive == positive
    assert (table.masks != "").sum() == n_masks
    assert table.skipped == ()
    assert {finding.check for finding in table.findings} <= {"table"}
    if n_masks:
        polyps = table.labels == table.classes.index("polyp")
        assert ((table.masks != "") == polyps).all()


@needs_shared
def test_chest_xray_in_numbers():
    table = load(SHARED / "chest_xray")
    test = table.test
    assert np.bincount(test.labels).tolist() == [234, 390]
    _, copies = np.unique(table.content_hashes, return_counts=True)
    assert (copies > 1).sum() == 30  # groups of byte-identical files, SOURCE.md
    assert (copies[copies > 1] - 1).sum() == 32


def test_interrupt_stops_at_once(tmp_path, monkeypatch):
    put(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(200)))

    def interrupt(row):
        raise KeyboardInterrupt

    monkeypatch.setattr(file_hashes, "_of_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)
