"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def _decode_safely(yes: bool) -> bool:
    """Say it to this process, because images are decoded in many places."""
    # A command that fails before it decodes does not load what decodes.
    if yes or "medgraft.data.pool.pool" in sys.modules:
        from medgraft.data.pool.pool import decode_every_file_in_workers

        decode_every_file_in_workers(yes)
    return yes


DATA = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of images in class folders (patients and splits as further folders are "
        "found, too), a table that lists images, or a MedMNIST .npz.",
        show_default=False,
    ),
]
MODEL = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="The folder that a study left, or a .medgraft file.",
        show_default=False,
    ),
]
POSITIVE = Annotated[
    str | None,
    typer.Option(
        "--positive",
        metavar="CLASS",
        help="The class that sensitivity is about, such as pneumonia. Without it: the one that is "
        "not called normal, healthy or the like.",
    ),
]
ENGINE = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="openvino|torch",
        help="What computes: openvino is fast on a CPU, torch uses a GPU.",
    ),
]
WORKERS = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Threads; all cores by default."),
]
SAFE = Annotated[
    bool,
    typer.Option(
        "--safe",
        callback=_decode_safely,
        help="For files of strangers: decode JPEG and PNG, too, in processes that are killed where "
        "a file makes them hang, grow or crash. All other formats always are.",
    ),
]
RUNNER = Annotated[
    str,
    typer.Option(
        "--runner",
        metavar="local|ray",
        help="ray: compute on a Ray cluster, to the same numbers (pip install 'medgraft[ray]').",
    ),
]
ADDRESS = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="With --runner ray: the cluster, which must reach the images and --cache by the same "
        "paths. Without it one is started on this machine.",
    ),
]
CACHE = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where what the network saw in each image is kept, so that no run computes it again.",
    ),
]
MASKS = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        metavar="DIR",
        help="A folder of masks of where the evidence lies (lungs, lesions), named like their "
        "images. What is outside of them counts as no evidence.",
    ),
]
RECIPE = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="classic",
        help="How networks are trained: classic is log loss, Adam at 1e-6, at most 300 epochs, "
        "patience 10.",
    ),
]
TRAINING = Annotated[
    str,
    typer.Option(
        "--training",
        metavar="rate=1e-4,epochs=5",
        help="What differs from the recipe, with commas. deploy=distilled: one network that "
        "learned what those of the folds answer, and is as many times faster.",
    ),
]
CLASS_SHARES = Annotated[
    str,
    typer.Option(
        "--class-shares",
        metavar="training|estimate|0.3,0.7",
        help="How common the classes are here, in their order: probabilities for that are given "
        "beside the usual ones. estimate: as these images seem to have them, without labels.",
    ),
]
_ALPHA = typer.Option(
    "--alpha",
    metavar="SHARE",
    help="A prediction set holds the label and every class that cannot be excluded; this share of "
    "each class may be missed, 0.1 if nothing is said.",
)
ALPHA = Annotated[float, _ALPHA]
ALPHA_USED = Annotated[float | None, _ALPHA]
UNLIKE_RATE = Annotated[
    float | None,
    typer.Option(
        "--unlike-rate",
        metavar="SHARE",
        help="An image may be called unlike all learned from by mistake in this share of patients, "
        "0.05 if nothing is said.",
    ),
]
SENSITIVITY = Annotated[
    float | None,
    typer.Option(
        "--sensitivity",
        metavar="SHARE",
        help="Set the threshold so that this share of the positive class is found, such as 0.95.",
    ),
]
SPECIFICITY = Annotated[
    float | None,
    typer.Option(
        "--specificity",
        metavar="SHARE",
        help="Set the threshold so that this share of the other class is called negative.",
    ),
]
SUBGROUPS = Annotated[
    str,
    typer.Option(
        "--subgroups",
        metavar="sex,age",
        help="Columns of the table, with commas: the figures are also shown by their values "
        "(numbers of more than 12 values by quarters).",
    ),
]
SEED = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Same seed, same numbers.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no remarks.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
