"""What every way of asking a model comes down to: images in, a row of numbers each out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels


class Answerer(Protocol):
    """A model that is asked, however it is.

    name : for texts. side : of the canvases it gets, in pixels. batch : images of one call at most.
    normalize, channels, output, network : as in `ForeignModel`. named : its last answer named the
    classes. outputs : what its last answer called its numbers, or ''.
    """

    kind: ForeignKind
    name: str
    side: int
    batch: int
    normalize: str
    channels: str
    output: str
    network: str
    named: bool
    outputs: OutputKind | str

    def __call__(self, images: Pixels) -> Floats:
        """(n, k) numbers of n images (n, side, side, 3) uint8 RGB, n at most `batch`.

        Raises
        ------
        ForeignModelError
            It does not answer, or not with a row for each image.
        """
        ...


def in_channels(images: Pixels, channels: str) -> Pixels:
    """(n, height, width, 3) RGB to the order asked for; (n, height, width, 1) of `grey`."""
    if channels == "bgr":
        return np.ascontiguousarray(images[..., ::-1])
    if channels == "grey":
        return np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in images])[..., None]
    return images


def to_array(raw: Any) -> Floats:
    """Numbers of whatever holds them: an array, a tensor, a list.

    Raises
    ------
    ValueError, TypeError
        They are no numbers in a rectangle.
    """
    if hasattr(raw, "detach"):
        raw = raw.detach().cpu().float().numpy()
    with np.errstate(invalid="ignore"):  # NaNs are looked for, and told, by who asks
        return np.asarray(raw, np.float64)


def rows_of(raw: Any, n: int, name: str) -> Floats:
    """(n, k) of what a model answered for n images.

    Raises
    ------
    ForeignModelError
        It is no rectangle of numbers with a row for each image.
    """
    try:
        found = to_array(raw)
    except (ValueError, TypeError) as error:
        raise ForeignModelError(
            f"{name} answered {type(raw).__name__}, which is no table of numbers ({error}); it "
            "should give a row of numbers for each image, one a class"
        ) from error
    if found.ndim == 0 and n == 1:
        found = found.reshape(1)
    if found.ndim == 0 or len(found) != n:
        raise ForeignModelError(
            f"{name} answered an array of shape {found.shape} for {n} images; it should give "
            f"({n}, number of classes): a row for each image, in their order"
        )
    return found.reshape(n, -1)


def read_output(named: Mapping[Any, Any], n_classes: int, asked: str, name: str) -> tuple[str, Any]:
    """The name of the output that is read, of those that a model answered by, and its numbers.

    What holds no numbers is none of them. Errors as of `choose_output`.
    """
    values = {str(key): value for key, value in named.items()}
    shapes = {key: shape[1:] for key, one in values.items() if (shape := _shape_of(one))}
    chosen = choose_output(shapes, n_classes, asked, name)
    return chosen, values[chosen]


def _shape_of(value: Any) -> tuple[int, ...]:
    """That of an array, a tensor or lists; () of what is no array of numbers."""
    try:
        return tuple(value.shape) if hasattr(value, "shape") else to_array(value).shape
    except (ValueError, TypeError):
        return ()


def choose_output(
    shapes: Mapping[str, Sequence[int | None]], n_classes: int, asked: str, name: str
) -> str:
    """Which of a model's outputs is read: the one asked for, or the only one that fits.

    shapes : of each output, without the batch; None where a side is not fixed.

    Raises
    ------
    AmbiguousModelError
        Several fit.
    ForeignModelError
        None does, or there is none of that name.
    """
    listed = ", ".join(f"{key} {_shape(shape)}" for key, shape in shapes.items())
    if asked:
        if asked not in shapes:
            raise ForeignModelError(f"{name} has no output {asked!r}; there are: {listed}")
        return asked
    if len(shapes) == 1:
        return next(iter(shapes))
    fit = [key for key, shape in shapes.items() if _fits(shape, n_classes)]
    if len(fit) == 1:
        return fit[0]
    if fit:
        raise AmbiguousModelError(
            f"{name} has several outputs that could be those of {n_classes} classes ({listed}); "
            f"pass --output-name, such as --output-name {fit[0]}"
        )
    raise ForeignModelError(
        f"none of the outputs of {name} is of {n_classes} classes ({listed}); pass --classes with "
        "the names of all its outputs, in their order"
    )


def _fits(shape: Sequence[int | None], n_classes: int) -> bool:
    if None in shape:
        return True
    size = int(np.prod([side or 0 for side in shape]))
    return size == n_classes or (size == 1 and n_classes == 2)


def _shape(shape: Sequence[int | None]) -> str:
    return f"(n, {', '.join('?' if side is None else str(side) for side in shape)})"
