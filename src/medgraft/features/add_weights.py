"""A file of weights becomes a backbone with a name: what it is of, and what must be said of it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraft.errors import BackboneError
from medgraft.features import weights as sources
from medgraft.features.added import NAME, is_added, keep
from medgraft.features.backbones import ALIASES, build, known_names
from medgraft.features.fitting import DENSE_LAYERS, fitted, without_prefix
from medgraft.features.weights import StateDict
from medgraft.scenario import HYBRID
from medgraft.types import Card

LARGEST = 4096  # pixels of an input size
WORDS = 200  # characters of a licence and the like

# What tells a family by the names of its layers, and its usual networks: one for each structure,
# since the size that stands in timm's name of a ViT is read from its position embeddings.
SIZES = ("tiny", "small", "base", "large")
VITS = (
    *(f"vit_{size}_patch16_224" for size in SIZES),
    *(f"vit_{size}_patch32_224" for size in SIZES[1:3]),
    *(f"vit_{size}_patch8_224" for size in SIZES[1:3]),
    *(f"vit_{size}_patch14_{kind}" for kind in ("dinov2", "reg4_dinov2") for size in SIZES[1:]),
    *(f"vit_{size}_patch16_dinov3" for size in SIZES[1:]),
)
CONVNEXT = ("atto", "femto", "pico", "nano", "tiny", "small", "base", "large")
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"layers\.0\.blocks\.0\.attn\.logit_scale", tuple(
        f"swinv2_{size}_window8_256" for size in SIZES[:3]
    )),
    (r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table", (
        *(f"swin_{size}_patch4_window7_224" for size in SIZES),
        *(f"swin_{size}_patch4_window12_384" for size in SIZES[2:]),
    )),
    (r"blocks\.(0\.)?0\.attn\.qkv\.weight", VITS),
    (r"stages\.0\.(blocks\.)?0\.(conv_dw|dwconv)\.weight", (
        *(f"convnext_{size}" for size in CONVNEXT),
        *(f"convnextv2_{size}" for size in CONVNEXT if size != "small"),
    )),
    (r"layer1\.0\.conv1\.weight", (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
        "resnext50_32x4d",
    )),
    (r"features\.denseblock1\..+", ("densenet121", "densenet161", "densenet169", "densenet201")),
    (r"features\.0\.weight", ("vgg11", "vgg13", "vgg16", "vgg19", "vgg16_bn", "vgg19_bn")),
    (r"conv_stem\.weight", (
        *(f"{kind}efficientnet_b{i}" for i in range(5) for kind in ("", "tf_")),
        *(f"{kind}efficientnet_lite{i}" for i in range(3) for kind in ("", "tf_")),
        "mobilenetv3_small_100", "mobilenetv3_large_100", "tf_mobilenetv3_large_100",
    )),
)  # fmt: skip


@dataclass(frozen=True)
class WeightsFile:
    """A file that can become a backbone: its bytes' sha256, and its tensors under plain names."""

    path: Path
    sha256: str
    state: StateDict

    @classmethod
    def read(cls, path: Path) -> WeightsFile:
        """Read it without running any code that it may hold.

        Raises
        ------
        BackboneError
            It is not there, cannot be read, holds no state dict or numbers that are not finite.
        """
        state = without_prefix(sources.load_file(path))
        bad = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
        if bad:
            raise BackboneError(
                f"{path.name} holds numbers that are not finite ({', '.join(bad[:3])}); a network "
                "cannot compute with them: give the weights of before training failed"
            )
        return cls(path, sources.sha256_of(path), state)

    def architectures(self) -> tuple[str, ...]:
        """The usual networks of timm that these weights fit; several may have the same layers."""
        names = next(
            (
                names
                for marker, names in FAMILIES
                if any(re.fullmatch(marker, key) for key in self.state)
            ),
            (),
        )
        return tuple(name for name in names if self._fits(name))

    def _fits(self, architecture: str) -> bool:
        try:
            fitted(self.state, build(architecture), self.path.name, architecture)
        except BackboneError:
            return False
        return True

    def own_size(self, architecture: str) -> int:
        """The input size that the weights were made for, in pixels, as far as they tell."""
        network = build(architecture)
        positions, patch = self.state.get("pos_embed"), self.state.get("patch_embed.proj.weight")
        if positions is not None and patch is not None and positions.ndim == 3:
            tokens = positions.shape[1]
            for prefix in {0, 1, int(getattr(network, "num_prefix_tokens", 0))}:
                side = math.isqrt(max(tokens - prefix, 0))
                if side**2 == tokens - prefix and side:
                    return side * int(patch.shape[-1])
        return int(network.pretrained_cfg["input_size"][1])


def usual_normalisation(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that timm's own weights of a network want."""
    config = build(architecture).pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])


def add_weights(
    file: WeightsFile,
    *,
    name: str,
    architecture: str,
    licence: str,
    pretraining: str = "",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    size: int = 0,
) -> Card:
    """Keep a file's weights as the backbone `name`, and give its card.

    Parameters
    ----------
    architecture
        timm's name of the network.
    licence, pretraining
        Whatever the source says; shown with every result.
    mean, std
        Of RGB in 0..1, as the network wants to see it; what timm's own weights want by default.
    size
        Of the input in pixels; by default what the weights were made for.

    Raises
    ------
    BackboneError
        The name is taken, timm has no such network, the weights are not of it, there is no licence,
        or a number makes no sense.
    StorageError
        They cannot be written.
    """
    check_name(name)
    check_architecture(architecture)
    if not licence.strip():
        raise BackboneError(
            f"{file.path.name} comes without a licence, and whoever uses a model must know it; see "
            "where the file is from and pass it as --licence, such as --licence Apache-2.0"
        )
    usual = usual_normalisation(architecture)
    size = size or file.own_size(architecture)
    card = Card(
        name=architecture,
        source=f"file {file.path.name}, sha256 {file.sha256}",
        licence=_words(licence),
        credit=f"added from {file.path.name}",
        sha256="",
        size=size,
        mean=_rgb(mean or usual[0], "mean", 0.0),
        std=_rgb(std or usual[1], "std", 1e-4),
        alias=name,
        pretraining=_words(pretraining) or "not stated",
    )
    network, usual = _network_at(architecture, size, file), build(architecture)
    state = fitted(file.state, network, file.path.name, architecture, usual)
    card = dataclasses.replace(card, dense="pre_logits.fc1.weight" in state)
    return keep(card, state)


def check_name(name: str) -> None:
    """Refuse a name that cannot be a backbone's, or is one already.

    Raises
    ------
    BackboneError
        The text says which rule it breaks.
    """
    if not re.fullmatch(NAME, name) or name.startswith(HYBRID):
        raise BackboneError(
            f"{name!r} cannot name a backbone: letters, digits, '_', '-' and '.', at most 64, and "
            f"not {HYBRID}… at the beginning; choose another --name"
        )
    if is_added(name):
        raise BackboneError(
            f"a backbone {name!r} was added before; choose another --name, or run: "
            f"medgraft weights remove {name}"
        )
    if name in known_names():
        raise BackboneError(
            f"{name!r} is the name of a network of timm; choose a --name that tells these weights "
            f"from others of it, such as {name}.mine"
        )


def check_architecture(name: str) -> None:
    """Refuse what is not a network of timm.

    Raises
    ------
    BackboneError
        The text has the nearest names.
    """
    import difflib

    known = [*sources.import_timm().list_models(), *ALIASES]
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=5)) or "see `timm.list_models`"
        raise BackboneError(f"timm has no architecture {name!r}; close --architecture: {close}")


def _network_at(architecture: str, size: int, file: WeightsFile) -> Any:
    """The network on the meta device, made for images of `size` px."""
    if not 1 <= size <= LARGEST:
        raise BackboneError(
            f"--input-size {size} makes no sense: pixels, from 1 to {LARGEST}, such as 224"
        )
    dense = any(key in file.state for key in DENSE_LAYERS)
    try:
        network = build(architecture, size, dense=dense)
    except (AssertionError, ValueError) as error:
        raise BackboneError(
            f"{architecture} takes no images of {size} px ({error}); pass an --input-size that is "
            "a multiple of its patches"
        ) from error
    return network


def _rgb(values: Sequence[float], what: str, least: float) -> tuple[float, float, float]:
    good = len(values) == 3 and all(math.isfinite(v) and least <= v <= 1 for v in values)
    if not good:
        raise BackboneError(
            f"--{what} {','.join(map(str, values))} must be three numbers, of red, green and blue, "
            f"from {least:g} to 1 (those of 0..255 divided by 255)"
        )
    red, green, blue = map(float, values)
    return red, green, blue


def _words(text: str) -> str:
    """One line of text without what a terminal could take for a command."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > WORDS:
        raise BackboneError(f"{line[:40]!r}… has {len(line)} characters; say it in {WORDS}")
    return line
