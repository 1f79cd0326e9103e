"""The layer atlas on the page and as a file, from an atlas made by hand."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
from PIL import Image

from medgraft.report.pages.render import render_page
from medgraft.report.pages.study import render
from medgraft.report.sections import atlas as drawn
from medgraft.results.layers import Atlas, BlockView, ChannelView, LayerExample
from medgraft.types import Canvas, Geometry


def view(block: int, rows: int, channels: int = 4) -> BlockView:
    """A block whose channel c answers at row 0, column c, with 3 times its root mean square."""
    found = []
    for c in range(channels):
        map = np.zeros((rows, rows), np.float32)
        map[0, c] = 3
        found.append(ChannelView(c, 3 - c / 10, map, (0, c)))
    return BlockView((block,), f"tap.{block}", 224 // rows, (rows, rows), 64, tuple(found))


def atlas(name: str = "a/one.png", pixels: np.ndarray | None = None) -> Atlas:
    pixels = fabricate.radiograph(0) if pixels is None else pixels
    views = tuple(view(k, 224 >> k) for k in range(1, 6))
    return Atlas(name, pixels, Geometry.identity(224, 224), views)


# --------------------------------------------------------------------------- pictures


def test_without_an_answer_the_image_is_grey_and_dimmed() -> None:
    """The same for grey and for colour, up to the rounding of luminance."""
    colour = np.full((2, 2, 3), [200, 0, 0], np.uint8)
    seen = drawn.glow(colour, np.zeros((2, 2), np.float32))
    assert np.unique(seen).tolist() == [30]  # half of 0.299 * 200
    grey = fabricate.radiograph(1)
    three = np.repeat(grey[..., None], 3, axis=2)
    level = np.linspace(-1, 2, grey.size).reshape(grey.shape)
    one, other = (drawn.glow(pixels, level).astype(int) for pixels in (grey, three))
    np.testing.assert_allclose(one, other, atol=1)


def test_one_scale_for_all_panels() -> None:
    """Twice the answer is a stronger colour, from one panel to another and not only within one."""
    pixels = np.full((224, 224), 100, np.uint8)
    one = atlas(pixels=pixels)
    strong = one.views[4].channels[0]
    weak = dataclasses.replace(strong, map=strong.map / 2)
    most = drawn.panel(one, strong)[16, 16].astype(float)  # near the middle of the first place
    half = drawn.panel(one, weak)[16, 16].astype(float)
    ground = np.full(3, 50.0)
    np.testing.assert_allclose(half - ground, (most - ground) / 2, atol=1)
    assert most[0] > 230  # amber
    assert most[2] < 10


def test_a_place_is_drawn_where_it_lies() -> None:
    one = atlas(pixels=np.zeros((224, 224), np.uint8))
    seen = drawn.panel(one, one.views[4].channels[2])[..., 0]
    row, column = np.unravel_index(seen.argmax(), seen.shape)
    assert 0 <= row < 32
    assert 64 <= column < 96


@pytest.mark.parametrize(
    ("peak", "words"),
    [((0, 0), "top left"), ((3, 3), "centre"), ((3, 6), "right"), ((6, 3), "bottom")],
)
def test_where_a_channel_is_strongest(peak: tuple[int, int], words: str) -> None:
    channel = ChannelView(0, 1.0, np.zeros((7, 7), np.float32), peak)
    assert drawn.place(view(5, 7), channel) == words


def test_a_view_of_several_blocks_says_so_and_promises_nothing() -> None:
    assert (drawn.title(view(1, 112)), drawn.seen(view(1, 112))) == ("Block 1", "edges")
    shared = dataclasses.replace(view(5, 14), blocks=(1, 2, 3, 4, 5))
    assert (drawn.title(shared), drawn.seen(shared)) == ("Blocks 1 to 5", "")


# --------------------------------------------------------------------------- the page


CONTENT = fabricate.study(n=120, mapped=False)


def part(
    examples: tuple[LayerExample, ...], classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA")
) -> str:
    """The atlas's part of the page."""
    table = dataclasses.replace(CONTENT.result.table, classes=classes)
    content = dataclasses.replace(
        CONTENT, examples=examples, result=dataclasses.replace(CONTENT.result, table=table)
    )
    return render_page("atlas.html.j2", drawn.section(content))


def test_one_atlas_a_class_stands_with_the_depth_profile() -> None:
    examples = (
        LayerExample("NORMAL", 0.98, atlas()),
        LayerExample("PNEUMONIA", 0.999, atlas("b.png")),
    )
    html = render(dataclasses.replace(CONTENT, examples=examples))
    tried = html[html.index('id="tried"') : html.index('id="why"')]
    assert tried.index("Which layer to read") < tried.index('id="layers"')
    assert tried.count('class="layer"') == 10
    assert tried.count("<img ") == 2 * (1 + 5 * 4)
    assert "tap.1: 112 × 112 places of 2 pixels, 64 channels" in tried
    assert "tap.5: 7 × 7 places of 32 pixels, 64 channels" in tried
    assert "left out" not in tried[tried.index('id="layers"') :]
    assert len(part(examples)) < 1_000_000


def test_without_examples_there_is_no_such_part() -> None:
    assert part(()).strip() == ""


def test_classes_without_an_atlas_are_counted() -> None:
    names = tuple("ABCDEFG")
    html = part(tuple(LayerExample(name, 0.9, atlas()) for name in names[:4]), names)
    assert "Shown: A, B, C and D; 3 further classes are left out." in html


def test_a_layer_where_nothing_stands_out_says_so() -> None:
    silent = dataclasses.replace(atlas(), views=(view(1, 112, channels=0),))
    assert drawn.NOTHING in part((LayerExample("NORMAL", 0.9, silent),))


def test_names_are_text_and_every_picture_says_what_it_shows() -> None:
    html = part((LayerExample("NORMAL", 0.9, atlas("<b>.png")),))
    assert "<b>.png" not in html
    for tag in re.findall(r"<img [^>]*>", html):
        assert re.search(r'alt="[^"]{20,}"', tag)


def test_the_uri_holds_the_panel() -> None:
    html = part((LayerExample("NORMAL", 0.9, atlas()),))
    uri = re.search(r'src="data:image/webp;base64,([^"]+)" alt="Channel 0', html)
    assert uri is not None
    assert Image.open(io.BytesIO(base64.b64decode(uri[1]))).size == (144, 144)


# --------------------------------------------------------------------------- the file


@pytest.mark.parametrize("colour", [False, True])
def test_the_file_is_a_picture_and_equal_input_gives_equal_bytes(
    tmp_path: Path, colour: bool
) -> None:
    pixels = fabricate.radiograph(2)
    pixels = np.repeat(pixels[..., None], 3, axis=2) if colour else pixels
    one, other = tmp_path / "new" / "one.png", tmp_path / "other.png"
    drawn.write_atlas(one, atlas(pixels=pixels), "NORMAL: 0.912")
    drawn.write_atlas(other, atlas(pixels=pixels), "NORMAL: 0.912")
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as picture:
        assert picture.size[1] > picture.size[0] > 600


def test_an_atlas_of_nothing_is_still_a_picture(tmp_path: Path) -> None:
    silent = dataclasses.replace(atlas(), views=(view(5, 14, channels=0),))
    drawn.write_atlas(tmp_path / "x.png", silent, "NORMAL: 0.5")
    with Image.open(tmp_path / "x.png") as picture:
        assert min(picture.size) > 300


# --------------------------------------------------------------------------- which images


def test_the_surest_right_image_of_the_first_four_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from medgraft.studies import examples

    classes = ("a", "b", "c", "d", "e")
    # Class a: rows 0 and 1 right, row 2 surer but wrong; b: row 3 right; c: only row 4, wrong.
    y_true = np.array([0, 0, 0, 1, 2, 3, 4])
    said = np.array([0, 0, 1, 1, 0, 3, 4])
    sure = np.array([0.6, 0.7, 0.9, 0.8, 0.9, 0.5, 0.99])
    y_prob = np.repeat((1 - sure)[:, None] / 4, 5, axis=1)
    y_prob[np.arange(7), said] = sure
    oof = dataclasses.replace(
        fabricate.predictions(classes, None, 7, "train", 0, 1.0),
        ids=np.array([f"{i}.png" for i in range(7)]),
        y_true=y_true,
        y_prob=y_prob,
    )
    study = SimpleNamespace(
        unchanged=oof,
        result=SimpleNamespace(recommended="key", table=None),
        fitted=SimpleNamespace(operating=None, spec=None),
    )
    pixels = np.zeros((4, 4), np.uint8)

    def decode(_table: object, ids: list[str], *_: object) -> dict[str, Canvas]:
        return {id: Canvas(id, pixels, Geometry.identity(4, 4)) for id in ids}

    def atlases(_extractor: object, _spec: object, pictures: list[Canvas]) -> Iterator[Atlas]:
        for one in pictures:
            yield Atlas(one.id, one.pixels, one.geometry, ())

    monkeypatch.setattr(examples, "_decode", decode)
    monkeypatch.setattr(examples, "layer_atlases", atlases)
    found = examples.layer_examples(study, None)  # type: ignore[arg-type]
    assert [(one.truth, one.probability, one.atlas.id) for one in found] == [
        ("a", 0.7, "1.png"),
        ("b", 0.8, "3.png"),
        ("d", 0.5, "5.png"),
    ]
