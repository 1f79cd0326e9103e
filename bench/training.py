"""Epochs of training from a kept trunk: against a good loop from the same layer, and the whole.

The good loop is what an expert writes: the trunk in eval mode under `no_grad`, channels-last, the
rest trained by AdamW in batches of the same size, its pixels ready in memory. The whole network
trained is the same loop without a trunk. Ours reads the maps of its trunk from the cache, float16,
and judges a few images after each epoch, as it always does. Real radiographs at 224 px.

And everything trained at 160 px in strong views, as a budget of an hour buys it: in half precision
against single, with the share of the time that making views takes.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness import paired, save, seconds
from medgraft.data.ingest import load
from medgraft.features.backbones import DEFAULT, load_backbone
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.finetune import Data, Training
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.learn.inputs import Images
from medgraft.scenario import INPUT
from medgraft.types import ImageTable, Scenario

IMAGES = 320
BATCH = 32  # the recipe's own
ROUNDS = 3
DEPTHS = {"blocks.4": (1.5, 4.0), "blocks.6": (6.0, 20.0)}  # aims: same freeze point, whole network
SHARED = Path(__file__).parents[1].parent / "shared"


def ours(
    depth: str, table: ImageTable, extractor: Extractor, how: str = "epochs100000"
) -> Callable[[], int]:
    """An epoch of medgraft's loop, behind a depth on the kept maps of the trunk.

    how : the parts of the scenario's key that say how it is trained.
    """
    scenario = Scenario.from_key(f"finetune/{DEFAULT}/{depth}/{how}/patience0/probeFalse/logistic")
    setup = FinetuneSetup.of(scenario, table, extractor)
    inputs = setup.inputs(depth)
    rows = np.arange(len(table))
    training = Training(setup.network(depth, inputs, rows), setup.recipe, seed=0)
    data = Data(inputs, rows, table.labels, np.ones(len(table)), table.ids)
    nobody = Data(inputs, rows[:0], table.labels, np.ones(len(table)), table.ids)
    epochs = training.epochs(data, nobody)
    next(epochs)  # number 0, before any training

    def epoch() -> int:
        next(epochs)
        return len(rows)

    return epoch


def good_loop(depth: str, pixels: torch.Tensor, labels: torch.Tensor) -> Callable[[], int]:
    """An epoch of the expert's loop; with no depth the whole network is trained."""
    network: Any = copy.deepcopy(load_backbone(DEFAULT).network)
    stages: list[nn.Module] = [nn.Sequential(network.conv_stem, network.bn1), *network.blocks]
    stages.append(nn.Sequential(network.conv_head, network.bn2))
    first = 2 + int(depth.rpartition(".")[2]) if depth else 0
    trunk: Any = nn.Sequential(*stages[:first]).eval().requires_grad_(False)
    head = nn.Linear(network.conv_head.out_channels, 2)
    tail: Any = nn.Sequential(
        *stages[first:], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), head
    )
    for part in (trunk, tail):
        part.to(memory_format=torch.channels_last)
    tail.train().requires_grad_(True)  # the backbone comes frozen
    optimizer = torch.optim.AdamW(tail.parameters(), 4e-4)

    def epoch() -> int:
        for part in torch.split(torch.randperm(len(pixels)), BATCH):
            with torch.no_grad():
                maps = trunk(batch_of(pixels[part]))
            loss = functional.cross_entropy(tail(maps), labels[part], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return len(pixels)

    return epoch


def batch_of(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (b, rows, columns, 3) as the network takes it, channels last in memory."""
    return pixels.float().sub_(127.5).div_(127.5).permute(0, 3, 1, 2)


def whole(table: ImageTable, extractor: Extractor) -> dict[str, object]:
    """Everything trained: half precision against single, and what making views costs."""
    keys = {name: f"s160/strong/epochs100000/precision{name}" for name in ("bf16", "f32")}
    half, single = (ours(INPUT, table, extractor, keys[name]) for name in ("bf16", "f32"))
    half(), single()
    found = paired(half, single, ROUNDS)
    scenario = Scenario.from_key(f"finetune/{DEFAULT}/{INPUT}/{keys['bf16']}/logistic")
    inputs = FinetuneSetup.of(scenario, table, extractor).inputs(INPUT)
    parts = np.array_split(np.arange(len(table)), len(table) // BATCH)
    views = seconds(lambda: sum(len(rows) for rows, _ in inputs.batches(parts, 1)), ROUNDS)
    share = views.median / (len(table) / found.a.median)
    print(
        f"everything trained at 160 px: {found.a.median:.0f} images/s in half precision, "
        f"{found.b.median:.0f} in single: {found.ratio} times as fast (aim 1.5); views alone take "
        f"{len(table) / views.median:.0f} images/s, {100 * share:.0f} % of an epoch"
    )
    return {"half against single": found, "views, share of an epoch": share}


def canvases(table: ImageTable, extractor: Extractor) -> Iterator[np.ndarray]:
    """The pixels that enter the network, (size, size, 3) uint8 each."""
    setup = FinetuneSetup.of(
        Scenario.from_key(f"finetune/{DEFAULT}/input/logistic"), table, extractor
    )
    inputs = setup.inputs("input")
    assert isinstance(inputs, Images)
    for canvas in inputs.canvases(np.arange(len(table)), 0):
        yield canvas.pixels


def main(shared: Path) -> None:
    """Ratios of epochs, round by round."""
    chest = load(shared / "data" / "chest_xray")
    table = chest.select(np.linspace(0, len(chest) - 1, IMAGES).astype(int))
    figures: dict[str, object] = {"images": IMAGES}
    with tempfile.TemporaryDirectory() as folder:
        extractor = Extractor(Cache(Path(folder)))
        pixels = torch.from_numpy(np.stack(list(canvases(table, extractor))))
        labels = torch.from_numpy(table.labels)
        everything = good_loop("", pixels, labels)
        everything()  # warms it
        for depth, aims in DEPTHS.items():
            mine, theirs = ours(depth, table, extractor), good_loop(depth, pixels, labels)
            mine(), theirs()
            for name, other, aim in zip(
                ("the same freeze point", "the whole network"),
                (theirs, everything),
                aims,
                strict=True,
            ):
                found = paired(mine, other, ROUNDS)
                figures[f"{depth} against {name}"] = found
                print(
                    f"an epoch from {depth}: {found.a.median:.0f} images/s, {name} "
                    f"{found.b.median:.0f}: {found.ratio} times as fast (aim {aim:g})"
                )
        figures["everything"] = whole(table, extractor)
    save("training", figures)


if __name__ == "__main__":
    main(SHARED)
