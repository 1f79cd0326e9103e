"""What a GPU gives, and whether it says what the CPU says; made radiographs, under six minutes.

Extraction of all taps, a training of the whole network and Grad-CAM, each on the GPU and on the CPU
of the same machine: rates in pairs, and the largest difference of what comes out, held to a stated
tolerance. Writes `bench/results/gpu.json` and `docs/results/gpu.md`. `--reduced` tries the script
itself in seconds, on the CPU where there is no GPU, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cam import probe
from harness import RESULTS, Pair, Spread, paired, save, seconds
from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import holdout
from medgraft.explain.cam import block_taps, grad_cam
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import Cache
from medgraft.features.engine import (
    Engine,
    Output,
    TorchEngine,
    default_workers,
    make_engine,
    torch_device,
)
from medgraft.features.extract import Extractor
from medgraft.files import write_text
from medgraft.learn.finetune import Data, Training
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.types import Canvas, ImageTable, Scenario

PAGE = Path(__file__).parents[1] / "docs" / "results" / "gpu.md"
TOLERANCES = {"extraction": 1e-4, "training": 1e-3, "Grad-CAM": 1e-4}  # of the largest value
NEVER = (
    "medgraft has never been run on a GPU. Who has one measures it in under six minutes with "
    "`python bench/gpu.py`, which writes this page."
)

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done: films of so many patients, of which the CPU reads and explains `few`."""

    patients: int = 80
    size: int = 224
    few: int = 64
    rounds: int = 3
    openvino: bool = True


REDUCED = Sizes(patients=4, size=64, few=4, rounds=1, openvino=False)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: GPU against CPU in images a second, and how far apart their answers are.

    difference : the largest, as a share of the largest value. notes : further figures.
    """

    pairs: Mapping[str, Pair]
    difference: float
    tolerance: float
    notes: Mapping[str, object]


def apart(found: Array, expected: Array) -> float:
    """The largest difference, as a share of the largest value."""
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        sys.exit("GPU or CPU gave values that are no numbers, which nothing can be held to")
    largest = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(found - expected).max()) / largest


def spread(canvases: Sequence[Canvas], n: int) -> Sequence[Canvas]:
    """At most n of them, of every class."""
    rows = np.linspace(0, len(canvases) - 1, min(n, len(canvases))).astype(int)
    return [canvases[row] for row in rows]


# --------------------------------------------------------------------------- the parts


def extraction(table: ImageTable, extractor: Extractor, sizes: Sizes, device: str) -> Part:
    """Every tap, pooled; the pixels lie ready in memory."""
    backbone, workers = extractor.backbone(DEFAULT).at(sizes.size), default_workers()
    outputs = [Output(tap.name, "avg") for tap in backbone.taps]
    spec = extractor.spec(DEFAULT, [backbone.taps[-1].name], size=sizes.size)

    def decoded() -> list[Canvas]:
        return [row for row in extractor.canvases(table, spec) if isinstance(row, Canvas)]

    canvases = decoded()
    few = spread(canvases, sizes.few)
    gpu = TorchEngine(backbone, outputs, workers=workers, device=device)
    opponents: dict[str, Engine] = {
        "torch": TorchEngine(backbone, outputs, workers=workers, device="cpu")
    }
    if sizes.openvino:
        opponents["OpenVINO"] = make_engine("openvino", backbone, outputs, sizes.size)
    found, pairs, differences = codes(gpu, few), {}, {}
    for name, cpu in opponents.items():
        differences[name] = max(map(apart, found, codes(cpu, few)))
        pairs[name] = paired(reading(gpu, canvases), reading(cpu, few), sizes.rounds)
    decoding = len(canvases) / seconds(decoded, 1).median
    notes = {"differences": differences, "decoded_per_second": decoding}
    return Part(pairs, max(differences.values()), TOLERANCES["extraction"], notes)


def codes(engine: Engine, canvases: Sequence[Canvas]) -> list[Array]:
    """(n, channels) of each output."""
    rows = [values for _, values in engine.run(canvases)]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def reading(engine: Engine, canvases: Sequence[Canvas]) -> Callable[[], int]:
    """One reading of the images."""
    return lambda: sum(1 for _ in engine.run(canvases))


def training(table: ImageTable, extractor: Extractor, sizes: Sizes, device: str) -> Part:
    """The whole network by medgraft's loop, an epoch here and an epoch there in turn.

    A GPU trains in half precision, so that the two networks part. Equal must be what one trained
    network, that of the GPU, says of images on both.
    """
    recipe = f"epochs{1 + sizes.rounds}/patience0/steps0/warmup0/scheduleconstant/probeFalse"
    key = f"finetune/{DEFAULT}/input/s{sizes.size}/{recipe}/logistic"
    setup = FinetuneSetup.of(Scenario.from_key(key), table, extractor)
    inputs, held = setup.inputs("input"), holdout(table.groups, table.labels, 0.25)
    learned, judged = (setup.data(inputs, np.flatnonzero(rows)) for rows in (~held, held))

    def new(where: str) -> Training:
        network = setup.network("input", inputs, learned.rows)
        return Training(network, setup.recipe, seed=0, device=where)

    runs = {"gpu": new(device), "cpu": new("cpu"), "again": new(device)}
    epochs = {name: epoch_of(run, learned, judged) for name, run in runs.items()}
    epochs["gpu"](), epochs["cpu"]()  # warm
    pair = paired(epochs["gpu"], epochs["cpu"], sizes.rounds)
    for _ in range(1 + sizes.rounds):
        epochs["again"]()
    losses = {name: [epoch.holdout[0] for epoch in run.history] for name, run in runs.items()}
    scores = runs["gpu"].logits(judged)
    again = apart(runs["again"].logits(judged), scores)
    runs["cpu"].network.load_state_dict(runs["gpu"].network.state_dict())
    difference = apart(scores, runs["cpu"].logits(judged))
    notes = {"holdout_losses": losses, "trained_again_differs_by": again}
    return Part({"torch": pair}, difference, TOLERANCES["training"], notes)


def epoch_of(run: Training, learned: Data, judged: Data) -> Callable[[], int]:
    """Trains one more epoch each time it is called."""
    epochs = run.epochs(learned, judged)
    next(epochs)  # number 0, before any training

    def epoch() -> int:
        next(epochs)
        return len(learned.rows)

    return epoch


def explanation(table: ImageTable, extractor: Extractor, sizes: Sizes, device: str) -> Part:
    """Grad-CAM of a logistic probe at five taps, enlarged to the image.

    A gradient jumps where a rectifier's input crosses zero, so that the last bit decides some
    images' maps: on one CPU two sizes of batch give maps apart by 1e-6 in the middle and by 2e-3
    at worst. What is held to the tolerance is the median over images, at the worst tap.
    """
    fitted, canvases = probe(table, extractor, sizes.size)
    few, taps = spread(canvases, sizes.few), list(block_taps(fitted).values())
    named = dict(zip(table.ids, (table.classes[y] for y in table.labels), strict=True))

    def maps(some: Sequence[Canvas], where: str) -> list[Array]:
        found = grad_cam(fitted, some, taps, [named[canvas.id] for canvas in some], where)
        return [np.stack([one[tap].map for one in found]) for tap in taps]

    def rate(some: Sequence[Canvas], where: str) -> Callable[[], int]:
        return lambda: len(maps(some, where)[0])

    both = zip(maps(few, device), maps(few, "cpu"), strict=True)
    each = [list(map(apart, found, expected)) for found, expected in both]  # by tap and image
    notes = {"taps": taps, "worst_image": float(np.max(each))}
    difference = float(np.median(each, axis=1).max())
    pair = paired(rate(canvases, device), rate(few, "cpu"), sizes.rounds)
    return Part({"torch": pair}, difference, TOLERANCES["Grad-CAM"], notes)


def measure(sizes: Sizes, device: str) -> dict[str, object]:
    """Every part, on `device` and on the CPU."""
    began = time.perf_counter()
    name = torch.cuda.get_device_name() if device == "cuda" else device
    parts: dict[str, Part] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "films", sizes.patients)
        table = load(Path(folder) / "films")
        extractor = Extractor(Cache(Path(folder) / "cache"), engine="torch")
        for part, work in zip(TOLERANCES, (extraction, training, explanation), strict=True):
            parts[part] = work(table, extractor, sizes, device)
            for opponent, pair in parts[part].pairs.items():
                print(f"{part}: {pair.a} on {name}, {pair.b} images/s by {opponent} on the CPU")
            print(f"{part}: apart by {parts[part].difference:.1e} of the largest value")
    took = time.perf_counter() - began
    return {"device": name, "images": len(table), "size": sizes.size, "seconds": took, **parts}


def too_far(figures: Mapping[str, Any]) -> list[str]:
    """The parts whose answers are further apart than they may be."""
    return [part for part in TOLERANCES if figures[part].difference > TOLERANCES[part]]


# --------------------------------------------------------------------------- the page


def page(content: Mapping[str, Any] | None) -> str:
    """The page of what `bench/results/gpu.json` holds; None where there is no such file."""
    head = "# On a GPU\n\n"
    if content is None:
        return f"{head}{NEVER}\n"
    figures, machine = content["figures"], content["machine"]
    rows = [
        "| part | GPU, images/s | CPU, images/s | times as fast | apart by | may be |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in TOLERANCES:
        one = figures[part]
        for opponent, pair in one["pairs"].items():
            a, b, ratio = (Spread(**pair[side]) for side in ("a", "b", "ratio"))
            rows.append(
                f"| {part} | {a} | {b} ({opponent}) | {ratio} | {one['difference']:.1e} | "
                f"{one['tolerance']:.0e} |"
            )
    losses = figures["training"]["notes"]["holdout_losses"]
    again = figures["training"]["notes"]["trained_again_differs_by"]
    worst = figures["Grad-CAM"]["notes"]["worst_image"]
    decoded = figures["extraction"]["notes"]["decoded_per_second"]
    return head + "\n".join(
        [
            "Written by `python bench/gpu.py`; do not edit.",
            f"{figures['device']} against {machine['cores']} cores of {machine['cpu']}, "
            f"{figures['images']} made radiographs at {figures['size']} px, {DEFAULT}, "
            f"torch {content['versions']['torch']}; {figures['seconds']:.0f} seconds in all.",
            "",
            *rows,
            "",
            "Medians, the least and the most. *Apart by*: the largest difference of GPU and CPU as "
            "a share of the largest value: of codes by tap, of the scores that one trained network "
            "gives on both, of maps by tap the median image (the worst: "
            f"{worst:.1e}, for a gradient jumps where a rectifier's input crosses zero).",
            f"Files become pixels at {decoded:.0f} a second on this CPU; extraction waits for it.",
            f"Loss on the holdout after the last epoch: {losses['gpu'][-1]:.3f} on the GPU (half "
            f"precision), {losses['cpu'][-1]:.3f} on the CPU, {losses['gpu'][0]:.3f} before any. "
            f"Trained again on the GPU by the same seed, scores differ by {again:.1e}.",
            "",
        ]
    )


def kept() -> Mapping[str, Any] | None:
    """What was measured on a GPU, if ever."""
    file = RESULTS / "gpu.json"
    found: Mapping[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reduced", action="store_true", help="seconds, writes nothing")
    reduced, device = parser.parse_args(arguments).reduced, torch_device()
    if device == "cpu" and not reduced:
        write_text(PAGE, page(kept()))
        sys.exit("torch finds no GPU here, so nothing was measured; --reduced tries the script")
    figures = measure(REDUCED if reduced else Sizes(), device)
    if not reduced:
        save("gpu", figures)
        write_text(PAGE, page(kept()))
    if far := too_far(figures):
        sys.exit(f"GPU and CPU are further apart than they may be: {', '.join(far)}")


if __name__ == "__main__":
    main()
