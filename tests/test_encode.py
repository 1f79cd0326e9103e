"""`encode`: images in, vectors out, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medgraft
from medgraft.data.ingest import load
from medgraft.errors import BackboneError, DataError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor

NET = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images, one of them cut short, and a copy."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(4):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "2.png").read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


def test_a_table_gives_the_extractors_codes_by_id(folder: Path, extractor: Extractor) -> None:
    table = load(folder)
    found = medgraft.encode(table, tap="blocks.1", sizes=[64], extractor=extractor)
    spec = extractor.spec(NET, ["blocks.1"], size=64)
    codes, skipped = extractor.codes(table, spec)
    np.testing.assert_array_equal(found.to_numpy(), codes.matrix())
    assert (found.index.tolist(), found.index.name) == (codes.ids.tolist(), "id")
    assert found.columns.tolist() == [f"blocks.1@avg:{channel}" for channel in range(24)]
    assert set(found.dtypes) == {np.dtype(np.float32)}
    assert found.attrs["skipped"] == skipped
    assert [bad.source for bad in skipped] == ["a/cut.png"]
    np.testing.assert_array_equal(found.loc["a/0.png"], found.loc["b/copy.png"])


def test_files_folders_and_patterns_need_no_labels(
    folder: Path, extractor: Extractor, tmp_path: Path
) -> None:
    table = load(folder)
    by_table = medgraft.encode(table, tap="stem", sizes=[64], extractor=extractor)
    paths = [folder / "a" / "0.png", str(folder / "b" / "*.png"), tmp_path / "missing.png"]
    found = medgraft.encode(paths, tap="stem", sizes=[64], extractor=extractor)
    names = ["a/0.png", "b/1.png", "b/3.png", "b/copy.png"]
    assert found.index.tolist() == [str(folder / name) for name in names]
    np.testing.assert_array_equal(found.to_numpy(), by_table.loc[names].to_numpy())
    assert [bad.source for bad in found.attrs["skipped"]] == [str(tmp_path / "missing.png")]
    whole = medgraft.encode([folder], tap="stem", sizes=[64], extractor=extractor)
    assert (len(whole), len(whole.attrs["skipped"])) == (5, 1)


@pytest.mark.parametrize(
    ("options", "width", "first", "last"),
    [
        ({"sizes": [64], "tap": "stem"}, 32, "stem@avg:0", "stem@avg:31"),
        ({"sizes": [64], "tap": "stem", "pooling": "gem"}, 32, "stem@gem:0", "stem@gem:31"),
        (
            {"sizes": [32, 64], "tap": "stem"},
            64, "32px.stem@avg:0", "64px.stem@avg:31",
        ),
        ({"sizes": [32, 64], "tap": "stem", "join": "mean"}, 32, "stem@avg:0", "stem@avg:31"),
        (
            {"sizes": [64], "tap": "stem", "preprocess": "raw+clahe"},
            64, "raw.stem@avg:0", "clahe2-8.stem@avg:31",
        ),
        (
            {"sizes": [32, 64], "tap": "stem", "preprocess": "raw+clahe"},
            128, "32px.raw.stem@avg:0", "64px.clahe2-8.stem@avg:31",
        ),
        ({"sizes": [64], "tap": "stem", "preprocess": "clahe"}, 32, "stem@avg:0", "stem@avg:31"),
        ({"sizes": [64]}, None, None, None),
    ],
)  # fmt: skip
def test_every_column_has_a_name_of_its_own(
    options: dict[str, object], width: int | None, first: str | None, last: str | None,
    folder: Path, extractor: Extractor,
) -> None:  # fmt: skip
    found = medgraft.encode([folder / "b"], extractor=extractor, **options)  # type: ignore[arg-type]
    assert found.columns.is_unique
    if width is None:  # all stages, by default
        stages = extractor.backbone(NET).stages
        assert found.shape == (3, sum(tap.channels for tap in stages))
        return
    assert found.shape == (3, width)
    assert (found.columns[0], found.columns[-1]) == (first, last)


def test_names_lie_where_their_numbers_do(folder: Path, extractor: Extractor) -> None:
    paths = [folder / "b"]
    both = medgraft.encode(paths, tap="stem", sizes=[64], preprocess="raw+clahe",
                           extractor=extractor)  # fmt: skip
    raw = medgraft.encode(paths, tap="stem", sizes=[64], extractor=extractor)
    edited = medgraft.encode(paths, tap="stem", sizes=[64], preprocess="clahe",
                             extractor=extractor)  # fmt: skip
    for channel in (0, 17, 31):
        name = f"stem@avg:{channel}"
        np.testing.assert_array_equal(both[f"raw.{name}"], raw[name])
        np.testing.assert_array_equal(both[f"clahe2-8.{name}"], edited[name])
    joined = medgraft.encode(paths, sizes=[64], extractor=extractor)
    np.testing.assert_allclose(
        joined["blocks.6@avg:3"],
        medgraft.encode(paths, tap="blocks.6", sizes=[64], extractor=extractor)["blocks.6@avg:3"],
        atol=1e-5,
    )


def test_parquet_holds_the_same_frame(folder: Path, extractor: Extractor, tmp_path: Path) -> None:
    out = tmp_path / "new" / "codes.parquet"
    found = medgraft.encode([folder], tap="stem", sizes=[64], out=out, extractor=extractor)
    back = pd.read_parquet(out)
    pd.testing.assert_frame_equal(back, found)
    assert list(out.parent.iterdir()) == [out]  # no temporary file is left


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"tap": "layer9"}, BackboneError, r"no tap 'layer9'; it has: stem"),
        ({"backbone": "no_such_net"}, BackboneError, r"no_such_net"),
        ({"pooling": "median"}, ScenarioError, r"no pooling 'median'"),
        ({"preprocess": "sharpen"}, ScenarioError, r"no edit 'sharpen'"),
        ({"sizes": [0]}, BackboneError, r"0 px"),
        ({"sizes": [-64]}, BackboneError, r"-64 px"),
        ({"sizes": [64, 64]}, ScenarioError, r"twice"),
        ({"sizes": [64], "tap": "stem", "preprocess": "clahe+clahe2-8"}, ScenarioError, r"twice"),
        ({"sizes": [16]}, BackboneError, r"needs 32 or more"),
        ({"resize": "melt"}, ScenarioError, r"no resize rule 'melt'"),
        ({"join": "sum", "sizes": [32, 64], "tap": "stem"}, ScenarioError, r"no join 'sum'"),
    ],
)
def test_names_that_do_not_exist_are_refused(
    options: dict[str, object], error: type[Exception], said: str, folder: Path,
    extractor: Extractor,
) -> None:  # fmt: skip
    with pytest.raises(error, match=said):
        medgraft.encode([folder / "b"], extractor=extractor, **options)  # type: ignore[arg-type]


def test_nothing_that_can_be_read_is_an_error_with_a_reason(
    folder: Path, extractor: Extractor, tmp_path: Path
) -> None:
    for paths, said in (
        ([folder / "a" / "cut.png"], r"none of 1 images can be read; the first: "),
        (
            [tmp_path / "missing.png"],
            r"none of 1 images can be read; the first: .*(missing|No suc)",
        ),
        ([tmp_path], r"no images in"),
        ([], r"no images"),
    ):
        with pytest.raises(DataError, match=said):
            medgraft.encode(paths, tap="stem", sizes=[64], extractor=extractor)
