"""The usual way to fine-tune a network of timm, as its users write it: what ours is held against.

timm's own training transform (random resized crop, mirror, colour jitter, random erasing), two
workers of a DataLoader, AdamW, one warm-up epoch and a cosine to zero, log loss with smoothed
labels, everything trained at the network's own size. The same weights as ours, by pip.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import medgraft
from medgraft.features.backbones import DEFAULT
from medgraft.features.weights import import_timm
from medgraft.types import Floats, ImageTable, Ints

BATCH, RATE, DECAY, SMOOTHING = 32, 5e-4, 0.02, 0.1
WORKERS = 2

Report = Callable[[int, float, Callable[[Ints], Floats]], None]
"""Is told the epoch, the seconds of training so far, and how to get logits of rows."""


class Files(Dataset[Any]):
    """Image files by row, transformed."""

    def __init__(self, table: ImageTable, rows: Ints, transform: Any) -> None:
        self.paths = [table.sources[row].path for row in rows]
        self.labels = table.labels[rows]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), int(self.labels[index])


def usual_finetune(
    table: ImageTable, rows: Ints, epochs: int, extractor: medgraft.Extractor, report: Report
) -> None:
    """Train on `rows`, reporting after every epoch."""
    timm = import_timm()
    torch.manual_seed(0)
    network: Any = timm.create_model(DEFAULT, num_classes=len(table.classes))
    state = copy.deepcopy(extractor.backbone(DEFAULT).network.state_dict())
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("classifier") for name in missing)
    network.to(memory_format=torch.channels_last)
    config = timm.data.resolve_model_data_config(network)
    make = timm.data.create_transform
    learned = Files(table, rows, make(**config, is_training=True, re_prob=0.25))
    loader = DataLoader(learned, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    total, warm, step = epochs * len(loader), len(loader), 0

    def logits(judged: Ints) -> Floats:
        network.eval()
        files = Files(table, judged, make(**config, is_training=False))
        with torch.inference_mode():
            batches = DataLoader(files, 2 * BATCH, num_workers=WORKERS)
            found = [network(pixels).double().numpy() for pixels, _ in batches]
        return np.concatenate(found)

    spent = 0.0
    for epoch in range(1, epochs + 1):
        began = time.perf_counter()
        network.train()
        for pixels, labels in loader:
            cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, total - warm)))
            for group in optimizer.param_groups:
                group["lr"] = RATE * min((step + 1) / warm, cosine)
            maps = pixels.to(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(maps), labels, label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
        spent += time.perf_counter() - began
        report(epoch, spent, logits)
