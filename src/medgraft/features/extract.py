"""The one door from images to codes: cached, in one pass for all taps and poolings of a size.

Canvases come from the decode pool or from anywhere else (served uploads, donor swaps); `codes`
reads a table through the cache, `run` a stream without it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgraft.data.decode import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.features.backbones import DEFAULT, Backbone, load_backbone, save_backbone
from medgraft.features.cache import Cache
from medgraft.features.engine import Engine, Output, default_workers, make_engine, versions
from medgraft.files import written_file
from medgraft.types import (
    Canvas,
    CanvasStream,
    DescriptorBatch,
    DescriptorStream,
    Edit,
    FeatureSpec,
    FeatureTable,
    ImageTable,
    Progress,
    ResizeRule,
    Silent,
    Skipped,
)

SEGMENT_ROWS = 1024  # written at once; what a killed run loses at most
DESCRIPTOR_BATCH = 32


class Extractor:
    """Reads codes and descriptors of any backbone, with one cache and one engine.

    Parameters
    ----------
    cache
        Where codes are kept; the user's cache by default.
    engine
        `openvino` or `torch`.
    workers
        Threads that decode, and that compute; all cores by default.
    progress
        What is told how far the reading is.
    weights
        For each backbone that needs it, what `load_backbone` takes as `weights`.
    """

    def __init__(
        self,
        cache: Cache | None = None,
        *,
        engine: str = "openvino",
        workers: int | None = None,
        progress: Progress | None = None,
        weights: Mapping[str, str] | None = None,
    ) -> None:
        self.cache = cache or Cache()
        self.engine = engine
        self.workers = workers or default_workers()
        self.progress = progress or Silent()
        self.weights = dict(weights or {})
        self._backbones: dict[str, Backbone] = {}
        self._engines: dict[tuple[object, ...], Engine] = {}

    def backbone(self, name: str = DEFAULT) -> Backbone:
        """The backbone of that name, loaded once."""
        if name not in self._backbones:
            self._backbones[name] = load_backbone(
                name, self.weights.get(name, ""), self.cache.notes
            )
        return self._backbones[name]

    def adopt(self, backbone: Backbone) -> None:
        """Use this backbone under its name from now on (the one a bundle carries)."""
        self._backbones[backbone.name] = backbone

    def weights_file(self, name: str) -> Path:
        """The backbone's weights as one safetensors file, written to the cache once."""
        backbone = self.backbone(name)
        path = self.cache.folder / "weights" / f"{name}-{backbone.key}.safetensors"
        if not path.is_file():
            with written_file(path) as temporary:
                save_backbone(backbone, temporary)
        return path

    def spec(
        self,
        backbone: str,
        taps: Sequence[str],
        poolings: Sequence[str] = ("avg",),
        *,
        size: int | None = None,
        resize: ResizeRule = "squash",
        edits: Sequence[Edit] = (),
    ) -> FeatureSpec:
        """The recipe of codes of this backbone; its own input size by default."""
        network = self.backbone(backbone)
        card = network.card
        for tap in taps:
            network.tap(tap)
        return FeatureSpec(
            backbone=backbone,
            weights=network.key,
            size=size or card.size,
            taps=tuple(taps),
            poolings=tuple(poolings),
            resize=resize,
            edits=tuple(edits),
            engine=self.engine,
            mean=card.mean,
            std=card.std,
            versions=versions(self.engine),
        )

    def canvases(self, table: ImageTable, spec: FeatureSpec) -> CanvasStream:
        """Decode a table's images for this recipe, in order; a bad image comes as `Skipped`."""
        recipe = CanvasRecipe(spec.size, spec.resize, spec.edits)
        with DecodePool(self.workers) as pool:
            yield from pool.canvases(table.ids, table.sources, recipe)

    def codes(
        self, table: ImageTable, spec: FeatureSpec
    ) -> tuple[FeatureTable, tuple[Skipped, ...]]:
        """Codes of every image that can be read, from the cache where it has them.

        Returns the table of the n - k readable images, in their order, and k reasons.
        """
        skipped = self.prepare(table, spec)
        rows = table.select(~np.isin(table.ids, [bad.source for bad in skipped]))
        store = self.cache.features(spec)
        blocks = {
            block: store.read(rows.content_hashes, block) for block in spec.blocks if len(rows)
        }
        return FeatureTable(rows.ids, blocks), skipped

    def prepare(self, table: ImageTable, spec: FeatureSpec) -> tuple[Skipped, ...]:
        """Have the cache hold the codes of every image that can be read; name those that cannot."""
        unique, first = np.unique(table.content_hashes, return_index=True)
        store = self.cache.features(spec)
        missing = {block: store.missing(unique, (block,)) for block in spec.blocks}
        lacking = np.sort(first[np.any(list(missing.values()), axis=0)])
        if not len(lacking):
            return ()
        hash_of = dict(zip(table.ids.tolist(), table.content_hashes.tolist(), strict=True))
        blocks = [block for block, rows in missing.items() if rows.any()]
        skipped = self._fill(table.select(lacking), spec, blocks)
        reason_of = {hash_of[bad.source]: bad.reason for bad in skipped}  # copies share it
        return tuple(
            Skipped(id, reason_of[content])
            for id, content in hash_of.items()
            if content in reason_of
        )

    def run(
        self, canvases: Iterable[Canvas], spec: FeatureSpec, blocks: Sequence[str] | None = None
    ) -> Iterator[tuple[Canvas, dict[str, NDArray[np.float32]]]]:
        """Codes of a stream of canvases made for `spec`, uncached, in order; all blocks of it."""
        blocks = spec.blocks if blocks is None else blocks
        outputs = [Output(*block.rsplit("@", 1)) for block in blocks]
        for canvas, values in self._engine(spec, outputs).run(canvases):
            yield canvas, dict(zip(blocks, values, strict=True))

    def descriptors(self, table: ImageTable, spec: FeatureSpec) -> DescriptorStream:
        """The stream of descriptors of the recipe's one tap; unreadable images are left out."""
        (tap,) = spec.taps

        def start() -> Iterator[DescriptorBatch]:
            engine = self._engine(spec, [Output(tap, None)])
            ids: list[str] = []
            maps: list[NDArray[np.float32]] = []
            readable = (row for row in self.canvases(table, spec) if isinstance(row, Canvas))
            for canvas, (descriptors,) in engine.run(readable):
                ids.append(canvas.id)
                maps.append(descriptors)
                if len(ids) == DESCRIPTOR_BATCH:
                    yield np.array(ids), np.stack(maps)
                    ids, maps = [], []
            if ids:
                yield np.array(ids), np.stack(maps)

        return start

    def _fill(
        self, table: ImageTable, spec: FeatureSpec, blocks: Sequence[str]
    ) -> tuple[Skipped, ...]:
        """Compute those blocks of these images and write them to the cache, segment by segment."""
        store = self.cache.features(spec)
        hash_of = dict(zip(table.ids.tolist(), table.content_hashes.tolist(), strict=True))
        skipped: list[Skipped] = []
        hashes: list[str] = []
        rows: list[dict[str, NDArray[np.float32]]] = []

        def write() -> None:
            if rows:
                codes = {block: np.stack([row[block] for row in rows]) for block in blocks}
                store.write(np.array(hashes), codes)
                hashes.clear()
                rows.clear()

        what = f"Reading images with {spec.backbone} at {spec.size} px"
        with self.progress.task(what, len(table)) as advance:

            def readable() -> Generator[Canvas, None, None]:
                for row in self.canvases(table, spec):
                    if isinstance(row, Canvas):
                        yield row
                    else:
                        skipped.append(row)
                        advance(1)

            with closing(readable()) as stream:
                for canvas, values in self.run(stream, spec, blocks):
                    hashes.append(hash_of[canvas.id])
                    rows.append(values)
                    if len(rows) == SEGMENT_ROWS:
                        write()
                    advance(1)
        write()
        return tuple(skipped)

    def _engine(self, spec: FeatureSpec, outputs: list[Output]) -> Engine:
        """The engine for these outputs, built once."""
        key = (spec.backbone, spec.weights, spec.size, spec.engine, tuple(outputs))
        if key not in self._engines:
            self._engines[key] = make_engine(
                spec.engine,
                self.backbone(spec.backbone),
                outputs,
                spec.size,
                workers=self.workers,
                graphs=self.cache.graphs,
            )
        return self._engines[key]
