"""Encoders and heads as torch modules: the same sums as their scikit-learn forms, in a graph.

Those in `features/` and `learn/` sum in double precision where terms nearly cancel. A graph has
single precision, so that here nothing is subtracted that was summed up before: `Fisher` sums
departures from a mean instead of subtracting moments.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medgraft.errors import ExportError
from medgraft.features.codebooks import VLAD, FisherVector
from medgraft.features.encoders import (
    GEM_FLOOR,
    GEM_POWER,
    BaseEncoder,
    CompactBilinear,
    SpatialPyramid,
    spans,
)
from medgraft.learn.estimators import Head, KNNHead, OrdinalHead, RBFHead
from medgraft.learn.linear import FAR

HALF = 2.0**13 + 1  # Veltkamp's constant: leaves the 11 binary digits of float16


def constant(values: NDArray[Any]) -> nn.Buffer:
    """Fitted numbers as a part of the graph, single precision."""
    return nn.Buffer(torch.tensor(np.asarray(values, np.float32)))


# --------------------------------------------------------------------------- heads


def head_graph(head: Head) -> nn.Module:
    """Codes (n, d) to scores (n, n_classes).

    Raises
    ------
    ExportError
        It is no sum: kNN looks its neighbours up.
    """
    if isinstance(head, KNNHead):
        raise ExportError(
            "kNN votes by looking up the images it learned from: a graph would carry a code of "
            "every one of them, and its answer jumps where a neighbour changes; export a scenario "
            "whose head is svm, logistic, lda, ordinal or rbf (medgraft train DATA --scenario "
            "KEY), or take the model along as it is (medgraft bundle)"
        )
    if isinstance(head, OrdinalHead):
        return _Ordinal(head)
    return _Kernel(head) if isinstance(head, RBFHead) else _Linear(head.coef_, head.intercept_)


class _Ordinal(nn.Module):
    """Logarithms of the probabilities of grades, by one latent value and its thresholds."""

    def __init__(self, head: OrdinalHead) -> None:
        super().__init__()
        self.coef = constant(head.latent_coef_.T)
        self.thresholds = constant(head.thresholds_)
        gaps = np.diff(head.thresholds_)
        with np.errstate(divide="ignore"):
            between = np.maximum(np.log(-np.expm1(-gaps)), -FAR)
        self.between = constant(np.concatenate([[0.0], between, [0.0]]))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        margins = self.thresholds - codes @ self.coef  # (n, n_classes - 1)
        nothing = torch.zeros_like(margins[:, :1])
        below = torch.cat([log_sigmoid(margins), nothing], dim=1)
        above = torch.cat([nothing, log_sigmoid(-margins)], dim=1)
        return below + above + self.between


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Log σ(x), of operations that every exported format has."""
    return torch.clamp(x, max=0.0) - torch.log(1 + torch.exp(-torch.abs(x)))


class _Linear(nn.Module):
    def __init__(self, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        super().__init__()
        self.coef, self.intercept = constant(coef.T), constant(intercept)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return codes @ self.coef + self.intercept


class _Kernel(nn.Module):
    def __init__(self, head: RBFHead) -> None:
        super().__init__()
        self.mean, self.scale = constant(head.mean_), constant(head.scale_)
        self.points, self.squares = constant(head.points_.T), constant((head.points_**2).sum(1))
        self.dual, self.intercept = constant(head.dual_coef_.T), constant(head.intercept_)
        self.gamma = float(head.gamma_.item())

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        z = (codes - self.mean) / self.scale
        far = z.square().sum(1, keepdim=True) + self.squares - 2 * (z @ self.points)
        return torch.exp(-self.gamma * far.clamp(min=0)) @ self.dual + self.intercept


# --------------------------------------------------------------------------- encoders


def encoder_graph(encoder: BaseEncoder) -> nn.Module:
    """Descriptors (n, positions, channels) to codes (n, D).

    Raises
    ------
    ExportError
        There is no graph of this encoder.
    """
    for kind, graph in GRAPHS.items():
        if isinstance(encoder, kind):
            return nn.Sequential(_Half(), graph(encoder))
    raise ExportError(
        f"{type(encoder).__name__} has no graph; export a scenario with pooled codes, vlad, "
        "fisher, bilinear or pyramid"
    )


class _Half(nn.Module):
    """Round to the digits of float16, as encoders do, in sums that no compiler takes out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        big = x * HALF
        return big - (big - x)


def unit(x: torch.Tensor) -> torch.Tensor:
    """Length 1 along the last axis; zeros stay."""
    length = x.square().sum(-1, keepdim=True).sqrt()
    return x / torch.where(length > 0, length, torch.ones_like(length))


def signed_power(x: torch.Tensor, power: float) -> torch.Tensor:
    """The signed power, sign(x) |x|^power."""
    size = x.abs()
    return torch.sign(x) * (size.sqrt() if power == 0.5 else size.pow(power))


class _Codebook(nn.Module):
    """What VLAD and Fisher share: words before, whitening behind."""

    def __init__(self, encoder: VLAD | FisherVector) -> None:
        super().__init__()
        self.normalise = encoder.normalise
        self.projects = encoder.axes_ is not None and encoder.shift_ is not None
        if encoder.axes_ is not None and encoder.shift_ is not None:
            self.axes, self.shift = constant(encoder.axes_.T), constant(encoder.shift_)
        self.whitens = encoder.whiten_axes_ is not None and encoder.whiten_mean_ is not None
        if encoder.whiten_axes_ is not None and encoder.whiten_mean_ is not None:
            self.whiten = constant(encoder.whiten_axes_.T)
            self.whiten_mean = constant(encoder.whiten_mean_)

    def long(self, words: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        words = unit(descriptors) if self.normalise else descriptors
        if self.projects:
            words = words @ self.axes - self.shift
        long = self.long(words)
        if not self.whitens:
            return long
        return unit((long - self.whiten_mean) @ self.whiten)


class _Vlad(_Codebook):
    def __init__(self, encoder: VLAD) -> None:
        super().__init__(encoder)
        self.centres = constant(encoder.centres_)
        self.squares = constant(np.vecdot(encoder.centres_, encoder.centres_))
        self.order = constant(np.arange(len(encoder.centres_)))
        self.alpha, self.power = float(encoder.alpha_.item()), encoder.power
        self.hard, self.intra = encoder.assignment == "hard", encoder.intra

    def long(self, words: torch.Tensor) -> torch.Tensor:
        nearness = 2 * (words @ self.centres.T) - self.squares
        if self.hard:
            shares = (nearness.argmax(-1, keepdim=True).float() == self.order).float()
        else:
            shares = torch.softmax(self.alpha * nearness, dim=-1)
        sums = shares.transpose(1, 2) @ words - shares.sum(1).unsqueeze(-1) * self.centres
        if self.intra:
            sums = unit(sums)
        return unit(signed_power(sums.flatten(1), self.power))


class _Fisher(_Codebook):
    def __init__(self, encoder: FisherVector) -> None:
        super().__init__(encoder)
        variances = encoder.variances_
        self.means, self.deviations = constant(encoder.means_), constant(np.sqrt(variances))
        self.bias = constant(np.log(encoder.weights_) - 0.5 * np.log(variances).sum(axis=1))
        self.roots = constant(np.sqrt(encoder.weights_)[:, None])

    def long(self, words: torch.Tensor) -> torch.Tensor:
        away = (words.unsqueeze(2) - self.means) / self.deviations  # (n, positions, k, d)
        shares = torch.softmax(self.bias - 0.5 * away.square().sum(-1), dim=-1).unsqueeze(-1)
        by_mean = (shares * away).mean(1) / self.roots  # (n, k, d)
        by_deviation = (shares * (away.square() - 1)).mean(1) / (math.sqrt(2) * self.roots)
        long = torch.cat([by_mean.flatten(1), by_deviation.flatten(1)], dim=1)
        return unit(signed_power(long, 0.5))


class _Bilinear(nn.Module):
    """Count sketches and Fourier transforms, both linear, are one product each way."""

    def __init__(self, encoder: CompactBilinear) -> None:
        super().__init__()
        n = encoder.n_components
        (self.real1, self.imag1), (self.real2, self.imag2) = (
            self._spectrum(bins, signs, n)
            for bins, signs in zip(encoder.bins_, encoder.signs_, strict=True)
        )
        angle = 2 * np.pi * np.outer(np.arange(n // 2 + 1), np.arange(n)) / n
        twice = np.full((n // 2 + 1, 1), 2.0)
        twice[0] = 1
        if n % 2 == 0:
            twice[-1] = 1
        self.cosine = constant(twice * np.cos(angle) / n)
        self.sine = constant(twice * np.sin(angle) / n)

    @staticmethod
    def _spectrum(bins: NDArray[Any], signs: NDArray[Any], n: int) -> tuple[nn.Buffer, nn.Buffer]:
        """The transform of each channel's sketch, (channels, n / 2 + 1), real and imaginary."""
        angle = 2 * np.pi * (np.outer(bins, np.arange(n // 2 + 1)) % n) / n
        return constant(signs[:, None] * np.cos(angle)), constant(-signs[:, None] * np.sin(angle))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        real1, imag1, real2, imag2 = x @ self.real1, x @ self.imag1, x @ self.real2, x @ self.imag2
        real = (real1 * real2 - imag1 * imag2).sum(1)
        imag = (real1 * imag2 + imag1 * real2).sum(1)
        sketch = real @ self.cosine - imag @ self.sine
        noise = 1e-6 * sketch.square().sum(1, keepdim=True).sqrt()
        kept = torch.where(sketch.abs() > noise, sketch, torch.zeros_like(sketch))
        return unit(signed_power(kept, 0.5))


class _Pyramid(nn.Module):
    def __init__(self, encoder: SpatialPyramid) -> None:
        super().__init__()
        self.levels, self.pooling = tuple(encoder.levels), encoder.pooling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = math.isqrt(int(x.shape[1]))
        grid = x.reshape(-1, side, side, x.shape[2])
        cells = [
            self._pool(grid[:, rows, columns].flatten(1, 2))
            for level in self.levels
            for rows in spans(side, level)
            for columns in spans(side, level)
        ]
        return torch.cat(cells, dim=1)

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        if self.pooling == "max":
            return x.amax(1)
        if self.pooling == "gem":
            return x.clamp(min=GEM_FLOOR).pow(GEM_POWER).mean(1).pow(1 / GEM_POWER)
        return x.mean(1)


GRAPHS: dict[type[BaseEncoder], Any] = {
    VLAD: _Vlad,
    FisherVector: _Fisher,
    CompactBilinear: _Bilinear,
    SpatialPyramid: _Pyramid,
}
