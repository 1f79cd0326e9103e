"""The CAM family as formulas: from a tap's output and the score's gradient there to a map.

With A (channels, rows, columns) the tap's output, s the score of the class explained and
g = ds / dA, all of these give one value a position: what speaks for the class is positive, what
speaks against it negative. Who asks (`cam.py`) leaves the negative out. None of them is scaled.

features, gradients : (batch, channels, rows, columns). Maps: (batch, rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SCORE_CAM = "scorecam"  # the one that needs more than a forward and a backward pass
MASKED = 32  # masked images that Score-CAM runs at a time


def grad_cam_map(features: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """``sum over k of a_k A_k``, ``a_k = mean over positions of g_k`` (Selvaraju et al. 2017)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1)


def grad_cam_plus_plus_map(features: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """``sum over k of w_k A_k``, ``w_k = sum over positions of alpha max(0, g)``.

    ``alpha = g² / (2 g² + S_k g³) = 1 / (2 + S_k g)``, S_k the sum of A_k over all positions
    (Chattopadhay et al. 2018, equations 7 and 19, for the exponential of the score). The paper has
    rectified maps, where S_k >= 0; of maps that are not, the positive values are summed, so that
    alpha has no pole. A gradient that is 0 weighs nothing.
    """
    total = features.clamp(min=0).sum(dim=(2, 3), keepdim=True)  # (batch, channels, 1, 1)
    rising = gradients.clamp(min=0)
    weights = (rising / (2 + total * rising)).sum(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1)


def hires_cam_map(features: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """``sum over k of g_k A_k``, position by position (Draelos and Carin 2020).

    At the tap that a linear head reads, the sum over positions is the score without its intercept:
    the map is where the score comes from, not an approximation of it.
    """
    return (gradients * features).sum(dim=1)


def layer_cam_map(features: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """``sum over k of max(0, g_k) A_k``, position by position (Jiang et al. 2021)."""
    return (gradients.clamp(min=0) * features).sum(dim=1)


def eigen_cam_map(features: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """The positions' first principal component (Muhammad and Yeasin 2020); it knows no class.

    With X (positions, channels), centred, and v its first right singular vector: ``X v``. The sign
    of v is free; taken is the one under which positions of large ``|A|`` are positive.
    """
    import torch

    batch, channels, rows, columns = features.shape
    positions = features.double().flatten(2).transpose(1, 2)  # (batch, positions, channels)
    centred = positions - positions.mean(dim=1, keepdim=True)
    # The smaller of the two matrices of inner products has the same singular values.
    if channels <= rows * columns:
        _, axes = torch.linalg.eigh(centred.transpose(1, 2) @ centred)
        found = (centred @ axes[..., -1:]).squeeze(-1)
    else:
        squares, axes = torch.linalg.eigh(centred @ centred.transpose(1, 2))
        found = axes[..., -1] * squares[..., -1:].clamp(min=0).sqrt()
    loud = positions.square().sum(dim=2)
    loud = loud - loud.mean(dim=1, keepdim=True)
    agrees = (found * loud).sum(dim=1, keepdim=True) >= 0
    signed = torch.where(agrees, found, -found)
    return signed.reshape(batch, rows, columns).to(features.dtype)


def score_cam_map(
    score: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    features: torch.Tensor,
    rows: Sequence[int],
    background: torch.Tensor,
) -> torch.Tensor:
    """``sum over k of w_k A_k`` with w the softmax over channels of s(masked by A_k) (Wang 2020).

    An image x masked by channel k is ``b + H_k (x - b)``: H_k is A_k enlarged to the image and
    scaled to 0..1, b the background. A channel that is the same everywhere shows b alone.

    images : (batch, 3, height, width). score : from such images to (batch, n_classes).
    rows : the class of each image. background : (1, 3, 1, 1), in the images' unit.
    """
    import torch
    from torch.nn.functional import interpolate

    maps = []
    empty = score(background.expand_as(images[:1]).contiguous())[0]  # (n_classes,)
    for image, own, row in zip(images, features, rows, strict=True):
        masks = interpolate(own[None], image.shape[1:], mode="bilinear", align_corners=True)[0]
        low, high = masks.amin(dim=(1, 2)), masks.amax(dim=(1, 2))
        scores = empty[row].repeat(len(own))  # (channels,)
        lit = torch.nonzero(high > low)[:, 0]
        for start in range(0, len(lit), MASKED):
            some = lit[start : start + MASKED]
            span = (high - low)[some, None, None]
            shown = ((masks[some] - low[some, None, None]) / span)[:, None]
            scores[some] = score(background + shown * (image - background))[:, row]
        weights = scores.softmax(dim=0)
        maps.append((weights[:, None, None] * own).sum(dim=0))
    return torch.stack(maps)


Formula = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]

FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "gradcam": grad_cam_map,
        "gradcam++": grad_cam_plus_plus_map,
        "hirescam": hires_cam_map,
        "eigencam": eigen_cam_map,
        "layercam": layer_cam_map,
    }
)
WITHOUT_GRADIENT = ("eigencam", SCORE_CAM)
METHODS = (*FORMULAS, SCORE_CAM)
