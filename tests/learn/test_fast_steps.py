"""Fast steps on a CPU: what they compute is what slow ones compute, to rounding."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from medgraft.learn import fast_steps
from medgraft.learn.fast_steps import computing, half_precision

CPU = torch.device("cpu")
needs_half = pytest.mark.skipif(not half_precision(), reason="no bfloat16 here")


def gradients(layer: nn.Module, x: torch.Tensor, precision: str) -> list[torch.Tensor]:
    """The output of a layer, and the gradients of its squares' sum at input and weights."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with computing(CPU, precision):
        out = layer(x)
    out.float().square().sum().backward()
    return [out.float().detach(), x.grad, *(p.grad for p in layer.parameters())]


@needs_half
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_gradients_are_those_of_single_precision(
    kernel: int, stride: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_steps, "PART", 3 * 4 * 24 * 17 * 17)  # three of the eight images
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 24, kernel, stride, kernel // 2, groups=24, bias=bias)
    x = torch.randn(8, 24, 17, 17).to(memory_format=torch.channels_last)
    for half, single in zip(gradients(layer, x, "bf16"), gradients(layer, x, "f32"), strict=True):
        assert half.dtype == torch.float32
        error = (half - single).norm() / single.norm()
        assert 0 < error < 0.01  # bfloat16 has eight bits


@needs_half
def test_the_gradient_of_depthwise_weights_is_found_in_single_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half-precision kernels round the weights' gradient to eight bits; ours does not."""
    torch.manual_seed(0)
    x = torch.randn(4, 8, 9, 9)
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    dense = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    rounded = [
        torch.equal(weight, weight.bfloat16().float())
        for weight in (gradients(layer, x, "bf16")[2] for layer in (depthwise, dense))
    ]
    assert rounded == [False, True]


def test_single_precision_is_left_alone() -> None:
    with computing(CPU, "f32"):
        assert not torch.is_autocast_enabled("cpu")
        assert nn.Conv2d(4, 4, 3, groups=4)(torch.ones(1, 4, 5, 5)).dtype == torch.float32


FAULTS = """
import resource
import torch
from medgraft.learn.fast_steps import keep_freed_memory, return_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "RssAnon" in line)

freed = faults()
assert keep_freed_memory() and keep_freed_memory()
for _ in range(4):  # until chunks that are aligned otherwise fit, too
    faults()
kept, held = faults(), resident()
return_freed_memory()
print(freed, kept, held - resident())
"""


@pytest.mark.skipif(fast_steps._glibc() is None, reason="another C library")
def test_freed_memory_is_used_again_and_given_back_in_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FAULTS)], capture_output=True, text=True, check=True
    )
    freed, kept, returned = map(int, done.stdout.split())
    assert freed > 100  # pages that the kernel zeroed; a huge page counts once
    assert kept < freed / 10
    assert returned > 60_000  # KiB


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    fast_steps.keep_freed_memory.cache_clear()
    assert fast_steps.keep_freed_memory() is False
    fast_steps.return_freed_memory()
    fast_steps.keep_freed_memory.cache_clear()
