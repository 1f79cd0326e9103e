"""An ONNX file, run by OpenVINO, which comes with medgraft; nothing in it is executed as code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ForeignModelError
from medgraft.features.openvino_graph import import_openvino
from medgraft.foreign.answers import choose_output, in_channels, rows_of
from medgraft.foreign.options import ForeignOptions, Normalisation, asked_normalisation
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels

BATCH = 32  # where the file does not fix it
FLOATS = ("f32", "f16", "f64", "bf16")


class OnnxFile:
    """One image input of 1 or 3 channels, first or last, of 8 bits or floating point.

    A network whose images are not square gets the square canvas squashed to its size.

    Raises
    ------
    ForeignModelError
        The file is no ONNX, or no classifier of images as we can ask it.
    AmbiguousModelError
        The file does not tell its input's size or normalisation, or which output is meant.
    """

    kind: ForeignKind = "onnx"
    named = False
    outputs: OutputKind | str = ""
    network = ""

    def __init__(self, path: Path, options: ForeignOptions, n_classes: int, workers: int) -> None:
        ov = import_openvino()

        self.name = path.name
        core = ov.Core()
        try:
            graph = core.read_model(path)
        except RuntimeError as error:
            raise ForeignModelError(
                f"{path.name} cannot be read as ONNX ({_reason(error)}); check it with "
                "onnx.checker.check_model (weights in files of their own must lie beside it), or "
                "wrap it in a Python function and give module:function"
            ) from error
        if len(graph.inputs) != 1:
            raise ForeignModelError(
                f"{path.name} has {len(graph.inputs)} inputs ({_inputs(graph)}), and an image is "
                "one; wrap it in a Python function that fills in the others, and give "
                "module:function"
            )
        self._read_input(graph.inputs[0], options)
        self._workers = workers
        self._compiled = self._compile(core, graph, self._fixed or -1)
        shapes = {
            _name_of(output, place): [
                side.get_length() if side.is_static else None
                for side in list(output.get_partial_shape())[1:]
            ]
            for place, output in enumerate(graph.outputs)
        }
        chosen = choose_output(shapes, n_classes, options.output_name, self.name)
        self._place = list(shapes).index(chosen)
        self.output = chosen if len(shapes) > 1 else ""
        self.batch = self._fixed or BATCH
        if not (self._fixed or self._takes_batches()):
            # Compiled anew: OpenVINO goes on with what the graph gave for a batch it cannot take.
            self._compiled, self.batch = self._compile(core, graph, 1), 1

    def _compile(self, core: Any, graph: Any, batch: int) -> Any:
        """The graph made ready for images of the input's size; -1 is any batch."""
        settings = {"INFERENCE_NUM_THREADS": self._workers, "INFERENCE_PRECISION_HINT": "f32"}
        try:
            graph.reshape([batch, *self._shape])
            return core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise ForeignModelError(
                f"{self.name} cannot be run by OpenVINO on images of {self._size[0]} x "
                f"{self._size[1]} pixels ({_reason(error)}); look at --input-size, or wrap it in a "
                "Python function that uses onnxruntime, and give module:function"
            ) from error

    def _read_input(self, given: Any, options: ForeignOptions) -> None:
        """Batch, layout, size, channels and type of the one input."""
        sides = [
            side.get_length() if side.is_static else 0 for side in list(given.get_partial_shape())
        ]
        if len(sides) != 4 or not {1, 3} & {sides[1], sides[3]}:
            raise ForeignModelError(
                f"{self.name} takes an input of shape {_shown(sides)}; images are (n, channels, "
                "height, width) or (n, height, width, channels) with 1 or 3 channels. Wrap it in a "
                "Python function, and give module:function"
            )
        self._first = sides[1] in (1, 3)
        channels = sides[1] if self._first else sides[3]
        height, width = sides[2:] if self._first else sides[1:3]
        if not (height and width):
            asked = options.side(f"{self.name} takes images of any size")
            height, width = height or asked, width or asked
        self.side = max(height, width)
        if options.input_size not in (0, self.side):
            raise ForeignModelError(
                f"{self.name} takes images of {height} x {width} pixels, not of --input-size "
                f"{options.input_size}; leave the option out"
            )
        if height != width and (options.resize != "squash" or options.crop_pct < 1):
            raise ForeignModelError(
                f"{self.name} takes images of {height} x {width} pixels, which are made by "
                "--resize squash without --crop-pct alone"
            )
        self.channels = options.channels or ("grey" if channels == 1 else "rgb")
        if (self.channels == "grey") != (channels == 1):
            raise ForeignModelError(
                f"{self.name} takes {channels} channels, which are not --channels {self.channels}; "
                "leave the option out"
            )
        self._size = (height, width)
        self._shape = [channels, height, width] if self._first else [height, width, channels]
        self._fixed = sides[0]
        self._read_type(given.get_element_type().get_type_name(), options)

    def _read_type(self, kind: str, options: ForeignOptions) -> None:
        self._normalise: Normalisation | None = None
        if kind in FLOATS:
            self._normalise = asked_normalisation(options, self.name)
        elif kind != "u8":
            raise ForeignModelError(
                f"{self.name} takes images of type {kind}; 8 bits (u8) or floating point is asked"
            )
        elif options.normalize:
            raise ForeignModelError(
                f"--normalize {options.normalize} is not for {self.name}, which takes 8-bit images "
                "and normalises them itself; leave the option out"
            )
        self._type = np.dtype({"f16": np.float16, "f64": np.float64, "u8": np.uint8}.get(
            kind, np.float32
        ))  # fmt: skip
        self.normalize = self._normalise.text if self._normalise else ""

    def _takes_batches(self) -> bool:
        """Whether two images are answered as each of them is alone.

        A graph that holds the batch of its example, though it says otherwise, fails or errs.
        """
        two = np.zeros((2, self.side, self.side, 3), np.uint8)
        two[1, : self.side // 2] = 200
        alone = np.concatenate([self(two[:1]), self(two[1:])])
        try:
            together = self(two)
        except ForeignModelError:
            return False
        return together.shape == alone.shape and np.allclose(
            together, alone, rtol=1e-3, atol=1e-3, equal_nan=True
        )

    def __call__(self, images: Pixels) -> Floats:
        n = len(images)
        if self._fixed > n:  # the rest of a fixed batch is filled up
            images = np.concatenate([images, np.repeat(images[-1:], self._fixed - n, axis=0)])
        try:
            answer = self._compiled({0: self._prepared(images)})
        except RuntimeError as error:
            raise ForeignModelError(
                f"{self.name} fails on images of {self._size[0]} x {self._size[1]} pixels "
                f"({_reason(error)}); look at its input's size (--input-size)"
            ) from error
        return rows_of(answer[self._place], len(images), self.name)[:n]

    def _prepared(self, images: Pixels) -> NDArray[Any]:
        height, width = self._size
        if images.shape[1:3] != self._size:
            images = np.stack(
                [cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in images]
            )
        pixels = in_channels(images, self.channels)
        values = self._normalise(pixels) if self._normalise else pixels
        ordered = values.transpose(0, 3, 1, 2) if self._first else values
        return np.ascontiguousarray(ordered, self._type)


def _name_of(output: Any, place: int) -> str:
    return min(output.get_names(), default=str(place), key=len)


def _inputs(graph: Any) -> str:
    return ", ".join(
        f"{_name_of(one, place)} {one.get_partial_shape()}"
        for place, one in enumerate(graph.inputs)
    )


def _shown(sides: list[int]) -> str:
    return f"({', '.join(str(side) if side else '?' for side in sides)})"


def _reason(error: Exception) -> str:
    """OpenVINO's errors are pages; the last line that says something is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
