"""Arrays in an `.npz` under other names than MedMNIST's; its own stand in `test_ingest.py`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medgraft.data.ingest import LoadOptions, load
from medgraft.data.pixels.decode import decode
from medgraft.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 4, 5), dtype=np.uint8)
LABELS = np.arange(12) % 3


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("X_train", "Y_train"), ("X_test", "Y_test")),
        (("train_images", "train_labels"), ("test_images", "test_labels")),
        (("train_x", "train_y"), ("test_x", "test_y")),
        (("training_data", "training_labels"), ("testing_data", "testing_labels")),
    ],
)
def test_names_of_arrays(tmp_path, train, test):
    arrays = dict(zip((*train, *test), (PIXELS, LABELS, PIXELS[:3], LABELS[:3]), strict=True))
    table = load(saved(tmp_path, **arrays))
    assert Counter(table.splits.tolist()) == {"train": 12, "test": 3}
    assert table.labels[:12].tolist() == LABELS.tolist()
    assert np.array_equal(decode(table.sources[5]).pixels, PIXELS[5])


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "label")])
def test_one_pair_has_no_splits(tmp_path, names):
    table = load(saved(tmp_path, **{names[0]: PIXELS, names[1]: LABELS}))
    assert table.splits.tolist() == [""] * 12
    assert np.array_equal(decode(table.sources[7]).pixels, PIXELS[7])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[LABELS], ("0", "1", "2")),
        (LABELS[:, None].astype(float), ("0", "1", "2")),
        (LABELS > 0, ("0", "1")),
        (np.array(["nv", "mel", "bcc"])[LABELS], ("bcc", "mel", "nv")),
        (np.array([b"nv", b"mel", b"bcc"])[LABELS][:, None], ("bcc", "mel", "nv")),
    ],
)
def test_kinds_of_labels(tmp_path, labels, classes):
    table = load(saved(tmp_path, images=PIXELS[..., None], labels=labels))
    assert table.classes == classes
    by_frame = dict(zip(table.ids.tolist(), table.labels.tolist(), strict=True))
    truth = ["nv", "mel", "bcc"] if "nv" in classes else ["0", "1", "2"]
    for frame, label in enumerate(LABELS):
        name = truth[label] if len(classes) == 3 else str(int(label > 0))
        assert classes[by_frame[f"images/{frame}"]] == name
    assert np.array_equal(decode(table.sources[2]).pixels, PIXELS[2])


def test_class_names(tmp_path):
    names = (("0", "normal"), ("1", "ill"))
    path = saved(tmp_path, images=PIXELS, labels=LABELS > 0)
    table = load(path, LoadOptions(class_names=names))
    assert (table.classes, table.positive) == (("ill", "normal"), "ill")


@pytest.mark.parametrize("scale", [1 / 255, 1.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_that_are_clearly_pictures(tmp_path, scale, kind):
    assert len(load(saved(tmp_path, images=(PIXELS * scale).astype(kind), labels=LABELS))) == 12


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((PIXELS - 100.0) / 50, LABELS, "floats from -2 to 3.1, .*before they"),
        (PIXELS * 16.0, LABELS, "floats from 0 to 4080"),
        (PIXELS / 1e5, LABELS, "floats from 0 to 0.00255"),
        (np.where(PIXELS > 250, np.nan, 1.0), LABELS, "floats from .*nan"),
        (
            np.zeros((12, 3, 8, 9), np.uint8),
            LABELS,
            r"channels before rows; .*transpose.0, 2, 3, 1",
        ),
        (np.zeros((12, 8, 9, 4), np.uint8), LABELS, r"not .n, height, width"),
        (PIXELS, np.array([None, "a", "b"] * 4), r"Python objects, .*labels.astype.str"),
        (PIXELS, np.ones((12, 3)), "several findings an image"),
        (PIXELS, LABELS[:11], "not one integer for each of the 12 images"),
        (PIXELS, LABELS + 0.5, "float64, not one integer for each"),
    ],
)
def test_the_true_reason_of_a_refusal(tmp_path, images, labels, message):
    np.savez(tmp_path / "x.npz", allow_pickle=True, images=images, labels=labels)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "x.npz")


def test_two_arrays_of_one_split(tmp_path):
    with pytest.raises(DataError, match="x_val and x_valid are of one split; rename one"):
        load(saved(tmp_path, x_val=PIXELS, y_val=LABELS, x_valid=PIXELS, y_valid=LABELS))
