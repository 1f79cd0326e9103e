"""Epochs of training from a kept trunk: against a good loop from the same layer, and the whole.

The good loop is what an expert writes: the trunk in eval mode under `no_grad`, channels-last, the
rest trained by AdamW in batches of the same size, its pixels ready in memory. The whole network
trained is the same loop without a trunk. Ours reads the maps of its trunk from the cache, float16,
and judges a few images after each epoch, as it always does. Real radiographs at 224 px.

And everything trained in strong views, as a budget of an hour buys it, against the same in single
precision with the memory of every step asked of the kernel anew, with the share of the time that
making views takes.
"""

from __future__ import annotations

import copy
import ctypes
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
from medgraft.learn.fast_steps import keep_freed_memory
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


def whole(table: ImageTable, extractor: Extractor, size: int) -> dict[str, object]:
    """Everything trained: as a budget buys it, and as before; and what making views costs.

    As a budget buys it: half precision, freed memory kept. Before: neither. Both make the same
    views, start from the same weights and draw the same.
    """
    keys = {name: f"s{size}/strong/epochs100000/precision{name}" for name in ("bf16", "f32")}
    half, single = (ours(INPUT, table, extractor, keys[name]) for name in ("bf16", "f32"))

    def before() -> int:
        give_freed_memory_back()
        return single()

    def now() -> int:
        keep_freed_memory.cache_clear()
        keep_freed_memory()
        return half()

    now(), before()
    against_before = paired(now, before, ROUNDS)
    keep_freed_memory.cache_clear()
    keep_freed_memory()
    against_single = paired(half, single, ROUNDS)
    scenario = Scenario.from_key(f"finetune/{DEFAULT}/{INPUT}/{keys['bf16']}/logistic")
    inputs = FinetuneSetup.of(scenario, table, extractor).inputs(INPUT)
    parts = np.array_split(np.arange(len(table)), len(table) // BATCH)
    views = seconds(lambda: sum(len(rows) for rows, _ in inputs.batches(parts, 1)), ROUNDS)
    share = views.median / (len(table) / against_before.a.median)
    print(
        f"everything trained at {size} px: {against_before.a.median:.0f} images/s, before "
        f"{against_before.b.median:.0f}: {against_before.ratio} times as fast (aim 1.5); single "
        f"precision with freed memory kept {against_single.b.median:.0f}, half is "
        f"{against_single.ratio} times as fast; views alone take "
        f"{len(table) / views.median:.0f} images/s, {100 * share:.0f} % of an epoch"
    )
    return {
        "against before": against_before,
        "half against single": against_single,
        "views, share of an epoch": share,
    }


def give_freed_memory_back() -> None:
    """What glibc does by itself once large arrays have been freed."""
    library = ctypes.CDLL(None)
    for parameter, value in ((-4, 65536), (-3, 32 * 2**20), (-1, 64 * 2**20)):
        library.mallopt(parameter, value)  # M_MMAP_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    library.malloc_trim(0)


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
        for size in (160, 224):
            figures[f"everything at {size} px"] = whole(table, extractor, size)
    save("training", figures)


if __name__ == "__main__":
    main(SHARED)
