"""A graph written as ONNX, OpenVINO or TorchScript, and run as those who take it would run it.

Traced with a batch of two: with one, exporters have written the one into the graph.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ExportError, optional
from medgraft.features.engine import default_workers
from medgraft.features.openvino_graph import import_openvino, openvino_graph
from medgraft.types import Floats, Pixels

if TYPE_CHECKING:
    import torch
    from torch import nn

INPUT, OUTPUT = "canvas", "probabilities"
OPSET = 17  # of ONNX; what onnxruntime reads since 1.13 (2022)
EXAMPLE = 2  # canvases in the batch that is traced

Runner = Callable[[Pixels], Floats]
"""Canvases (n, size, size, 3) uint8 to probabilities (n, n_classes)."""


def write_graph(
    name: str, graph: nn.Module, size: int, folder: Path, facts: Mapping[str, Any]
) -> Path:
    """Write the graph of canvases of `size` px in one of `FORMATS`; give its file.

    facts : JSON that is kept in the file where the format has a place for it.

    Raises
    ------
    ExportError
        There is no such format, or the exporter fails.
    MissingExtraError
        What writes it is not installed.
    """
    import torch

    if name not in FORMATS:
        raise ExportError(f"no format {name!r}; there are: {', '.join(FORMATS)}")
    example = torch.arange(EXAMPLE * size * size * 3).remainder(251).to(torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constant here, and of exporters' age
        return FORMATS[name][0](graph, example.view(EXAMPLE, size, size, 3), folder, facts)


def open_graph(name: str, path: Path, workers: int | None = None) -> Runner:
    """What runs a written graph."""
    return FORMATS[name][1](path, workers or default_workers())


# --------------------------------------------------------------------------- written


def _write_onnx(
    graph: nn.Module, example: torch.Tensor, folder: Path, facts: Mapping[str, Any]
) -> Path:
    import torch

    onnx = optional("onnx", "onnx")
    path = folder / "model.onnx"
    with _quiet():
        torch.onnx.export(
            graph, (example,), str(path), input_names=[INPUT], output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}, opset_version=OPSET,
            dynamo=False, external_data=False,
        )  # fmt: skip
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"medgraft": json.dumps(facts)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _write_openvino(
    graph: nn.Module, example: torch.Tensor, folder: Path, facts: Mapping[str, Any]
) -> Path:
    ov = import_openvino()

    model = openvino_graph(graph, example)
    model.reshape([-1, *example.shape[1:]])
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.set_rt_info(json.dumps(facts), ["medgraft"])
    path = folder / "model.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def _write_torchscript(
    graph: nn.Module, example: torch.Tensor, folder: Path, facts: Mapping[str, Any]
) -> Path:
    import torch

    path = folder / "model.pt"
    traced: Any = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]
    content = io.BytesIO()  # where it writes files itself, a full disk ends the process
    torch.jit.save(traced, content, {"medgraft.json": json.dumps(facts)})
    path.write_bytes(content.getbuffer())
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter prints what nobody asked for."""
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        yield


# --------------------------------------------------------------------------- run


def _open_onnx(path: Path, workers: int) -> Runner:
    runtime = optional("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = workers
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda canvases: np.asarray(session.run([OUTPUT], {INPUT: canvases})[0])


def _open_openvino(path: Path, workers: int) -> Runner:
    ov = import_openvino()

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": workers}
    compiled = ov.Core().compile_model(path, "CPU", settings)
    return lambda canvases: np.array(compiled({INPUT: canvases})[OUTPUT])


def _open_torchscript(path: Path, workers: int) -> Runner:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age
        module: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    def run(canvases: Pixels) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(np.ascontiguousarray(canvases))))

    return run


Writer = Callable[["nn.Module", "torch.Tensor", Path, Mapping[str, Any]], Path]
FORMATS: Mapping[str, tuple[Writer, Callable[[Path, int], Runner]]] = MappingProxyType(
    {
        "onnx": (_write_onnx, _open_onnx),
        "openvino": (_write_openvino, _open_openvino),
        "torchscript": (_write_torchscript, _open_torchscript),
    }
)
