"""Small members of timm's families of transformers, which run through everything in milliseconds.

timm's own small ones have no class token beside registers, and it has no small Swin.
"""

from __future__ import annotations

from typing import Any

from medgraft.features.weights import import_timm

import_timm()

from timm.models import generate_default_cfgs, register_model  # noqa: E402
from timm.models.swin_transformer import (  # noqa: E402
    SwinTransformer,
    _create_swin_transformer,
)
from timm.models.vision_transformer import (  # noqa: E402
    VisionTransformer,
    _create_vision_transformer,
)

__all__: list[str] = []  # timm adds what is registered

HALF = (0.5, 0.5, 0.5)
CONFIG = {"input_size": (3, 64, 64), "mean": HALF, "std": HALF, "license": "mit"}
default_cfgs = generate_default_cfgs(
    {
        "tiny_dino.untrained": {**CONFIG, "classifier": "head"},
        "tiny_dinov2.untrained": {**CONFIG, "classifier": "head"},
        "tiny_swin.untrained": {**CONFIG, "classifier": "head.fc"},
    }
)
TINY = ("tiny_dino", "tiny_dinov2", "tiny_swin", "test_convnext", "test_vit2")


@register_model
def tiny_dino(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """A ViT as DINO trains it: patches of 16, a class token."""
    shape = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 5, "num_heads": 2}
    model: VisionTransformer = _create_vision_transformer(
        "tiny_dino", pretrained=pretrained, **{**shape, **kwargs}
    )
    return model


@register_model
def tiny_dinov2(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """A ViT as DINOv2 trains it: patches of 8, a class token and four registers, layer scale."""
    shape = {"img_size": 64, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}
    tokens = {"reg_tokens": 4, "no_embed_class": True, "init_values": 1.0}
    model: VisionTransformer = _create_vision_transformer(
        "tiny_dinov2", pretrained=pretrained, **{**shape, **tokens, **kwargs}
    )
    return model


@register_model
def tiny_swin(pretrained: bool = False, **kwargs: Any) -> SwinTransformer:
    """A Swin of three stages: 16 × 16 patches of 4, windows of 4, shifted in every other block."""
    shape = {"img_size": 64, "patch_size": 4, "window_size": 4, "embed_dim": 8}
    stages = {"depths": (2, 2, 1), "num_heads": (1, 2, 2)}
    model: SwinTransformer = _create_swin_transformer(
        "tiny_swin", pretrained=pretrained, **{**shape, **stages, **kwargs}
    )
    return model
