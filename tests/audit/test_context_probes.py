from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medgraft.audit.context_probes import check_context, check_file_changes, grey_outside
from medgraft.audit.parts import Part
from medgraft.audit.regions import Layout
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.learn.frozen import FittedFrozen
from medgraft.report.text.audit_findings import sentence
from medgraft.types import PLAIN, Canvas, Geometry, ImageTable, Predictions, Scenario, Source

SIDE, N = 64, 80


@pytest.fixture
def fitted(cache: Cache) -> FittedFrozen:
    extractor = Extractor(cache)
    return FittedFrozen(
        scenario=Scenario.from_key("probe/tf_efficientnet_lite0/blocks.1/logistic"),
        classes=("a", "b"),
        positive="b",
        operating=None,
        feature_plan=FeaturePlan.one(
            extractor.spec("tf_efficientnet_lite0", ["blocks.1"], size=SIDE)
        ),
        head=SimpleNamespace(),  # type: ignore[arg-type]
        calibrator=Calibrator(1.0, (0.0, 0.0)),
        extractor=extractor,
        rule=PLAIN,
    )


def part_of(fitted: FittedFrozen, where: tuple[slice, slice] | None) -> Part:
    """Noise; images of class b are brighter at one place."""
    rng = np.random.default_rng(3)
    labels = np.arange(N) % 2
    canvases = []
    for i, label in enumerate(labels):
        pixels = rng.integers(40, 120, (SIDE, SIDE)).astype(np.uint8)
        if where is not None and label:
            pixels[where] += 100
        canvases.append(Canvas(f"i{i}", pixels, Geometry.identity(SIDE, SIDE)))
    ids = np.array([c.id for c in canvases])
    blank = np.full(N, "")
    table = ImageTable(
        ids, (Source(""),) * N, ids, labels, ids, np.full(N, "test"), blank, ("a", "b"), "b"
    )
    prob = np.full((N, 2), 0.5)
    return Part(fitted, table, tuple(canvases), None, Predictions.of("x", table, prob, prob))


@pytest.mark.parametrize(
    ("where", "telling"),
    [
        (np.s_[2:8, 2:8], {"border ring", "four corners"}),
        (np.s_[5:9, 5:9], {"four corners"}),
        (np.s_[20:40, 20:40], set()),
        (None, set()),
    ],
)
def test_the_place_that_tells_the_class_is_named_and_no_other(
    fitted: FittedFrozen, where: tuple[slice, slice] | None, telling: set[str]
) -> None:
    findings = check_context([part_of(fitted, where)], Layout())
    assert {f.numbers["region"] for f in findings if f.check == "place_tells_class"} == telling
    for finding in findings:
        assert set(finding.estimates).isdisjoint(telling)
        assert finding.severity == "info"
        assert sentence(finding)


def test_outside_the_masks_too_and_images_of_all_parts_together(fitted: FittedFrozen) -> None:
    part = part_of(fitted, np.s_[28:36, 50:58])  # neither ring nor corner
    masks = np.zeros((N, SIDE, SIDE), bool)
    masks[:, 10:40, 10:40] = True
    half = np.arange(N) < N // 2
    parts = [
        Part(
            fitted,
            part.table.select(rows),
            tuple(c for c, keep in zip(part.canvases, rows, strict=True) if keep),
            masks[rows],
            part.said.select(rows),
        )
        for rows in (half, ~half)
    ]
    findings = check_context(parts, Layout())
    (told,) = [f for f in findings if f.check == "place_tells_class"]
    assert told.numbers["region"] == "outside the masks"
    assert told.numbers["n"] == N
    whole = masks.copy()
    whole[:] = True  # and where the place lies inside, nothing of it is shown
    whole[:, :, 62:] = False
    quiet = check_context([replace(p, masks=whole[: len(p.table)]) for p in parts], Layout())
    assert [f.check for f in quiet] == ["places_alone"]


def test_what_has_several_networks_says_so(fitted: FittedFrozen) -> None:
    part = part_of(fitted, None)
    strange = replace(part, fitted=SimpleNamespace(spec=fitted.spec, networks=()))  # type: ignore[arg-type]
    (finding,) = check_context([strange], Layout())
    assert (finding.check, finding.severity) == ("alone_not_measured", "info")
    assert finding.reason == "several networks"


def test_the_rest_is_grey() -> None:
    kept = np.array([[True, False], [False, True]])
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    assert grey_outside(pixels, kept).tolist() == [[1, 128], [128, 4]]
    assert grey_outside(np.repeat(pixels[..., None], 3, axis=2), kept)[0].tolist() == [
        [1] * 3,
        [128] * 3,
    ]


def files_of(folder: Path, fitted: FittedFrozen, width: Callable[[int], int]) -> Part:
    """`part_of` with each image in a file of its own, `width` pixels wide by its row."""
    part = part_of(fitted, None)
    canvases, sources = [], []
    for i, canvas in enumerate(part.canvases):
        path = folder / f"{i}.png"
        Image.fromarray(np.zeros((40, width(i)), np.uint8)).save(path)
        canvases.append(replace(canvas, geometry=Geometry.identity(40, width(i))))
        sources.append(Source(str(path)))
    table = replace(part.table, sources=tuple(sources))
    return replace(part, table=table, canvases=tuple(canvases))


def test_files_of_two_shapes_tell_the_class_and_of_any_shape_do_not(
    fitted: FittedFrozen, tmp_path: Path
) -> None:
    (telling,) = check_file_changes([files_of(tmp_path, fitted, lambda i: 50 + 10 * (i % 2))])
    assert (telling.check, telling.severity, telling.numbers["p"]) == ("files_alone", "info", 0.01)
    assert telling.numbers["auroc"] == 1
    assert telling.reason == "telling"
    drawn = np.random.default_rng(0).integers(50, 60, N)
    (quiet,) = check_file_changes([files_of(tmp_path, fitted, lambda i: int(drawn[i]))])
    assert float(quiet.numbers["p"]) > 0.01
    assert quiet.reason == "not telling"
    (same,) = check_file_changes([files_of(tmp_path, fitted, lambda i: 50)])
    assert (same.check, same.reason) == ("files_alone", "alike")
    assert all(sentence(one) for one in (telling, quiet, same))
    part = part_of(fitted, None)
    frames = replace(part.table, sources=tuple(Source("a.npz", i, "images") for i in range(N)))
    (none,) = check_file_changes([replace(part, table=frames)])
    assert (none.check, none.severity) == ("files_not_measured", "info")
    assert none.reason == "no files"
