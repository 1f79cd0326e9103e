"""The language of layouts, and what is recognised of a tree by its names alone."""

from __future__ import annotations

import pytest

from medgraft.data.folders.layout import Layout
from medgraft.data.folders.recognise import recognise
from medgraft.errors import DataError


def read(layout: str, path: str) -> tuple[str, str, str] | None:
    """(split, class, group) of a path."""
    said = Layout.parse(layout).read(tuple(path.split("/")))
    return said and (said.split, said.label, said.group)


@pytest.mark.parametrize(
    ("layout", "path", "said"),
    [
        ("class/image", "a/1.png", ("", "a", "")),
        ("class/image", "a/b/1.png", None),
        ("class/**/image", "a/b/c/1.png", ("", "a", "")),
        ("class/**/image", "a/1.png", ("", "a", "")),
        ("split/class/group/image", "Training Set/a/P1/1.png", ("train", "a", "P1")),
        ("split/class/image", "other/a/1.png", None),
        ("split/class/image", "imagesTs/a/1.png", ("test", "a", "")),
        ("*/class/image", "x/a/1.png", ("", "a", "")),
        ("class/{group}_{*}.png", "a/P12_left_3.png", ("", "a", "P12")),
        ("class/{group}_{*}.png", "a/P12_left_3.jpg", None),
        ("class/{group}_{*}", "a/P12_left_3.jpg", ("", "a", "P12")),
        ("{*}_{class}", "CHNCXR_0001_0.png", ("", "0", "")),
        ("{class}.{*}", "cat.12.jpg", ("", "cat", "")),
        ("group/study*_{class}/image", "p7/study1_positive/2.png", ("", "positive", "p7")),
        ("class,group/group/image", "a/01/x.png", ("", "a", "a/01")),
        ("Images/class/image", "images/a/1.png", ("", "a", "")),
        ("class/image + class/raw/image", "a/raw/1.png", ("", "a", "")),
        ("class/{image}.png + class/{mask}_mask.png", "a/1.png", ("", "a", "")),
    ],
)
def test_what_a_layout_reads(layout, path, said):
    assert read(layout, path) == said


def test_a_mask_is_read_before_the_image_pattern_that_fits_it_as_well():
    layout = Layout.parse("class/{image}.png + class/{mask}_mask{*}.png")
    said = layout.read(("a", "lump (1)_mask_1.png"))
    assert said is not None
    assert said.is_mask
    assert said.name == "lump (1)"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("class//image", "an empty level"),
        ("class/{group_{*}.png", "do not close"),
        ("class/{patient}.png", "no word 'patient'; braces hold split, class, group"),
        ("split/class", "ends with 'class', and the last level is the file"),
        ("group/image", "says nowhere what the class is"),
        ("class/mask", "has masks and no images"),
        ("", "an empty level"),
    ],
)
def test_layouts_that_are_no_sentence(layout, message):
    with pytest.raises(DataError, match=message):
        Layout.parse(layout)


def test_the_nearest_path_of_a_layout_that_fits_none():
    layout = Layout.parse("split/class/image")
    path, why = layout.nearest([("x", "1.png"), ("train", "a", "deep", "1.png")])
    assert path == ("train", "a", "deep", "1.png")
    assert why == "it has 4 levels, and the layout 3"


def tree(*patterns: str) -> list[tuple[str, ...]]:
    """Paths of patterns such as `{a,b}/p{1-3}/{0-4}.png`."""
    found = [()]
    for pattern in patterns:
        paths: list[tuple[str, ...]] = [()]
        for level in pattern.split("/"):
            head, _, rest = level.partition("{")
            inside, _, tail = rest.partition("}")
            if not rest:
                names = [level]
            elif "-" in inside and inside.replace("-", "").isdigit():
                low, high = inside.split("-")
                names = [f"{head}{i:0{len(low)}d}{tail}" for i in range(int(low), int(high) + 1)]
            else:
                names = [head + word + tail for word in inside.split(",")]
            paths = [(*path, name) for path in paths for name in names]
        found = [*found, *paths]
    return [path for path in found if path]


@pytest.mark.parametrize(
    ("patterns", "layout"),
    [
        (["{a,b}/{1-4}.png"], "class/image"),
        (["{train,test}/{a,b}/{1-4}.png"], "split/class/image"),
        (["{a,b}/{train,test}/{1-4}.png"], "class/split/image"),
        (["{Training Set,Test Set}/{a,b}/{1-4}.png"], "split/class/image"),
        (["{x_train,x_valid,x_test}/{a,b}/{1-4}.png"], "split/class/image"),
        (["{tr,ts}/{a,b}/{1-4}.png"], "split/class/image"),
        (["{imagesTr,imagesVa,imagesTs}/{a,b}/{1-4}.png"], "split/class/image"),
        (["{TR,MR}/{1-4}.png"], "class/image"),
        (["{tr,ts}/{1-4}.png"], None),
        (["wrap/set/{a,b}/{1-4}.png"], "*/*/class/image"),
        (["{train,test}/images/{a,b}/{1-4}.png"], "split/*/class/image"),
        (["{a,b}/images/{1-4}.png"], "class/*/image"),
        (["{8801-8809}/{0,1}/{1-4}.png"], "group/class/image"),
        (["patient_{1-7}/{normal,tumour}/{1-4}.png"], "group/class/image"),
        (["{Ann,Ben,Cem,Dan,Eva,Fay,Gus,Ida,Jim,Kim}/{normal,ill}/{1-4}.png"], "group/class/image"),
        (["{normal,ill}/{AB,CD,EF,GH,IJ,KL,MN,OP,QR,ST}/{1-4}.png"], "class/group/image"),
        (["fold{1-5}/{mel,nv}/{1-4}.png"], "*/class/image"),
        (["{left,right}/{drusen,other}/{1-4}.png"], "*/class/image"),
        (["{lung,colon,skin}/{normal,cancer}/{1-4}.png"], "*/class/image"),
        (["{normal,cancer}/{lung,colon,skin}/{1-4}.png"], "class/*/image"),
        (["{2018,2019,2020}/{a,b}/{1-4}.png"], "*/class/image"),
        (["a/{00012-00019}/{1-3}.png", "b/{00112-00119}/{1-3}.png"], "class/group/image"),
        (["{a,b}/{01-08}/{1-3}.png"], "class,group/group/image"),
        (["{a,b}/{8801-8809}/{1-3}.png"], "class/group/image"),  # patients of both classes
        (["{train,test}/{a,b}/patient_{4711-4719}/{1-3}.png"], "split/class/group/image"),
        (["{a,b}/P{001-008}/{left,right}/{1-3}.png"], "class,group/group/*/image"),
        (["XR_{HAND,ARM}/patient{00011-00018}/study1_{positive,negative}/{1-2}.png"],
         "*/group/{*}_{class}/image"),
        (["{a,b}/{1-9}.png", "b/deep/er/1.png"], "class/**/image"),
        (["seg_train/seg_train/{sea,sky}/{1-6}.jpg", "seg_pred/seg_pred/{1-3}.jpg"],
         "split/*/class/image"),
        (["grade{0-6}/{1-4}.png"], "class/image"),
        (["{0-9}/{1-4}.png"], "class/image"),
        (["{cat,train,bus}/{1-4}.png"], None),
        (["{organA,organB}/{x,y}/{1-4}.png"], None),
        (["colon/{colon_a,colon_n}/{1-4}.png", "lung/{lung_a,lung_n}/{1-4}.png"], None),
        (["benign/{adenosis,fibroma}/{1-4}.png", "malignant/{ductal,lobular}/{1-4}.png"], None),
        (["patient{001-030}/{1-4}.png"], None),
        (["part_{1-3}/{1-9}.png"], None),
        (["images_{001-012}/images/{1-4}.png"], None),
        (["{train,test}/{1-4}.png"], None),
        (["{1-4}.png"], None),
        (["images/{1-4}.png"], None),
    ],
)  # fmt: skip
def test_what_is_recognised_and_what_is_asked(patterns, layout):
    paths = tree(*patterns)
    proposals = recognise(paths)
    found = [str(one) for one in proposals.layouts]
    if layout is None:
        assert len(found) != 1, found
        assert found or proposals.why
        return
    assert found == [layout]
    assert recognise(paths[::-1]).layouts == proposals.layouts  # the order says nothing


def test_the_readings_of_a_tree_that_has_two_are_both_there():
    found = recognise(tree("{organA,organB}/{x,y}/{1-4}.png")).layouts
    assert sorted(map(str, found)) == ["*/class/image", "class/*/image"]


def test_a_layout_that_is_recognised_reads_every_path_it_was_made_from():
    paths = tree("{train,test}/{a,b}/P{001-006}/{1-3}.png", "train/a/P001/deep/{7-9}.png")
    (layout,) = recognise(paths).layouts
    again = Layout.parse(str(layout))
    assert all(again.read(path) for path in paths)
