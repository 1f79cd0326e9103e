"""Folders as people have them: masks, copies, droppings, layouts given, classes changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.folders.left_out_folders import without_copies
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.masks import read_mask
from medgraft.data.pool.pool import DecodePool
from medgraft.data.scan import scan
from medgraft.data.unlabelled import find_images
from medgraft.errors import AmbiguousDataError, DataError, UnreadableDataError
from medgraft.types import Geometry, ImageTable
from named_files import put


def drawn(root: Path, name: str, kind: str) -> None:
    """Write a 16-pixel picture: noise, or a square of white on black (as a mask is)."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (16, 16), np.uint8)
    if kind == "mask":
        pixels = np.zeros((16, 16), np.uint8)
        pixels[4:8, 4:8] = 255
    Image.fromarray(pixels).save(path)


def masks_of(table: ImageTable) -> dict[str, list[str]]:
    """By image, the names of its masks."""
    return {
        id_: [Path(one).name for one in mask.split("\0")]
        for id_, mask in zip(table.ids.tolist(), table.masks.tolist(), strict=True)
        if mask
    }


@pytest.mark.parametrize("ending", ["_mask", "-mask", "_segmentation", "_Segmentation", "_gt"])
def test_masks_beside_their_images_are_known_by_name(tmp_path, ending):
    put(tmp_path, "a/x (1).png", f"a/x (1){ending}.png", "b/y.png", f"b/y{ending}.png")
    table = load(tmp_path)
    assert table.ids.tolist() == ["a/x (1).png", "b/y.png"]
    assert masks_of(table) == {
        "a/x (1).png": [f"x (1){ending}.png"],
        "b/y.png": [f"y{ending}.png"],
    }


def test_a_second_mask_is_joined_to_the_first(tmp_path):
    for name in ("a/x.png", "b/y.png"):
        drawn(tmp_path, name, "image")
    drawn(tmp_path, "a/x_mask.png", "mask")
    pixels = np.zeros((16, 16), np.uint8)
    pixels[10:12, 10:12] = 255
    Image.fromarray(pixels).save(tmp_path / "a/x_mask_1.png")
    table = load(tmp_path)
    assert masks_of(table) == {"a/x.png": ["x_mask.png", "x_mask_1.png"]}
    with DecodePool(1) as pool:
        joined = read_mask(table.masks[0], Geometry.identity(16, 16), pool)
    assert joined.sum() == 16 + 4


def test_a_class_that_is_called_mask_is_a_class(tmp_path):
    put(
        tmp_path,
        *[f"{kind}_mask/{kind}_mask_{i}.jpg" for kind in ("with", "without") for i in (1, 2)],
    )
    table = load(tmp_path)
    assert table.classes == ("with_mask", "without_mask")
    assert len(table) == 4
    assert table.positive == "with_mask"


@pytest.mark.parametrize("folder", ["Lung Masks", "ground_truth", "annotations", "ManualMask/left"])
def test_folders_named_like_masks_beside_the_images(tmp_path, folder):
    put(tmp_path, *[f"images/{c}/{i}{c}.png" for c in "ab" for i in (1, 2)])
    put(tmp_path, *[f"{folder}/{i}{c}.png" for c in "ab" for i in (1, 2)])
    table = load(tmp_path)
    assert table.classes == ("a", "b")
    assert len(table) == len(masks_of(table)) == 4


def test_masks_are_known_by_their_values_where_nothing_is_named_so(tmp_path):
    for c in "ab":
        for i in range(4):
            drawn(tmp_path, f"{c}/pictures/{c}{i}.jpg", "image")
            drawn(tmp_path, f"{c}/drawings/{c}{i}.png", "mask")
    table = load(tmp_path)
    assert table.reading.layout == "class/*/image"
    assert masks_of(table)["a/pictures/a0.jpg"] == ["a0.png"]
    assert len(masks_of(table)) == len(table) == 8


@pytest.mark.parametrize("name", ["{}_roi", "{}_m", "mask{}", "{}Mask", "{} lesion 1"])
def test_masks_beside_their_images_are_known_by_their_values(tmp_path, name):
    for c in "ab":
        for i in range(4):
            drawn(tmp_path, f"{c}/{c}{i}.jpg", "image")
            drawn(tmp_path, f"{c}/{name.format(f'{c}{i}')}.png", "mask")
    table = load(tmp_path)
    assert len(table) == 8
    assert masks_of(table)["b/b3.jpg"] == [f"{name.format('b3')}.png"]
    assert len(masks_of(table)) == 8


def test_masks_in_a_folder_for_each_image(tmp_path):
    for folder in (f"{'ab'[i % 2]}/patient_{i}" for i in range(6)):
        drawn(tmp_path, f"{folder}/image.png", "image")
        drawn(tmp_path, f"{folder}/mask.png", "mask")
    table = load(tmp_path)
    assert len(table) == len(masks_of(table)) == 6
    assert Path(table.masks[0]).parent == Path(table.sources[0].path).parent


def test_masks_named_otherwise_in_a_folder_for_each_image(tmp_path):
    for i in range(6):
        folder = f"{'ab'[i % 2]}/patient_{i}"
        drawn(tmp_path, f"{folder}/images/x{i}.png", "image")
        drawn(tmp_path, f"{folder}/masks/1.png", "mask")
        drawn(tmp_path, f"{folder}/masks/2.png", "mask")
    table = load(tmp_path)
    assert masks_of(table)["b/patient_5/images/x5.png"] == ["1.png", "2.png"]
    assert len(table) == len(masks_of(table)) == 6


def test_copies_that_are_pictures_are_not_taken_for_masks(tmp_path):
    for name in (f"{c}/{c}{i}{copy}.png" for c in "ab" for i in range(4) for copy in ("", "_flip")):
        drawn(tmp_path, name, "image")
    assert len(load(tmp_path)) == 16


def test_a_folder_of_masks_that_are_named_otherwise_is_no_class(tmp_path):
    for i in range(4):
        drawn(tmp_path, f"normal/{i}.png", "image")
        drawn(tmp_path, f"ill/{i}.png", "image")
        drawn(tmp_path, f"lesion_masks/ill_{i}.png", "mask")
    table = load(tmp_path)
    assert table.classes == ("ill", "normal")
    (finding,) = [one for one in table.findings if one.check == "masks"]
    assert "4 of 4 masks belong to no image" in finding.text


def test_classes_numbered_alike_are_not_taken_for_masks(tmp_path):
    for c in "ab":
        for i in range(4):
            drawn(tmp_path, f"{c}/{i}.png", "image")
    assert len(load(tmp_path)) == 8


def once_more(tmp_path: Path, *roots: str, alike: bool = True) -> None:
    """Files of the same names and sizes in two folders; `alike` in their bytes, too."""
    for root in roots:
        for name in ("no/1.png", "no/2.png", "yes/3.png"):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((name if alike else root + name).encode().ljust(60))


def test_a_copy_of_the_folder_inside_itself_is_left_out_and_named(tmp_path):
    once_more(tmp_path, "", "set/")
    table = load(tmp_path)
    assert table.ids.tolist() == ["no/1.png", "no/2.png", "yes/3.png"]
    assert table.reading.left_out == (("set", 3, "a copy of the folder around it"),)
    (finding,) = [one for one in table.findings if one.check == "copied_folder"]
    assert "set was left out: 3 images" in finding.text


def test_other_pictures_of_the_same_names_and_sizes_are_no_copy(tmp_path):
    """Uncompressed files of one size in pixels have one size in bytes."""
    once_more(tmp_path, "", "set/", alike=False)
    images, left_out = without_copies(scan(tmp_path))
    assert (len(images), left_out) == (6, [])


def test_a_test_split_inside_the_folder_is_no_copy_of_it(tmp_path):
    once_more(tmp_path, "", "test/")
    images, left_out = without_copies(scan(tmp_path))
    assert (len(images), left_out) == (6, [])


@pytest.mark.parametrize("copy", ["set_copy", "set (1)", "Copy of set", "set - Kopie (2)", "v2"])
def test_a_copy_of_a_folder_beside_it_is_left_out_and_named(tmp_path, copy):
    once_more(tmp_path, "set", copy)
    table = load(tmp_path)
    assert len(table) == 3
    assert table.reading.left_out == ((copy, 3, "a copy of set beside it"),)


def test_a_copy_of_a_class_is_no_class(tmp_path):
    put(tmp_path, "no/1.png", "yes/2.png")
    (tmp_path / "yes - Copy").mkdir()
    (tmp_path / "yes - Copy/2.png").write_bytes((tmp_path / "yes/2.png").read_bytes())
    assert load(tmp_path).classes == ("no", "yes")


@pytest.mark.parametrize("other", ["test", "fold2"])
def test_what_only_has_the_same_names_or_is_a_leak_stays(tmp_path, other):
    for root in ("train" if other == "test" else "fold1", other):
        for name in ("no/1.png", "no/2.png", "yes/3.png"):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((name if other == "test" else f"{root}{name}").encode())
    assert len(load(tmp_path)) == 6


def test_a_folder_that_only_looks_like_a_copy_is_asked_about(tmp_path):
    put(tmp_path, "no/1.png", "yes/2.png", "other/no/11.png", "other/yes/12.png")
    with pytest.raises(DataError, match="--layout"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/a/1.png",
        "$RECYCLE.BIN/x.png",
        "#recycle/a/1.png",
        "medgraft-run/pictures/1.png",
        ".thumbs/1.png",
    ],
)
def test_what_programs_leave_behind_is_no_data(tmp_path, name):
    put(tmp_path, "a/1.png", "b/1.png", name)
    assert load(tmp_path).ids.tolist() == ["a/1.png", "b/1.png"]


def test_pictures_about_the_data_are_left_out_and_named(tmp_path):
    put(tmp_path, *[f"set/{c}/{i}.png" for c in "ab" for i in range(10)])
    put(tmp_path, "set/docs/figures/1.png", "set/results/2.png", "set/results/3.png")
    table = load(tmp_path)
    assert table.classes == ("a", "b")
    why = "by its name about the data, and no part of it"
    assert table.reading.left_out == (("set/docs", 1, why), ("set/results", 2, why))
    put(tmp_path, *[f"set/docs/{i}.png" for i in range(10)])  # too many to be that
    assert load(tmp_path).classes == ("a", "b", "docs")


def test_a_class_of_reports_is_a_class(tmp_path):
    put(tmp_path, *[f"{c}/{i}.png" for c in ("email", "letter", "memo", "note") for i in range(6)])
    put(tmp_path, *[f"report/{i}.png" for i in range(4)])
    assert "report" in load(tmp_path).classes


def test_files_that_are_not_read_are_counted_by_kind(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "a/v.nii.gz", "b/w.nii.gz", "a/IM0001", "notes.txt")
    table = load(tmp_path)
    assert table.reading.unread == {"": 1, ".nii.gz": 2, ".txt": 1}
    (finding,) = [one for one in table.findings if one.check == "unread"]
    assert finding.severity == "warn"
    assert finding.numbers == {"no suffix": 1, ".nii.gz": 2}


def test_pictures_without_a_suffix_are_known_by_their_content(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for i, kind in enumerate(("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")):
            name = f"1.2.840.99.{i}" if label == "a" else f"IMG000{i}"
            Image.new("L", (9, 8 + i)).save(tmp_path / label / name, kind)
    (tmp_path / "a" / "README").write_text("Pictures of 2020.")
    table = load(tmp_path)
    assert len(table) == 14
    assert table.reading.unread == {"": 1}
    assert table.ids[0] == "a/1.2.840.99.0"


def test_a_list_in_a_text_file_is_named_where_folders_say_nothing(tmp_path):
    put(tmp_path, "images/1.png", "images/2.png", "labels.txt")
    with pytest.raises(DataError, match=r"path,label \(a .txt file is one, passed as DATA\)$"):
        load(tmp_path)


def test_more_than_one_image_in_twenty_skipped_is_a_warning(tmp_path):
    put(tmp_path, *[f"{c}/{i}.png" for c in "ab" for i in range(10)])
    for i in (1, 2):
        (tmp_path / f"a/{i}.png").write_bytes(b"")
    table = load(tmp_path)
    (finding,) = [one for one in table.findings if one.check == "many_skipped"]
    assert finding.numbers == {"skipped": 2, "images": 20}
    (tmp_path / "a/1.png").write_bytes(b"1")
    assert not [one for one in load(tmp_path).findings if one.check == "many_skipped"]


# ------------------------------------------------------------------- what a user says


def test_a_layout_that_is_given_is_followed(tmp_path):
    put(
        tmp_path,
        *[f"{o}/{c}/{p}_{i}.png" for o in "xy" for c in "uv" for p in "PQ" for i in (1, 2)],
    )
    with pytest.raises(
        AmbiguousDataError, match=r"2 ways(.|\n)*'\*/class/image'  2 classes: u 8, v 8"
    ) as asked:
        load(tmp_path)
    for one in asked.value.choices:  # each is an option that is then taken
        assert load(tmp_path, LoadOptions(**dict(one.flags))).reading.layout == one.flags[0][1]
    assert [one.shows for one in asked.value.choices] == [
        "2 classes: x 8, y 8", "2 classes: u 8, v 8",
    ]  # fmt: skip
    table = load(tmp_path, LoadOptions(layout="*/class/{group}_{*}"))
    assert table.classes == ("u", "v")
    assert len(set(table.groups.tolist())) == 2
    assert table.reading.by == "layout"


def test_masks_of_a_layout(tmp_path):
    put(tmp_path, "pix/a/1.png", "pix/b/1.png", "ann/a/1.png", "ann/b/1.png", "ann/b/2.png")
    table = load(tmp_path, LoadOptions(layout="pix/class/image + ann/class/mask"))
    assert masks_of(table) == {"pix/a/1.png": ["1.png"], "pix/b/1.png": ["1.png"]}
    (finding,) = [one for one in table.findings if one.check == "masks"]
    assert finding.numbers == {"unused": 1, "masks": 3}


def test_a_layout_that_is_given_keeps_a_class_that_is_called_like_masks(tmp_path):
    put(tmp_path, *[f"{c}/{i}.png" for c in ("roi", "background") for i in range(4)])
    with pytest.raises(DataError, match=r"one class only .*--layout"):
        load(tmp_path)
    assert load(tmp_path, LoadOptions(layout="class/image")).classes == ("background", "roi")


def test_a_layout_that_fits_nothing_names_the_nearest_file(tmp_path):
    put(tmp_path, "a/x/1.png", "b/x/1.png")
    with pytest.raises(DataError, match=r"the nearest is a/x/1\.png: it has 3 levels, .* layout 2"):
        load(tmp_path, LoadOptions(layout="class/image"))


def test_classes_left_out_renamed_and_dropped(tmp_path):
    put(tmp_path, *[f"{c}/{i}.png" for c in ("cat", "Dog", "dog", "owl") for i in range(4)])
    put(tmp_path, "rare/1.png")
    with pytest.raises(DataError, match="--rename 'Dog=dog'"):
        load(tmp_path)
    options = LoadOptions(rename=(("Dog", "dog"),), leave_out=("owl",), drop_classes_below=2)
    table = load(tmp_path, options)
    assert table.classes == ("cat", "dog")
    assert np.bincount(table.labels).tolist() == [4, 8]
    assert "owl (4), rare (1); 5 images" in str([one.text for one in table.findings])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LoadOptions(leave_out=("x",)), "--leave-out 'x' is no class; there are a .2., b .2."),
        (LoadOptions(rename=(("x", "y"),)), "--rename 'x=y': 'x' is no class"),
        (LoadOptions(rename=(("a", ""),)), "has no new name; use --leave-out 'a'"),
        (LoadOptions(rename=(("a", "x"), ("a", "y"))), "gives 'a' two names: x and y"),
        (LoadOptions(drop_classes_below=9), "leave no class"),
        (LoadOptions(leave_out=("a",)), "one class only"),
    ],
)
def test_changes_of_classes_that_cannot_be(tmp_path, options, message):
    put(tmp_path, *[f"{c}/{i}.png" for c in "ab" for i in range(2)])
    with pytest.raises(DataError, match=message):
        load(tmp_path, options)


def test_nothing_readable_has_an_error_of_its_own(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    for name in "ab":
        (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(UnreadableDataError, match="none of the images"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("Uninfected", "Parasitized"), ("NonDemented", "MildDemented"),
        ("not fractured", "fractured"), ("without_polyp", "with_polyp"),
        ("CT_NonCOVID", "CT_COVID"), ("no finding", "Pneumothorax"), ("nevus benign", "melanoma"),
    ],
)  # fmt: skip
def test_the_positive_class_is_where_something_was_found(tmp_path, negative, positive):
    put(tmp_path, f"{negative}/1.png", f"{positive}/1.png")
    assert load(tmp_path).positive == positive


def test_many_classes_of_few_images_are_warned_of(tmp_path):
    put(tmp_path, *[f"{name}/{i}.png" for name in "abcdefghijklmno" for i in range(4)])
    (finding,) = [one for one in load(tmp_path).findings if one.check == "many_small_classes"]
    assert finding.numbers == {"classes": 15, "median": 4}


def test_masks_in_a_folder_are_not_judged_as_images(tmp_path):
    put(tmp_path, "x.png", "x_mask.png", "y.png")
    found = find_images([str(tmp_path)])
    assert {Path(file).name: bool(problem) for file, problem in found.items()} == {
        "x.png": False, "x_mask.png": True, "y.png": False,
    }  # fmt: skip
    assert find_images([str(tmp_path / "x_mask.png")]) == {str(tmp_path / "x_mask.png"): ""}


def test_a_question_about_the_table_of_a_folder_has_its_choices(tmp_path):
    put(tmp_path, *[f"photos/x{i}.png" for i in range(12)])
    rows = [f"x{i},{'ab'[i % 2]},{'ab'[i % 2 if i else 1]}" for i in range(12)]
    (tmp_path / "list.csv").write_text("\n".join(["file,clinical diagnosis,histology", *rows]))
    with pytest.raises(AmbiguousDataError) as asked:
        load(tmp_path)
    assert asked.value.question.endswith(
        "several columns of list.csv could be the label; pass one of:"
    )
    assert "--label-column 'histology' (b 7, a 5)" in str(asked.value)
    for one in asked.value.choices:
        assert (
            dict(one.flags)["label_column"]
            in load(tmp_path, LoadOptions(**dict(one.flags))).reading.by
        )


def test_a_choice_says_what_it_leaves_out(tmp_path):
    put(tmp_path, *[f"benign/{c}/{i}.png" for c in "uv" for i in range(20)])
    put(tmp_path, *[f"melanoma/{i}.png" for i in range(30)])
    with pytest.raises(AmbiguousDataError) as asked:
        load(tmp_path)
    assert "2 classes: u 20, v 20; 30 images are left out" in [c.shows for c in asked.value.choices]
