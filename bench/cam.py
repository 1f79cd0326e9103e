"""Grad-CAM of 64 images against pytorch-grad-cam: five taps in one pass, and a single tap.

The library averages the maps of several layers, so that five maps are five calls of it. It gets the
same graph, classes and batches. Once with parameters that require gradients, as a network comes
from timm, and once with them frozen, which saves it their gradients: the kinder opponent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness import paired, save
from medgraft.data.ingest import load
from medgraft.evaluate.calibration import Calibrator
from medgraft.explain.cam import block_taps, cam_maps, grad_cam
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.weights import import_timm
from medgraft.learn.estimators import LogisticHead
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import Canvas, ImageTable, Scenario

IMAGES, SIZE, BATCH, ROUNDS = 64, 224, 8, 3
TAP = "conv_head"
TOLERANCE = 1e-4
SHARED = Path(__file__).parents[1].parent / "shared"

Maps = NDArray[np.float32]


def probe(chosen: ImageTable, extractor: Extractor, size: int) -> tuple[FittedFrozen, list[Canvas]]:
    """A logistic probe of lite0's last map, and the images as it sees them."""
    spec = extractor.spec(DEFAULT, [TAP], size=size)
    codes, _ = extractor.codes(chosen, spec)
    head = LogisticHead(1e-3).fit(codes.matrix(), chosen.labels)
    fitted = FittedFrozen(
        scenario=Scenario.from_key(f"probe/{DEFAULT}/{TAP}/logistic"),
        classes=chosen.classes,
        positive=chosen.positive,
        operating=None,
        feature_plan=FeaturePlan.one(spec),
        head=head,
        calibrator=Calibrator(1.0, (0.0,) * len(chosen.classes)),
        extractor=extractor,
        rule=chosen.rule,
    )
    canvases = [row for row in extractor.canvases(chosen, spec) if isinstance(row, Canvas)]
    return fitted, canvases


def library(
    fitted: FittedFrozen, canvases: Sequence[Canvas], taps: Sequence[str], *, frozen: bool
) -> dict[str, Maps]:
    """The library's maps by tap, a call each, for the first class of all."""
    from pytorch_grad_cam import GradCAM  # type: ignore[import-untyped]
    from pytorch_grad_cam.utils.model_targets import (  # type: ignore[import-untyped]
        ClassifierOutputTarget,
    )

    backbone = fitted.extractor.backbone(DEFAULT)
    graph = fitted.torch_graph()
    assert graph is not None
    modules = dict(backbone.network.named_modules())
    with requiring(backbone.network, not frozen):
        found: dict[str, list[Maps]] = {tap: [] for tap in taps}
        for tap in taps:
            layers = [modules[backbone.tap(tap).module]]
            with GradCAM(model=graph, target_layers=layers) as cam:
                for start in range(0, len(canvases), BATCH):
                    batch = canvases[start : start + BATCH]
                    pixels = np.stack([rgb(canvas) for canvas in batch])
                    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
                    images.requires_grad_(frozen)
                    found[tap].append(cam(images, [ClassifierOutputTarget(0)] * len(batch)))
    return {tap: np.concatenate(maps) for tap, maps in found.items()}


@contextlib.contextmanager
def requiring(network: torch.nn.Module, gradients: bool) -> Iterator[None]:
    """Have the parameters require gradients, and leave them frozen as they were."""
    network.requires_grad_(gradients)
    try:
        yield
    finally:
        for parameter in network.parameters():
            parameter.grad = None
        network.requires_grad_(False)


def rgb(canvas: Canvas) -> NDArray[np.uint8]:
    """(height, width, 3) of a canvas, grey or not."""
    pixels = canvas.pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def apart(ours: list[dict[str, Maps]], theirs: dict[str, Maps]) -> float:
    """The largest difference of two sets of maps, each map scaled to 0..1 as the library's are."""
    worst = 0.0
    for tap, maps in theirs.items():
        for one, expected in zip(ours, maps, strict=True):
            map = one[tap] - one[tap].min()
            unit = map / max(map.max(), np.finfo(np.float32).tiny)
            worst = max(worst, float(np.abs(unit - expected).max()))
    return worst


def main(shared: Path = SHARED) -> None:
    import_timm()  # beside a CPU build of torch, torchvision needs it before the library does
    table = load(shared / "data" / "chest_xray").development
    rows = np.random.default_rng(0).permutation(len(table))[:IMAGES]
    fitted, canvases = probe(table.select(np.sort(rows)), Extractor(engine="torch"), SIZE)
    taps = list(block_taps(fitted).values())
    target = fitted.classes[0]
    load_average = os.getloadavg()[0]

    def ours(names: Sequence[str]) -> Callable[[], int]:
        return lambda: len(grad_cam(fitted, canvases, names, target))

    def theirs(names: Sequence[str], *, frozen: bool) -> Callable[[], int]:
        return lambda: len(library(fitted, canvases, names, frozen=frozen)[names[0]])

    found = [
        {tap: one["gradcam"][tap].map for tap in taps}
        for one in cam_maps(fitted, canvases, ["gradcam"], taps, target)
    ]
    difference = apart(found, library(fitted, canvases, taps, frozen=True))
    print(f"{IMAGES} images, {DEFAULT}, load average before {load_average:.1f}")
    print(f"maps differ by {difference:.1e} at most (aim {TOLERANCE})")
    figures: dict[str, object] = {"difference": difference, "load_average_before": load_average}
    for what, names in (("five taps", taps), (taps[-1], taps[-1:]), (taps[0], taps[:1])):
        for frozen in (True, False):
            pair = paired(ours(names), theirs(names, frozen=frozen), ROUNDS)
            opponent = "weights frozen" if frozen else "as from timm"
            print(f"{what}, library {opponent}: {pair.a} against {pair.b} images/s: {pair.ratio}")
            figures[f"{what}, {opponent}"] = dataclasses.asdict(pair)
    save("cam", figures)
    if difference > TOLERANCE:
        raise SystemExit(f"the maps differ by {difference:.1e}, more than {TOLERANCE}")


if __name__ == "__main__":
    main()
