"""The hybrid network against the VGG-16 it comes from and the default backbone.

Counted: parameters and multiply-adds of an image of 224 px. Timed, the networks taking turns in
every round and held against the hybrid of their own round: the forward pass by the project's
engine, and training steps of what lies behind the map at an eighth of the side (VGG's block 3,
lite0's `blocks.2`), which a frozen trunk has left. Maps and pixels are made; nothing is decoded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness import Spread, save
from medgraft.features.backbones import load_backbone
from medgraft.features.engine import Output, default_workers, make_engine
from medgraft.features.subnetwork import last_map, tail_of
from medgraft.learn.finetune import tail_with_head
from medgraft.types import Canvas, Geometry

TRUNKS = {
    "hybrid_vgg16": "block3_pool",
    "vgg16": "block3_pool",
    "tf_efficientnet_lite0": "blocks.2",
}
FIRST = next(iter(TRUNKS))
SIZE = 224
BATCH = 16
SECONDS = 3.0  # of work a network and round, as far as whole batches allow
ROUNDS = 5

Work = Callable[[], int]
"""Does something to so many images."""


def forward(name: str) -> Work:
    """The mean of the last map, as a trained network is used; uint8 pixels in."""
    backbone = load_backbone(name)
    engine = make_engine("openvino", backbone, [Output(last_map(backbone).name, "avg")], SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    # A multiple of the requests under way, so that none of the cores idles at the end.
    images = [Canvas(str(i), pixels, Geometry.identity(SIZE, SIZE)) for i in range(BATCH)]
    images *= default_workers()
    return lambda: sum(1 for _ in engine.run(images))


def training(name: str) -> Work:
    """A step of AdamW on one batch of maps of the frozen trunk."""
    backbone = load_backbone(name)
    start = backbone.tap(TRUNKS[name])
    tail = tail_of(backbone, start.name)
    network: Any = tail_with_head(tail, last_map(backbone).channels, 2, 0.2).train()
    optimizer = torch.optim.AdamW(network.parameters(), 4e-4)
    shape = (BATCH, start.channels, start.side, start.side)
    maps = torch.rand(shape).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 2

    def step() -> int:
        loss = functional.cross_entropy(network(maps), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return BATCH

    return step


def rates(works: dict[str, Work]) -> dict[str, list[float]]:
    """Images a second of each, in turn, round by round."""
    repeats = {}
    for name, work in works.items():
        work()  # warms it
        began = time.perf_counter()
        work()
        repeats[name] = max(1, round(SECONDS / (time.perf_counter() - began)))
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.perf_counter()
            images = sum(work() for _ in range(repeats[name]))
            found[name].append(images / (time.perf_counter() - began))
    return found


def main() -> None:
    """A row a network: what it holds, what it costs, how fast it runs and trains."""
    load = os.getloadavg()[0]
    timed = {
        "forward": rates({name: forward(name) for name in TRUNKS}),
        "training": rates({name: training(name) for name in TRUNKS}),
    }
    print(f"{ROUNDS} rounds, load average before {load:.1f} on {os.cpu_count()} cores")
    figures: dict[str, object] = {"load_average_before": load}
    for name, trunk in TRUNKS.items():
        backbone = load_backbone(name)
        whole, frozen = last_map(backbone).cost, backbone.tap(trunk).cost
        row: dict[str, object] = {
            "parameters": whole.parameters,
            "multiply_adds": whole.multiply_adds,
            "trained_from": trunk,
            "trained_parameters": whole.parameters - frozen.parameters,
            "trained_multiply_adds": whole.multiply_adds - frozen.multiply_adds,
        }
        print(
            f"{name}: {whole.parameters / 1e6:.2f} M parameters, "
            f"{whole.multiply_adds / 1e9:.2f} G multiply-adds; behind {trunk} "
            f"{(whole.parameters - frozen.parameters) / 1e6:.2f} M, "
            f"{(whole.multiply_adds - frozen.multiply_adds) / 1e9:.2f} G"
        )
        for what, found in timed.items():
            ratio = Spread.of([a / b for a, b in zip(found[FIRST], found[name], strict=True)])
            row[what] = {"images_a_second": Spread.of(found[name]), f"{FIRST}_over_it": ratio}
            print(f"  {what:9s}{Spread.of(found[name])} images/s; {FIRST} / it {ratio}")
        figures[name] = row
    save("hybrid", figures)


if __name__ == "__main__":
    main()
