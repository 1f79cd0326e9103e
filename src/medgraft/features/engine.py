"""The forward pass: a stream of canvases in, every wanted output of every tap out, in order.

Two engines give the same numbers within a tested tolerance: OpenVINO (float32) is the fast one on
a CPU, torch the reference and the one for a GPU. Neither knows of files, tables or caches.
"""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.decode import decoders
from medgraft.errors import MedgraftError
from medgraft.features.backbones import TAPS_VERSION, Backbone
from medgraft.features.encoders import pool
from medgraft.features.norms import MOMENTS, moments
from medgraft.features.openvino_graph import import_openvino, openvino_graph
from medgraft.features.taps import read_taps
from medgraft.files import folder_beside, remove_abandoned
from medgraft.types import Canvas, Pixels, digest

if TYPE_CHECKING:
    import torch
    from torch import nn

ENGINES = ("openvino", "torch")
GRAPH_CACHE_VERSION = "1"  # raise it when a change of code changes what a converted graph computes

Outputs = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Output:
    """One thing to read: a tap, pooled to a code (channels,), or whole as (positions, channels)."""

    tap: str
    pooling: str | None


class Engine(Protocol):
    """A backbone made ready to run at one input size."""

    def run(self, canvases: Iterable[Canvas]) -> Iterator[tuple[Canvas, Outputs]]:
        """Give each canvas back with its outputs, in the order in which the canvases came."""
        ...


def default_workers() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def versions(name: str) -> tuple[str, ...]:
    """What decides the numbers an engine gives besides its recipe: what decodes and computes.

    For torch also the kind of device, which no version tells.
    """
    found = (*_computing(name), *decoders())
    return (*found, torch_device()) if name == "torch" else found


def training_versions(*, dicom: bool) -> tuple[str, ...]:
    """What decides the numbers of a training by torch; dicom : whether it learns from such files.

    Hours are lost with a training, so that nothing counts which has no part in it.
    """
    packages = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm"))
    return (*packages, *decoders(dicom=dicom), torch_device())


def _computing(name: str) -> tuple[str, ...]:
    """Whose network an engine runs, made by which code: timm's, which torch traces for OpenVINO."""
    packages = dict.fromkeys((name, "timm", "torch"))
    found = tuple(f"{package} {importlib.metadata.version(package)}" for package in packages)
    return (*found, f"taps {TAPS_VERSION}", f"graph {GRAPH_CACHE_VERSION}")


def torch_device() -> str:
    """The device that torch computes on: a GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def make_engine(
    name: str,
    backbone: Backbone,
    outputs: Sequence[Output],
    size: int,
    *,
    workers: int | None = None,
    graphs: Path | None = None,
) -> Engine:
    """Build the engine of that name for one backbone, set of outputs and input size.

    `graphs` is a folder where OpenVINO's converted graphs are kept, so that a second start needs
    no torch.

    Raises
    ------
    MedgraftError
        There is no engine of that name.
    """
    workers = workers or default_workers()
    if name == "openvino":
        return OpenVINOEngine(backbone, outputs, size, workers=workers, graphs=graphs)
    if name == "torch":
        return TorchEngine(backbone.at(size), outputs, workers=workers)
    raise MedgraftError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")


# --------------------------------------------------------------------------- the graph


def tap_network(backbone: Backbone, outputs: Sequence[Output]) -> nn.Module:
    """A module from images to the wanted outputs, one forward pass up to the deepest tap.

    Takes (batch, 3, size, size) float RGB in 0..255 and normalises it; gives a tuple of
    (batch, channels) for pooled outputs and (batch, positions, channels) for whole ones.
    """
    import torch
    from torch import nn

    taps = [backbone.tap(name) for name in dict.fromkeys(output.tap for output in outputs)]

    class TapNetwork(nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = backbone.network
            card = backbone.card
            self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1) * 255)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            maps = read_taps(self.network, taps, (images - self.mean) / self.std)
            return tuple(read_output(maps, output) for output in outputs)

    return TapNetwork().eval()


def read_output(maps: dict[str, torch.Tensor], output: Output) -> torch.Tensor:
    """One output from the feature maps of a pass."""
    features = maps[output.tap]
    if output.pooling is None:
        return features.flatten(2).transpose(1, 2)  # (batch, positions, channels)
    if output.pooling == MOMENTS:
        return moments(features)
    return pool(features, output.pooling)


def to_rgb(pixels: Pixels, out: Pixels) -> None:
    """Copy (height, width[, 3]) pixels into an (height, width, 3) buffer; grey fills all three."""
    out[...] = pixels if pixels.ndim == 3 else pixels[..., None]


# --------------------------------------------------------------------------- engines


class TorchEngine:
    """The reference, and the engine for a GPU: batches through torch."""

    def __init__(
        self,
        backbone: Backbone,
        outputs: Sequence[Output],
        *,
        workers: int,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        import torch

        self.device = torch.device(device or torch_device())
        self.batch_size = batch_size
        self.workers = workers
        self.network: Any = tap_network(backbone, outputs)
        if self.device.type != "cpu":  # the backbone is shared: for others it stays where it is
            self.network = copy.deepcopy(self.network).to(self.device)

    def run(self, canvases: Iterable[Canvas]) -> Iterator[tuple[Canvas, Outputs]]:
        import torch

        for batch in _batches(canvases, self.batch_size):
            height, width = batch[0].pixels.shape[:2]
            # On some processors an image alone is rounded in another way than one in a batch.
            pixels = np.zeros((max(2, len(batch)), height, width, 3), np.uint8)
            for row, canvas in enumerate(batch):
                to_rgb(canvas.pixels, pixels[row])
            with torch.inference_mode(), float32(), _threads(self.workers):
                images = torch.from_numpy(pixels).to(self.device, non_blocking=True)
                # (batch, height, width, 3) seen as NCHW is channels-last already.
                results = self.network(images.permute(0, 3, 1, 2).float())
            arrays = [result.float().cpu().numpy() for result in results]
            for row, canvas in enumerate(batch):
                yield canvas, tuple(array[row].copy() for array in arrays)


@contextmanager
def float32() -> Iterator[None]:
    """Have CUDA compute in float32, not in TF32 with its 10 bits, and leave torch as it was."""
    import torch

    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Have torch compute with so many threads whoever calls, and leave it as it was.

    What it gives depends on their number on some processors, and heads are fitted with one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OpenVINOEngine:
    """The fast engine on a CPU: one image a request, as many requests under way as pay.

    One image at a time keeps the activations in the cores' own caches (measured: batches of 8 and
    16 are 7 to 9 % slower with lite0), and lets requests of any order be answered in order.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: Sequence[Output],
        size: int,
        *,
        workers: int,
        graphs: Path | None = None,
    ) -> None:
        ov = import_openvino()

        core = ov.Core()
        model = _openvino_model(backbone, outputs, size, graphs)
        self.compiled: Any = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": workers,
                "NUM_STREAMS": workers,
                "ENABLE_CPU_PINNING": False,
            },
        )
        self.in_flight = 2 * workers
        self.n_outputs = len(outputs)

    def run(self, canvases: Iterable[Canvas]) -> Iterator[tuple[Canvas, Outputs]]:
        idle: list[Any] = []
        busy: deque[tuple[Canvas, Any]] = deque()

        def finish() -> tuple[Canvas, Outputs]:
            canvas, request = busy.popleft()
            request.wait()
            results = tuple(
                request.get_output_tensor(i).data[0].copy() for i in range(self.n_outputs)
            )
            idle.append(request)
            return canvas, results

        try:
            for canvas in canvases:
                if len(busy) == self.in_flight:
                    yield finish()
                # Made when needed: it takes a tenth of a millisecond, and a served image needs one.
                request = idle.pop() if idle else self.compiled.create_infer_request()
                to_rgb(canvas.pixels, request.get_input_tensor().data[0])
                request.start_async()
                busy.append((canvas, request))
            while busy:
                yield finish()
        finally:
            for _, request in busy:  # the reader left early; no request outlives its buffers
                request.wait()


def _openvino_model(
    backbone: Backbone, outputs: Sequence[Output], size: int, graphs: Path | None
) -> Any:
    """The network's graph for (1, size, size, 3) uint8 RGB, converted once and then kept."""
    if graphs is None:
        return _convert(backbone, outputs, size)
    recipe = digest(
        _computing("openvino"),
        backbone.name,
        backbone.key,
        [backbone.card.mean, backbone.card.std],
        [(output.tap, output.pooling) for output in outputs],
        size,
    )
    kept = graphs / f"{backbone.name}-{recipe}.xml"
    remove_abandoned(graphs, kept.name)  # of whoever was killed when it had just been written
    graph = _read_graph(kept)
    if graph is not None:
        return graph
    converted = _convert(backbone, outputs, size)
    # Storing rounds constants, and every run shall see the same, even one that can keep nothing.
    # Where nothing can be written for a moment either, codes differ by some 1e-6.
    graph = _stored(converted, kept)
    if graph is None:
        with suppress(OSError), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            graph = _stored(converted, Path(folder) / kept.name)
    return graph or converted


def _stored(converted: Any, path: Path) -> Any:
    """The graph as it is read after it was written there, or None where that cannot be."""
    with suppress(OSError, RuntimeError):  # no room or no right to write: only time is lost
        _save_graph(converted, path)
    return _read_graph(path)


def _read_graph(path: Path) -> Any:
    """The graph kept there, or None where none can be read."""
    ov = import_openvino()

    if not (path.is_file() and path.with_suffix(".bin").is_file()):
        return None
    try:
        return ov.Core().read_model(path)
    except RuntimeError:  # cut short by a full disk
        return None


def _convert(backbone: Backbone, outputs: Sequence[Output], size: int) -> Any:
    """Trace the torch network and put the reading of uint8 pixels in front of it."""
    ov = import_openvino()
    import torch
    from openvino.preprocess import PrePostProcessor

    model = openvino_graph(tap_network(backbone.at(size), outputs), torch.zeros(1, 3, size, size))
    model.reshape([1, 3, size, size])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().preprocess().convert_element_type(ov.Type.f32)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    return steps.build()


def _save_graph(model: Any, path: Path) -> None:
    """Write a graph so that another process sees all of it or nothing: weights first, by rename."""
    ov = import_openvino()

    with folder_beside(path) as folder:
        written = folder / path.name
        ov.save_model(model, written, compress_to_fp16=False)
        written.with_suffix(".bin").replace(path.with_suffix(".bin"))
        written.replace(path)


def _batches(canvases: Iterable[Canvas], size: int) -> Iterator[list[Canvas]]:
    """Lists of up to `size` canvases of equal shape, in order."""
    batch: list[Canvas] = []
    for canvas in canvases:
        if batch and (len(batch) == size or canvas.pixels.shape[:2] != batch[0].pixels.shape[:2]):
            yield batch
            batch = []
        batch.append(canvas)
    if batch:
        yield batch
