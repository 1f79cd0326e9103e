"""Does a loop that shares no code with ours find better weights? Adds to results/plain_loop.jsonl.

The prototype's recipe as BASELINES remembers it, written anew in a page of plain torch and Pillow:
everything in lite0 trained at 224 pixels (five epochs instead of nine), AdamW 6e-4 in one cycle,
every view low-passed, zoomed out to .65, its aspect changed by up to 30 %, moved, lit differently,
with erased boxes and by chance mirrored; the answer is the mean over an image and its mirror. It
learns from and judges the images of `effects.py`, in whose table it stands; no test split is looked
at. `python experiments/shift/plain_loop.py [SEED …]`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import medgraft
from medgraft.features.weights import import_timm
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.scenario import Scenario
from medgraft.terminal import progress
from medgraft.types import Canvas, Floats, Ints

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.effects import LITE0, Held, design

RESULTS = Path(__file__).parents[1] / "results" / "plain_loop.jsonl"
NAME = "the prototype as remembered, in a plain loop"
SIZE, EPOCHS, BATCH, RATE, DECAY = 224, 5, 32, 6e-4, 0.05
MEAN = STD = 127.5  # as the network was pretrained


class Views(Dataset[Any]):
    """Images of (n, 224, 224) uint8, another view of each at every call."""

    def __init__(self, pixels: Any, labels: Ints) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        return _tensor(view(self.pixels[index], rng)), int(self.labels[index])


def view(grey: Any, rng: np.random.Generator) -> Any:
    """One view: fewer pixels, smaller on black, another aspect and light, boxes, mirrored."""
    side = int(rng.integers(64, SIZE + 1))
    image = Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR)
    zoom, aspect = rng.uniform(0.65, 1.1), math.exp(rng.uniform(-1, 1) * math.log(1.3))
    width, height = (round(SIZE * zoom * aspect**power) for power in (0.5, -0.5))
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    turned = small.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR)
    canvas = Image.new("L", (SIZE, SIZE))
    left, top = (
        round((SIZE - length) / 2 + rng.uniform(-0.1, 0.1) * SIZE) for length in (width, height)
    )
    canvas.paste(turned, (left, top))
    made: Floats = np.asarray(canvas, dtype=np.float32)
    made = 255 * (made / 255) ** math.exp(rng.uniform(-0.4, 0.4))
    made = (made - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    for _ in range(int(rng.integers(0, 4))):
        h, w = (int(rng.uniform(0.1, 0.3) * SIZE) for _ in range(2))
        y, x = int(rng.integers(SIZE - h)), int(rng.integers(SIZE - w))
        made[y : y + h, x : x + w] = rng.uniform(0, 255)
    if rng.random() < 0.5:
        made = made[:, ::-1]
    return np.clip(made, 0, 255)


def _tensor(grey: Any) -> Any:
    tensor = (torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32)) - MEAN) / STD
    return tensor.expand(3, SIZE, SIZE)


def pixels(held: Held, extractor: medgraft.Extractor) -> Any:
    """(n, 224, 224) uint8 of what judges, or of what is learned from."""
    key = f"finetune/{LITE0}/input/s{SIZE}/logistic"
    setup = FinetuneSetup.of(Scenario.from_key(key, 0), held.table, extractor)
    spec = setup.specs("blocks.4")[0]
    made = extractor.canvases(held.table, spec)
    canvases = [one for one in made if isinstance(one, Canvas)]
    assert len(canvases) == len(held.table)
    edited = [held.edit(one) if held.edit else one for one in canvases]
    return np.stack([one.pixels.reshape(SIZE, SIZE, -1)[..., 0] for one in edited])


def trained(grey: Any, labels: Ints, seed: int, extractor: medgraft.Extractor) -> Any:
    """The network after its last epoch."""
    torch.manual_seed(seed)
    network: Any = import_timm().create_model(LITE0, num_classes=2, drop_rate=0.2)
    state = extractor.backbone(LITE0).network.state_dict()
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("classifier") for name in missing)
    torch.nn.init.zeros_(network.classifier.weight)  # timm draws it for a thousand classes
    network = network.to(memory_format=torch.channels_last)
    loader = DataLoader(Views(grey, labels), BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        began, total = time.perf_counter(), 0.0
        network.train()
        for batch, y in loader:
            batch = batch.contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(batch), y, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        seconds = time.perf_counter() - began
        print(f"epoch {epoch + 1}, {seconds:.0f} s, loss {total / len(loader):.3f}", flush=True)
    return network.eval()


def judged(network: Any, grey: Any) -> Floats:
    """(n,) log odds of the second class, the mean over an image and its mirror."""
    answers = []
    with torch.inference_mode():
        for start in range(0, len(grey), 64):
            batch = torch.stack([_tensor(one) for one in grey[start : start + 64]])
            logits = network(batch) + network(batch.flip(3))
            answers.append(((logits[:, 1] - logits[:, 0]) / 2).numpy())
    return np.concatenate(answers)


def main() -> None:
    """Train with the seeds named, and keep what they say."""
    extractor = medgraft.Extractor(medgraft.Cache(None), progress=progress(False))
    of = design(extractor)
    learned = pixels(Held("learned", of.learned), extractor)
    done = {row["seed"] for row in read_cells(RESULTS)}
    for seed in [int(word) for word in sys.argv[1:] or ["0"]]:
        if seed in done:
            continue
        began = time.perf_counter()
        network = trained(learned, of.learned.labels, seed, extractor)
        seconds = round(time.perf_counter() - began)
        scores = {
            held.name: judged(network, pixels(held, extractor)).round(2).tolist()
            for held in of.held
        }
        row = {"setting": NAME, "seed": seed, "seconds": seconds, "scores": scores}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
