"""What the page is made of and asks for; `test_try_it_in_browser.py` tries it in a browser."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import PLACE, Running, form, png, running

from medgraft import files
from medgraft.data.listing import content_hash
from medgraft.data.pixels.decode import decode
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.serve import page as page_room
from medgraft.serve.about import MOST_UNSURE, About, Cases
from medgraft.serve.page import page_files
from medgraft.serve.pictures import MAP_SIDE, on_image
from medgraft.serve.run import Door
from medgraft.serve.schema import AboutAnswer, CasesAnswer
from medgraft.studies.store import IMAGES, write_images, write_predictions
from medgraft.types import ImageTable, Predictions, Source
from numpy_model import ByBrightness

FOLDER = Path(page_room.__file__).parent


def test_the_page_asks_nobody_else(server: Running) -> None:
    """No address but relative ones, and a policy that would refuse others."""
    assert "" in page_files()
    for name, (content, _) in page_files().items():
        found = server.ask(f"/{name}")
        assert (found.status, found.body) == (200, content)
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        text = content.decode()
        assert not re.search(r"(https?|wss?):|['\"`(]//|url\(", text), name
        assert not re.search(r"fetch(ed)?\(['\"`]/|(src|href)=\"/|from \"/", text), name
        for word in ("<script>", "style=", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("):
            assert word not in text, (name, word)


def test_it_works_below_another_path() -> None:
    with running(below="/x/try") as server:
        assert server.ask("/x/try/").status == 200
        found = server.ask("/x/try")
        assert (found.status, found.headers["location"][-7:]) == (307, "/x/try/")
        assert server.ask("/x/try/page.js").status == 200
        answer = server.ask("/x/try/v1/predict", form(png(200)))
        assert answer.json["images"][0]["label"] == "1"
        assert server.ask("/x/try/v1/predict", form(b"x")).code == "unknown_kind"
        assert server.ask("/v1/predict", form(png())).status == 404


def test_one_rule_says_what_a_formula_is() -> None:
    """The browser's table of corrections is written by the rule of all other tables."""
    script = (FOLDER / "tables.js").read_text(encoding="utf-8")
    found = dict(re.findall(r"(FORMULA|NUMBER) = /\^(.*?)\$?/;", script))
    assert found == {"FORMULA": files.FORMULA.pattern, "NUMBER": files.NUMBER.pattern}


@pytest.mark.parametrize("verdict", ["", "PASS", "WARN", "FAIL", "INCONCLUSIVE"])
def test_the_verdict_is_told(verdict: str) -> None:
    found = About(verdict, calibrated=verdict, judged=50).to_json()
    assert found["audit"]["verdict"] == (verdict or None)
    assert ("was not audited" in found["audit"]["says"]) == (not verdict)
    assert ("not rely" in found["audit"]["means"]) == (verdict == "FAIL")
    assert ("was not measured" in found["calibration"]["says"]) == (not verdict)


def test_the_model_tells_of_itself(server: Running) -> None:
    found = AboutAnswer.model_validate(server.ask("/v1/model").json)
    assert found.model.classes == ["0", "1"]
    assert (found.audit.verdict, found.alpha, found.knows_unlike) == (None, None, False)
    assert found.limits.files == server.service.limits.files


def study(folder: Path) -> Path:
    """Predictions of a study: ten sure images a class, one close call, one under a wrong label."""
    p = np.array([0.05] * 10 + [0.95] * 10 + [0.52, 0.99])
    labels = np.array([0] * 10 + [1] * 10 + [1, 0])
    names = np.array([*(f"a/{k}.png" for k in range(20)), "close.png", "wrong.png"])
    prob = np.stack([1 - p, p], axis=1)
    said = Predictions(
        scenario=ByBrightness(PLACE).scenario.key, classes=("0", "1"), positive="1", ids=names,
        groups=names, splits=np.full(len(names), "train"), fold=np.arange(len(names)) % 5,
        y_true=labels, scores=np.log(prob), y_prob=prob,
    )  # fmt: skip
    write_predictions(folder / "predictions.parquet", [said])
    return folder


def with_images(folder: Path) -> Path:
    """The same study, with the images whose labels are in doubt, as far as it says where they lie:
    its close call was changed since, and `a/0.png` is gone.
    """
    names, contents = ("wrong.png", "close.png", "a/0.png"), (png(200), png(101), png())
    sources = tuple(Source(str(folder / "data" / name)) for name in names)
    blank = np.full(3, "")
    hashes = np.array([content_hash(content) for content in contents])
    labels = np.array([0, 1, 0])
    table = ImageTable(np.array(names), sources, hashes, labels, blank, blank, blank, ("0", "1"))
    write_images(folder / IMAGES, table)
    (folder / "data").mkdir()
    (folder / "data" / "wrong.png").write_bytes(contents[0])
    (folder / "data" / "close.png").write_bytes(png(102))
    return study(folder)


def test_pictures_of_the_study_are_shown_while_its_files_are_the_same(tmp_path: Path) -> None:
    """To who asks by the name that this server drew, from its own pages, and to nobody else."""
    with running(about=About(study=with_images(tmp_path))) as server:
        found = server.ask("/v1/cases").json["cases"]
        assert len(found) == 1 + MOST_UNSURE
        named = {one["id"]: one["picture"] for one in found if one["picture"]}
        assert {"wrong.png", "close.png"} <= set(named) <= {"wrong.png", "close.png", "a/0.png"}
        shown = server.ask(f"/v1/cases/{named['wrong.png']}")
        assert shown.headers["cross-origin-resource-policy"] == "same-origin"
        seen = np.asarray(Image.open(io.BytesIO(shown.body)).convert("L"))
        assert abs(seen.mean() - 200) < 2
        for name in (named["close.png"], "0", "wrong.png", "..%2Fdata%2Fwrong.png"):
            refused = server.ask(f"/v1/cases/{name}")
            assert (refused.status, refused.headers["content-type"]) == (404, "application/json")
        (tmp_path / "data" / "wrong.png").unlink()
        assert server.ask(f"/v1/cases/{named['wrong.png']}").code == "no_picture"
        server.service.names = False
        assert server.ask(f"/v1/cases/{named['wrong.png']}").code == "no_picture"
    assert not Cases.of(tmp_path, ByBrightness(PLACE)).files.keys() & set(named.values())


def test_cases_of_the_study_come_in_order(tmp_path: Path) -> None:
    """The label that is probably wrong, then the closest call; to nobody from elsewhere."""
    about = About(study=study(tmp_path))
    with running(about=about) as server:
        found = CasesAnswer.model_validate(server.ask("/v1/cases").json).cases
        assert [(one.id, one.why, one.labelled) for one in found[:2]] == [
            ("wrong.png", "label", "0"),
            ("close.png", "unsure", "1"),
        ]
        assert found[0].probabilities["1"] == pytest.approx(0.99)
        server.service.names = False
        assert server.ask("/v1/cases").json == {"cases": []}
    with running(door=Door("127.0.0.1", 0, key="k"), about=about) as server:
        assert server.ask("/v1/cases", Authorization="Bearer k").json == {"cases": []}
    with running(door=Door("0.0.0.0", 0, allow_without_key=True), about=about) as server:
        assert server.ask("/v1/cases").json == {"cases": []}
    (tmp_path / "predictions.parquet").write_bytes(b"damaged")
    with running(about=about) as server:
        assert (found := server.ask("/v1/cases")).status == 500
        assert found.code == "no_cases"


def test_cases_of_another_model_are_none(tmp_path: Path) -> None:
    other = ByBrightness(PLACE)
    object.__setattr__(other, "scenario", other.scenario.from_key("probe/none/none/knn"))
    assert Cases.of(study(tmp_path), other) == Cases()


def test_a_picture_is_whole_and_upright(server: Running) -> None:
    """By Pillow: a photo on its side, twice as high as wide once turned."""
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:, :20] = 255  # on top once it is turned
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(content, "JPEG", exif=exif, quality=95)
    found = server.ask("/v1/picture", form(content.getvalue()))
    assert found.headers["content-type"] == "image/jpeg"
    seen = np.asarray(Image.open(io.BytesIO(found.body)).convert("L"))
    assert seen.shape == (512, 256)
    assert seen[:110].mean() > 240
    assert seen[150:].mean() < 15
    assert server.ask("/v1/picture", form(b"x")).code == "unknown_kind"
    assert server.ask("/v1/picture", form(b"")).code == "empty_file"
    assert server.ask("/v1/picture", form(png(), png())).code == "too_many_files"


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_maps_lie_where_the_picture_has_it(resize: str) -> None:
    """A white square is found at its place of the image, whatever became of it on the canvas."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[20:60, 80:120] = 255
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    canvas = make_canvas("", decode(content.getvalue()), CanvasRecipe(64, resize))  # type: ignore[arg-type]
    found = on_image(canvas.pixels[..., 0].astype(np.float32) / 255, canvas.geometry)
    assert found.shape == (MAP_SIDE // 2, MAP_SIDE)
    rows, columns = np.nonzero(found > 0.5)
    scale = MAP_SIDE / 200
    ends = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    assert np.allclose(ends, np.array([20, 60, 80, 120]) * scale, atol=4)
