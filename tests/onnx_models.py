"""Models that are not medgraft's, made by the libraries that others make theirs with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, save

SLOPE = 0.2  # of the logit, a grey level
CENTRE = 100.0  # grey level at which both classes are equally likely


def logit_of(images: NDArray[np.uint8], place: tuple[slice, slice]) -> NDArray[np.float64]:
    """(n,) log odds of the second class of (n, side, side, 3): by one place's mean, in numpy."""
    rows, columns = place
    found: NDArray[np.float64] = SLOPE * (images[:, rows, columns].mean(axis=(1, 2, 3)) - CENTRE)
    return found


def write_onnx(
    path: Path,
    place: tuple[slice, slice],
    *,
    side: int | str = 64,
    batch: int | str = "n",
    channels: int = 3,
    first: bool = True,
    kind: int = TensorProto.FLOAT,
    last: str = "logits",
    scale: float = 1.0,
    outputs: Sequence[str] = ("said",),
) -> Path:
    """An ONNX file that goes by the mean of one place, of values whose 8 bits are value / scale.

    last : `logits` of two classes, `softmax`, `one` logit, or `sigmoid`. outputs : two names give
    the same numbers twice.
    """
    full = side if isinstance(side, int) else 64
    mask = np.zeros((full, full), np.float32)
    mask[place] = 1 / (mask[place].size * channels)
    shape = [batch, channels, side, side] if first else [batch, side, side, channels]
    weights = mask[None, None] if first else mask[None, :, :, None]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "slope"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["logit"]),
    ]
    if last in ("logits", "softmax"):
        nodes += [
            helper.make_node("Sub", ["logit", "logit"], ["zero"]),
            helper.make_node("Concat", ["zero", "logit"], ["both"], axis=1),
        ]
        end = helper.make_node("Softmax", ["both"], ["end"], axis=1)
        nodes.append(end if last == "softmax" else helper.make_node("Identity", ["both"], ["end"]))
    else:
        nodes.append(
            helper.make_node("Sigmoid" if last == "sigmoid" else "Identity", ["logit"], ["end"])
        )
    nodes += [helper.make_node("Identity", ["end"], [name]) for name in outputs]
    columns = 2 if last in ("logits", "softmax") else 1
    constants = {
        "mask": weights,
        "axes": np.array([1, 2, 3]),
        "slope": np.float32(SLOPE / scale),
        "shift": np.float32(SLOPE * CENTRE),
        "one": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", kind, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, columns])
            for name in outputs
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)
    return path
