"""What enters the trained part of a network: pixels, or the maps of a frozen trunk.

Maps come from the cache, where there is room for them, or are computed by the frozen trunk at every
batch, with the same numbers. View 0 of an image is the image itself; training asks for view e in
epoch e. Maps have a few views, which take turns; pixels have as many as there are epochs.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medgraft.features.cache import Rows
from medgraft.features.encoders import half
from medgraft.features.extract import GRID, Extractor
from medgraft.types import Canvas, Edit, FeatureSpec, Geometry, Ints, Pixels

if TYPE_CHECKING:
    import torch

AHEAD = 2  # batches made ready while one is trained on

Chain = Callable[[int], tuple[Edit, ...]]
"""The edits that make a view of a canvas."""


class Inputs(Protocol):
    """Images by row, as a network's trained part takes them."""

    def batches(self, parts: Sequence[Ints], view: int) -> Iterator[tuple[Ints, torch.Tensor]]:
        """Each part's rows, and a tensor (len(part), channels, height, width) float32 of them."""
        ...


@dataclass(frozen=True, eq=False)
class Images:
    """Canvases as normalised pixels, (b, 3, size, size).

    rows : canvases, size × size × 3 each. spec : says size, mean and std. chain : the views.
    """

    rows: Rows
    spec: FeatureSpec
    chain: Chain
    workers: int

    def batches(self, parts: Sequence[Ints], view: int) -> Iterator[tuple[Ints, torch.Tensor]]:
        import torch

        mean = torch.tensor(self.spec.mean).mul(255)
        std = torch.tensor(self.spec.std).mul(255)

        def normalised(canvases: list[Canvas]) -> torch.Tensor:
            pixels = torch.from_numpy(np.stack([canvas.pixels for canvas in canvases]))
            return pixels.float().sub_(mean).div_(std).permute(0, 3, 1, 2)  # channels last

        with ThreadPoolExecutor(self.workers) as threads:

            def make(part: Ints) -> torch.Tensor:
                return normalised(list(threads.map(lambda row: self._view(row, view), part)))

            yield from _ahead(make, parts)

    def canvases(self, part: Ints, view: int) -> Iterator[Canvas]:
        """A view of each row's image."""
        for row in part:
            yield self._view(row, view)

    def _view(self, row: Any, view: int) -> Canvas:
        size = self.spec.size
        pixels: Pixels = self.rows[np.array([row])].reshape(size, size, 3).view(np.uint8)
        canvas = Canvas(str(row), pixels, Geometry.identity(size, size))
        for edit in self.chain(view):
            canvas = edit(canvas)
        pixels = canvas.pixels
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        return dataclasses.replace(canvas, pixels=pixels)


@dataclass(frozen=True, eq=False)
class CachedMaps:
    """Maps of a frozen trunk as they lie in the cache, (b, channels, side, side).

    Of tokens their sequence, (b, channels, tokens, 1).

    views : rows of maps, view 0 first. In epoch e view e is given, the last followed by the first.
    """

    views: tuple[Rows, ...]
    channels: int

    def batches(self, parts: Sequence[Ints], view: int) -> Iterator[tuple[Ints, torch.Tensor]]:
        import torch

        rows = self.views[view % len(self.views)]

        def make(part: Ints) -> torch.Tensor:
            values = torch.from_numpy(rows[part]).float()
            return _as_maps(values.view(len(part), -1, self.channels))

        yield from _ahead(make, parts)


@dataclass(frozen=True, eq=False)
class ComputedMaps:
    """What `CachedMaps` gives, computed anew for every batch by the extractor's engine.

    spec : of the one tap. views : how many take turns, 0 for a new one every epoch.
    """

    images: Images
    spec: FeatureSpec
    channels: int
    extractor: Extractor
    views: int = 0

    def batches(self, parts: Sequence[Ints], view: int) -> Iterator[tuple[Ints, torch.Tensor]]:
        import torch

        spec = dataclasses.replace(self.spec, poolings=(GRID,))
        (block,) = spec.blocks

        def make(part: Ints) -> torch.Tensor:
            canvases = self.images.canvases(part, view % self.views if self.views else view)
            stream = self.extractor.run(canvases, spec)
            kept = [half(values[block]) for _, values in stream]  # rounded as the cache does
            maps = torch.from_numpy(np.stack(kept)).float()
            return _as_maps(maps)

        yield from _ahead(make, parts)


def _as_maps(values: torch.Tensor) -> torch.Tensor:
    """(b, positions, channels) as square maps, or as one column where tokens are a sequence."""
    side = round(values.shape[1] ** 0.5)
    columns = side if side**2 == values.shape[1] else 1
    return values.view(len(values), -1, columns, values.shape[2]).permute(0, 3, 1, 2)


def _ahead(
    make: Callable[[Ints], torch.Tensor], parts: Sequence[Ints]
) -> Iterator[tuple[Ints, torch.Tensor]]:
    """`make` of each part, in order, a few made ready in a thread while one is used."""
    import torch

    def ready(part: Ints) -> torch.Tensor:
        made = make(part)  # a GPU copies from pinned memory while it computes
        return made.pin_memory() if torch.cuda.is_available() else made

    waiting: deque[tuple[Ints, Future[torch.Tensor]]] = deque()
    with ThreadPoolExecutor(1) as thread:
        try:
            for part in parts:
                waiting.append((part, thread.submit(ready, part)))
                if len(waiting) > AHEAD:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
