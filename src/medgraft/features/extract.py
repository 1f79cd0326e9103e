"""The one door from images to codes: cached, in one pass for all taps and poolings of a size.

Canvases come from the decode pool or from anywhere else (served uploads, donor swaps); `codes`
reads a table through the cache, `run` a stream without it.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe, derive, recipe_of
from medgraft.data.skipped import name_skipped, warn_of_skipped
from medgraft.data.split import Development, recounted
from medgraft.errors import BackboneError, DataError, UnreadableDataError
from medgraft.features.backbones import DEFAULT, Backbone, load_backbone, save_backbone
from medgraft.features.cache import ELSEWHERE, Cache, FeatureStore
from medgraft.features.encoders import half
from medgraft.features.engine import Engine, Output, default_workers, make_engine, versions
from medgraft.features.shared import Shared
from medgraft.files import written_file
from medgraft.scenario import Scenario
from medgraft.types import (
    Canvas,
    CanvasStream,
    DescriptorBatch,
    DescriptorStream,
    Edit,
    FeatureSpec,
    FeatureTable,
    ImageTable,
    PixelRule,
    Progress,
    ResizeRule,
    Silent,
    Skipped,
    Source,
    Strings,
)

SEGMENT_ROWS = 1024  # written at once; what a killed run loses at most
SEGMENT_BYTES = 64 * 2**20
DESCRIPTOR_BATCH = 32
GRID = "grid"  # stands where a pooling would: the descriptors themselves

Halves = NDArray[np.float16]
Wanted = Sequence[tuple[FeatureSpec, Sequence[str]]]
"""Recipes, and of each the blocks that are to be computed."""
Advance = Callable[[int], None]


class Runner(Protocol):
    """Other processes that fill an extractor's cache before it reads from there itself."""

    def fill(
        self,
        extractor: Extractor,
        table: ImageTable,
        base: FeatureSpec,
        wanted: Wanted,
        advance: Advance,
    ) -> None:
        """Have blocks of a table's images in the cache, as far as can be."""

    def judged(
        self, extractor: Extractor, scenarios: Sequence[Scenario], development: Development
    ) -> Iterator[Scenario]:
        """Give each scenario when it has been judged out of fold, as far as can be."""
        ...


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
        Shows how far the reading is.
    weights
        For each backbone that needs it, what `load_backbone` takes as `weights`.
    runner
        Who fills the cache instead of this process; nobody by default.
    shared
        What several questions about the same images share (`sharing`); nothing by default.
    """

    runner: Runner | None = None
    shared: Shared | None = None

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
        self._making = threading.RLock()  # threads share backbones and engines

    def backbone(self, name: str = DEFAULT) -> Backbone:
        """The backbone of that name, loaded once."""
        with self._making:
            if name not in self._backbones:
                self._backbones[name] = load_backbone(
                    name, self.weights.get(name, ""), self.cache.notes
                )
            return self._backbones[name]

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Keep what no label has a part in, while several questions are about the same images."""
        outer, self.shared = self.shared, self.shared or Shared()
        try:
            yield
        finally:
            self.shared = outer

    def adopt(self, backbone: Backbone) -> None:
        """Use this backbone under its name from now on (the one a bundle carries).

        Where it is the one in use, that stays: a bundle's file may go while the process lives on.
        """
        known = self._backbones.get(backbone.name)
        if known is None or (known.key, known.card) != (backbone.key, backbone.card):
            self._backbones[backbone.name] = backbone

    def weights_file(self, name: str) -> Path:
        """The backbone's weights as one safetensors file, written to the cache once."""
        backbone = self.backbone(name)
        path = self.cache.folder / "weights" / f"{name}-{backbone.key}.safetensors"
        if not path.is_file():
            with written_file(path, ELSEWHERE) as temporary:
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
        size = card.size if size is None else size
        network.check_size(size, *taps)
        return FeatureSpec(
            backbone=backbone,
            weights=network.key,
            size=size,
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
        return self.decode(table.ids, table.sources, recipe_of(spec))

    def decode(
        self,
        ids: Iterable[str],
        sources: Iterable[Source | bytes],
        recipe: CanvasRecipe,
        rule: PixelRule | None = None,
    ) -> Iterator[Canvas | Skipped]:
        """Decode images that need stand in no table; by each source's own rule if none is given."""
        with DecodePool(self.workers) as pool:
            yield from pool.canvases(ids, sources, recipe, rule)

    def codes(
        self, table: ImageTable, spec: FeatureSpec
    ) -> tuple[FeatureTable, tuple[Skipped, ...]]:
        """Codes of every image that can be read, from the cache where it has them.

        Returns the table of the n - k readable images, in their order, and k reasons.
        """
        skipped = self.prepare(table, spec)
        return self.read(without(table, skipped), spec), skipped

    def read(self, table: ImageTable, spec: FeatureSpec) -> FeatureTable:
        """Codes that `prepare` has had kept, of images that can all be read."""
        store = self.cache.features(spec)
        blocks = {
            block: store.read(table.content_hashes, block) for block in spec.blocks if len(table)
        }
        return FeatureTable(table.ids, blocks)

    def prepare(self, table: ImageTable, *specs: FeatureSpec) -> tuple[Skipped, ...]:
        """Have the cache hold the codes of every image that can be read; name those that cannot.

        Recipes that differ only in edits, or in sizes shrunk from one base, share one decode.
        Of descriptors that are too many to keep the mean is, which tells what can be read.
        """
        skipped: dict[str, Skipped] = {}
        kept = [
            spec if self._keeps(spec, len(table)) else dataclasses.replace(spec, poolings=("avg",))
            for spec in specs
        ]
        for base, group in _by_base(kept).items():
            skipped |= {bad.source: bad for bad in self._prepare(table, base, group)}
        return tuple(skipped.values())

    def run(
        self, canvases: Iterable[Canvas], spec: FeatureSpec, blocks: Sequence[str] | None = None
    ) -> Iterator[tuple[Canvas, dict[str, NDArray[np.float32]]]]:
        """Outputs of a stream of canvases made for `spec`, uncached, in order; all blocks of it.

        Codes are (channels,), a block `tap@grid` is (positions, channels).
        """
        blocks = spec.blocks if blocks is None else blocks
        outputs = []
        for block in blocks:
            tap, pooling = block.rsplit("@", 1)
            outputs.append(Output(tap, None if pooling == GRID else pooling))
        for canvas, values in self._engine(spec, outputs).run(canvases):
            yield canvas, dict(zip(blocks, values, strict=True))

    def run_each(
        self,
        canvases: Iterable[Canvas],
        base: FeatureSpec,
        wanted: Sequence[tuple[FeatureSpec, Sequence[str]]],
    ) -> Iterator[tuple[Canvas, list[dict[str, NDArray[np.float32]]]]]:
        """`run` for several recipes that are derived from the same stream of canvases.

        Each pulls from the stream as it needs: what one has read the others find there.
        """
        streams = itertools.tee(canvases, len(wanted) + 1)
        runs = [
            self.run(stream if pixels(spec) == pixels(base) else _derived(stream, spec), spec, some)
            for stream, (spec, some) in zip(streams[1:], wanted, strict=True)
        ]
        for canvas, *results in zip(streams[0], *runs, strict=True):
            yield canvas, [values for _, values in results]

    def descriptors(self, table: ImageTable, spec: FeatureSpec) -> DescriptorStream:
        """The stream of descriptors of the recipe's one tap; unreadable images are left out.

        They are kept in the cache, unless they would take more than half of it; then every start
        of the stream computes them anew.
        """
        spec = dataclasses.replace(spec, poolings=(GRID,))
        (block,) = spec.blocks
        tap = self.backbone(spec.backbone).tap(spec.taps[0])
        if not self._keeps(spec, len(table)):
            return lambda: self._compute_descriptors(table, spec)
        rows = without(table, self.prepare(table, spec))
        store = self.cache.features(spec)

        def start() -> Iterator[DescriptorBatch]:
            first = 0
            for values in store.stream(rows.content_hashes, block, DESCRIPTOR_BATCH):
                ids = rows.ids[first : first + len(values)]
                first += len(values)
                halves = values.astype(np.float16, copy=False)
                yield ids, halves.reshape(len(values), -1, tap.channels)

        return start

    def _keeps(self, spec: FeatureSpec, n_images: int) -> bool:
        """Whether what `spec` asks of so many images is small enough to be kept."""
        if GRID not in spec.poolings:
            return True
        taps = [self.backbone(spec.backbone).tap(name) for name in spec.taps]
        numbers = sum(
            tap.channels * (spec.size // tap.stride) ** 2 if tap.stride else tap.channels
            for tap in taps
        )
        return numbers * n_images * np.dtype(np.float16).itemsize <= self.cache.limit / 2

    def _compute_descriptors(
        self, table: ImageTable, spec: FeatureSpec
    ) -> Iterator[DescriptorBatch]:
        """The stream of descriptors, computed."""
        ids: list[str] = []
        maps: list[Halves] = []
        stream = self.canvases(table, base_of(spec))
        readable = (row for row in stream if isinstance(row, Canvas))
        (block,) = spec.blocks
        for canvas, values in self.run(_derived(readable, spec), spec):
            ids.append(canvas.id)
            maps.append(half(values[block]))
            if len(ids) == DESCRIPTOR_BATCH:
                yield np.array(ids), np.stack(maps)
                ids, maps = [], []
        if ids:
            yield np.array(ids), np.stack(maps)

    def _prepare(
        self, table: ImageTable, base: FeatureSpec, specs: Sequence[FeatureSpec]
    ) -> tuple[Skipped, ...]:
        """`prepare` of recipes that are all derived from the same base canvas."""
        unique, first = np.unique(table.content_hashes, return_index=True)
        wanted, lacking = self._lacking(unique, specs)
        if wanted and self.runner is not None:
            rows = table.select(np.sort(first[lacking]))
            with self.progress.task(_reading(wanted), len(rows)) as advance:
                self.runner.fill(self, rows, base, wanted, advance)
            wanted, lacking = self._lacking(unique, specs)  # what cannot be read is tried here
        if not wanted:
            return ()
        hash_of = dict(zip(table.ids.tolist(), table.content_hashes.tolist(), strict=True))
        skipped = self.fill(table.select(np.sort(first[lacking])), base, wanted)
        reason_of = {hash_of[bad.source]: bad.reason for bad in skipped}  # copies share it
        return tuple(
            Skipped(id, reason_of[content])
            for id, content in hash_of.items()
            if content in reason_of
        )

    def _lacking(
        self, hashes: Strings, specs: Sequence[FeatureSpec]
    ) -> tuple[list[tuple[FeatureSpec, list[str]]], NDArray[np.bool_]]:
        """The blocks of each recipe that some of these images lack, and which do so, (n,)."""
        recipes: dict[FeatureSpec, dict[str, None]] = {}  # one pass gives all blocks of a recipe
        for spec in specs:
            recipe = dataclasses.replace(spec, taps=(), poolings=())
            recipes.setdefault(recipe, {}).update(dict.fromkeys(spec.blocks))
        wanted: list[tuple[FeatureSpec, list[str]]] = []
        lacking = np.zeros(len(hashes), dtype=bool)
        for recipe, named in recipes.items():
            store = self.cache.features(recipe)
            missing = {block: store.missing(hashes, (block,)) for block in named}
            blocks = [block for block, rows in missing.items() if rows.any()]
            if blocks:
                wanted.append((recipe, blocks))
                lacking |= np.any(list(missing.values()), axis=0)
        return wanted, lacking

    def fill(self, table: ImageTable, base: FeatureSpec, wanted: Wanted) -> tuple[Skipped, ...]:
        """Compute those blocks of these images and write them to the cache, segment by segment."""
        hash_of = dict(zip(table.ids.tolist(), table.content_hashes.tolist(), strict=True))
        skipped: list[Skipped] = []
        segments = [Segment(self.cache.features(spec), blocks) for spec, blocks in wanted]
        with self.progress.task(_reading(wanted), len(table)) as advance:

            def readable() -> Generator[Canvas, None, None]:
                for row in self.canvases(table, base):
                    if isinstance(row, Canvas):
                        yield row
                    else:
                        skipped.append(row)
                        advance(1)

            with closing(readable()) as stream:
                for canvas, outputs in self.run_each(stream, base, wanted):
                    for segment, values in zip(segments, outputs, strict=True):
                        segment.add(hash_of[canvas.id], values)
                    advance(1)
        for segment in segments:
            segment.write()
        return tuple(skipped)

    def _engine(self, spec: FeatureSpec, outputs: list[Output]) -> Engine:
        """The engine for these outputs, built once."""
        key = (spec.backbone, spec.weights, spec.size, spec.engine, tuple(outputs))
        loaded = self.backbone(spec.backbone).key
        if loaded != spec.weights:
            raise BackboneError(
                f"{spec.backbone} is loaded here with other weights ({loaded[:12]}…) than these "
                f"codes, heads and codebooks were made with ({spec.weights[:12]}…); load each "
                "model with an Extractor of its own"
            )
        with self._making:
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


def without(table: ImageTable, skipped: Sequence[Skipped]) -> ImageTable:
    """The table of the images that were not skipped."""
    return table.select(~np.isin(table.ids, [bad.source for bad in skipped])) if skipped else table


def _reading(wanted: Wanted) -> str:
    """What is done, for the person who waits."""
    sizes = sorted({spec.size for spec, _ in wanted})
    names = " and ".join(dict.fromkeys(spec.backbone for spec, _ in wanted))
    what = f"Reading images with {names} at {' and '.join(map(str, sizes))} px"
    return what + (f", {len(wanted)} ways" if len(wanted) > len(sizes) else "")


def _by_class(table: ImageTable) -> dict[str, int]:
    return {
        name: int((table.labels == label).sum())
        for label, name in [*enumerate(table.classes), (-1, "")]
    }


def without_unreadable(table: ImageTable, skipped: Sequence[Skipped]) -> ImageTable:
    """The table without the images that were skipped, which it names, and warns of if many."""
    if not skipped:
        return table
    left = without(table, skipped)
    findings = warn_of_skipped(skipped, _by_class(table), _by_class(left))
    return recounted(
        dataclasses.replace(
            left,
            skipped=(*table.skipped, *skipped),
            findings=(*table.findings, *(findings or name_skipped(skipped))),
        )
    )


def readable(table: ImageTable, skipped: Sequence[Skipped]) -> ImageTable:
    """The table without the images that were skipped, which it names.

    Raises
    ------
    DataError
        A class has no image left to learn from.
    """
    table = without_unreadable(table, skipped)
    if skipped and not len(table.development):
        unread = table.skipped[0]
        raise UnreadableDataError(
            f"not one image to learn from can be read; the first: {unread.source}: {unread.reason}"
        )
    counts = np.bincount(table.development.labels, minlength=len(table.classes))
    if (counts == 0).any():
        empty = [name for name, n in zip(table.classes, counts, strict=True) if not n]
        first = table.skipped[0] if table.skipped else None
        why = f"the first because: {first.source}: {first.reason}" if first else "none"
        raise DataError(
            f"no readable image to learn from in: {', '.join(empty)}; {len(table.skipped)} were "
            f"skipped, {why}; leave it out with --leave-out '{empty[0]}', or add images of it"
        )
    return table


def base_of(spec: FeatureSpec) -> FeatureSpec:
    """The canvas that a recipe's canvases are derived from: no edits, and nothing read of it."""
    return dataclasses.replace(
        spec, size=spec.base or spec.size, base=0, edits=(), taps=(), poolings=()
    )


def pixels(spec: FeatureSpec) -> tuple[object, ...]:
    """What decides the pixels of a recipe's canvases."""
    return (spec.base or spec.size, spec.size, spec.resize, tuple(e.key for e in spec.edits))


def _by_base(specs: Sequence[FeatureSpec]) -> dict[FeatureSpec, list[FeatureSpec]]:
    """The recipes by the canvas that all of them can be derived from."""
    groups: dict[tuple[object, ...], list[FeatureSpec]] = {}
    for spec in dict.fromkeys(specs):
        groups.setdefault(pixels(base_of(spec)), []).append(spec)
    return {base_of(group[0]): group for group in groups.values()}


def _derived(canvases: Iterable[Canvas], spec: FeatureSpec) -> Iterator[Canvas]:
    """Base canvases as this recipe wants them."""
    for canvas in canvases:
        yield derive(canvas, spec.size, spec.edits)


class Segment:
    """Rows of one store that are waiting to be written together."""

    def __init__(self, store: FeatureStore, blocks: Sequence[str]) -> None:
        self.store, self.blocks = store, blocks
        self.hashes: list[str] = []
        self.rows: list[dict[str, NDArray[Any]]] = []
        self.size = 0

    def add(self, content: str, values: Mapping[str, NDArray[Any]]) -> None:
        """Take one image's outputs; descriptors are kept as float16."""
        row: dict[str, NDArray[Any]] = {}
        for block in self.blocks:
            grid = block.endswith(f"@{GRID}")
            row[block] = half(values[block]).ravel() if grid else values[block]
            self.size += row[block].nbytes
        self.hashes.append(content)
        self.rows.append(row)
        if len(self.rows) == SEGMENT_ROWS or self.size > SEGMENT_BYTES:
            self.write()

    def write(self) -> None:
        """Write what has been gathered as one segment."""
        if self.rows:
            blocks = {block: np.stack([row[block] for row in self.rows]) for block in self.blocks}
            self.store.write(np.array(self.hashes), blocks)
            self.hashes, self.rows, self.size = [], [], 0
