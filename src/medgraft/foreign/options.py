"""What has to be known of a model that is not medgraft's, beside the model itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.results.foreign_model import OutputKind
from medgraft.types import ResizeRule

CHANNELS = ("rgb", "bgr", "grey")
LARGEST_SIDE = 4096  # pixels
# Of values in 0..1: (value - mean) / std.
NORMALIZE: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
    "0..255": ((0.0,), (1 / 255,)),
}


@dataclass(frozen=True, slots=True)
class ForeignOptions:
    """How a model is asked. What is '' or 0 is read from the model, or asked for.

    input_size : side of the square canvases in pixels. normalize : `imagenet`, `0..1`, `-1..1`,
    `0..255`, or MEAN/STD of values in 0..1, one number or one a channel with commas. channels :
    their order, or grey. crop_pct : keep the middle of the resized image, this share of its side,
    as timm's and torchvision's evaluation does (224 of 256: 0.875). classes : names in the order of
    the outputs. positive : of two classes, the one that the threshold is about; the data's by
    default. outputs : logits or probabilities. output_name : which output is read. threshold : on
    the positive class's probability. network : whose weights a checkpoint holds.
    timeout : seconds that a command or a server may take for one call.

    Raises
    ------
    ForeignModelError
        A value is none of those that there are.
    """

    input_size: int = 0
    normalize: str = ""
    channels: str = ""
    resize: ResizeRule = "squash"
    crop_pct: float = 1.0
    classes: tuple[str, ...] = ()
    positive: str = ""
    outputs: OutputKind | str = ""
    output_name: str = ""
    threshold: float = 0.5
    network: str = ""
    timeout: float = 300.0

    def __post_init__(self) -> None:
        _one_of("--channels", self.channels, ("", *CHANNELS))
        _one_of("--resize", self.resize, get_args(ResizeRule))
        _one_of("--outputs", self.outputs, ("", *get_args(OutputKind)))
        _between("--input-size", self.input_size, 0, LARGEST_SIDE)
        _between("--crop-pct", self.crop_pct, 0.1, 1)
        _between("--threshold", self.threshold, 0, 1)
        _between("--model-timeout", self.timeout, 0.1, 86400)
        if self.normalize:
            normalisation_of(self.normalize)
        if len(set(self.classes)) != len(self.classes):
            raise ForeignModelError(
                f"--classes {','.join(self.classes)} names a class twice; name each output once"
            )
        if self.resize == "pad" and self.crop_pct < 1:
            raise ForeignModelError(
                "--crop-pct keeps the middle of an image, and --resize pad all of it; pass one"
            )

    def side(self, why: str) -> int:
        """The side that was asked for.

        Raises
        ------
        AmbiguousModelError
            None was, and nothing tells it.
        """
        if not self.input_size:
            raise AmbiguousModelError(
                f"{why}, so the size of its images cannot be read; pass --input-size, in pixels, "
                "such as --input-size 224"
            )
        return self.input_size


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation of values in 0..1, of one channel or of each."""

    text: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, channels) uint8 to the same in float32.

        Raises
        ------
        ForeignModelError
            It has another number of channels than the images.
        """
        channels = images.shape[-1]
        for values in (self.mean, self.std):
            if len(values) not in (1, channels):
                raise ForeignModelError(
                    f"--normalize {self.text} is of {len(values)} channels, and the model reads "
                    f"{channels}; give one number, or {channels}"
                )
        scale = 1 / (255 * np.array(self.std, np.float64))
        shift = np.array(self.mean, np.float64) / np.array(self.std, np.float64)
        return (images * scale.astype(np.float32) - shift.astype(np.float32)).astype(np.float32)


def normalisation_of(text: str) -> Normalisation:
    """What `--normalize` says.

    Raises
    ------
    ForeignModelError
        It is neither a name nor numbers.

    Examples
    --------
    >>> normalisation_of("0.5/0.25").std
    (0.25,)
    """
    if text in NORMALIZE:
        return Normalisation(text, *NORMALIZE[text])
    parts = [part.split(",") for part in text.split("/")]
    try:
        mean, std = (tuple(float(word) for word in part) for part in parts)
    except ValueError:
        mean = std = ()
    if not mean or min(std, default=0) <= 0 or not np.isfinite([*mean, *std]).all():
        raise ForeignModelError(
            f"--normalize {text!r} is none of {', '.join(NORMALIZE)}, nor MEAN/STD of values in "
            "0..1 such as 0.485,0.456,0.406/0.229,0.224,0.225"
        )
    return Normalisation(text, mean, std)


def asked_normalisation(options: ForeignOptions, name: str) -> Normalisation:
    """The one that was asked for.

    Raises
    ------
    AmbiguousModelError
        None was, and a network that reads floats does not tell.
    """
    if not options.normalize:
        raise AmbiguousModelError(
            f"{name} reads floating-point images, and no file says how they were normalised when "
            "it was trained; pass --normalize imagenet (ImageNet's mean and std), 0..1 (ToTensor "
            "alone), -1..1, 0..255, or MEAN/STD such as 0.5,0.5,0.5/0.25,0.25,0.25"
        )
    return normalisation_of(options.normalize)


def classes_of(text: str) -> tuple[str, ...]:
    """The names of `--classes`, with commas."""
    return tuple(word.strip() for word in re.split(r"\s*,\s*", text.strip()) if word.strip())


def _one_of(flag: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        choice = ", ".join(word for word in known if word)
        raise ForeignModelError(f"{flag} {value!r} does not exist; choose {choice}")


def _between(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ForeignModelError(f"{flag} {value:g} is not between {low:g} and {high:g}")
