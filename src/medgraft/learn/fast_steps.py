"""What makes a training step fast on a CPU, and small: measured by `bench/training.py`.

Freed memory is kept, and half precision is used where it is fast: neither changes what is learned
beyond rounding. Large images of a step are passed through the network in parts, which does.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt(3)
PART = 16 * 2**20  # bytes of a depthwise layer's input whose gradients are found at once
PASSED = 32 * 160 * 160  # pixels whose activations are held at once
FEWEST = 8  # images passed together, whose statistics batch norm takes


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process use freed memory again instead of asking the kernel anew; whether it does.

    glibc maps every large array from the kernel and gives it back when it is freed. A training step
    makes and frees about three hundred activations and gradients, and the kernel then spends more
    time zeroing pages than some layers take to compute. `return_freed_memory` gives all back at the
    end of a training. Only where the C library is glibc.
    """
    library = _glibc()
    if library is None:
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> None:
    """Give what `keep_freed_memory` kept back to the kernel."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    """The C library of this process where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def passes(images: int, pixels: int) -> int:
    """In how many parts a step's images pass through the network, their gradients added up.

    pixels : rows times columns of what enters. The activations of a step then take as much memory
    at 224 pixels as at 160, about 2 GB in lite0 and single precision, in the same time. Batch norm
    takes its statistics of each part alone (Hoffer et al. 2017, "Train longer, generalize better").

    >>> passes(32, 160 * 160), passes(32, 224 * 224), passes(32, 28 * 28), passes(12, 512 * 512)
    (1, 2, 1, 1)
    """
    return max(1, min(round(images * pixels / PASSED), images // FEWEST))


def half_precision() -> bool:
    """Whether this processor computes in bfloat16."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """The forward pass of a training step; half precision where asked, and on a GPU always."""
    import torch

    half = precision == "bf16" or device.type == "cuda"
    if not half:
        yield
        return
    depthwise = _depthwise_mode()() if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16), depthwise:
        yield


@functools.cache
def _depthwise_mode() -> Any:
    """A mode in which depthwise convolutions find their gradients in single precision.

    oneDNN has no fast kernels for these gradients in bfloat16: with a stride, and for the weights
    of 5 x 5 filters, they take three to fifty times as long as in single precision, more than
    everything else of a step together. The forward pass stays in bfloat16.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Depthwise(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            x: torch.Tensor,
            weight: torch.Tensor,
            bias: torch.Tensor | None,
            *where: Any,  # stride, padding, dilation, groups
        ) -> torch.Tensor:
            x, weight = x.bfloat16(), weight.bfloat16()
            ctx.save_for_backward(x, weight)
            ctx.where, ctx.bias = where, None if bias is None else list(bias.shape)
            return torch.conv2d(x, weight, None if bias is None else bias.bfloat16(), *where)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            x, weight = ctx.saved_tensors
            stride, padding, dilation, groups = ctx.where
            wanted = (*ctx.needs_input_grad[:2], ctx.bias is not None)
            single = weight.float()
            at_x = torch.empty_like(x) if wanted[0] else None
            sums: list[torch.Tensor | None] = [None, None]
            part = max(1, PART // (4 * x[0].numel()))
            for first in range(0, len(x), part):
                rows = slice(first, first + part)
                found = torch.ops.aten.convolution_backward(
                    grad[rows].float(), x[rows].float(), single,
                    ctx.bias, stride, padding, dilation, False, [0, 0], groups, wanted,
                )  # fmt: skip
                if at_x is not None:
                    at_x[rows] = found[0]
                sums = [
                    more if so_far is None else so_far.add_(more)
                    for so_far, more in zip(sums, found[1:], strict=True)
                ]
            return at_x, *sums, None, None, None, None

    apply: Any = Depthwise.apply

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.conv2d:
                whole = _depthwise(*args, **(kwargs or {}))
                if whole is not None:
                    return apply(*whole)
            return func(*args, **(kwargs or {}))

    return Mode


def _depthwise(
    input: torch.Tensor,  # torch's own names
    weight: torch.Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...] | None:
    """All arguments of a depthwise convolution, two numbers for two directions; else None."""
    if groups == 1 or weight.shape[1] != 1 or isinstance(padding, str):
        return None
    pairs = [
        (some, some) if isinstance(some, int) else some for some in (stride, padding, dilation)
    ]
    return input, weight, bias, *pairs, groups
