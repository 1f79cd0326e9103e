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
        help="A folder of images in class folders (also below patients, in splits …: --layout), a "
        "table that lists images, or a MedMNIST .npz.",
        show_default=False,
    ),
]
MODEL = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="The folder of a finished study, its folder `model`, or a .medgraft file.",
        show_default=False,
    ),
]
POSITIVE = Annotated[
    str | None,
    typer.Option("--positive", metavar="CLASS", help="The class that sensitivity is about."),
]
ENGINE = Annotated[
    str,
    typer.Option(
        "--engine", help="openvino (fast on a CPU) or torch (GPU).", rich_help_panel="Machine"
    ),
]
WORKERS = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Threads; all cores by default.", rich_help_panel="Machine"
    ),
]
SAFE = Annotated[
    bool,
    typer.Option(
        "--safe",
        callback=_decode_safely,
        help="Decode JPEG and PNG, too, in processes of their own that are killed where a file "
        "makes them hang, grow or crash. All other formats always are. For files of strangers.",
        rich_help_panel="Machine",
    ),
]
RUNNER = Annotated[
    str,
    typer.Option(
        "--runner",
        metavar="local|ray",
        help="ray: codes and scenarios are computed by a Ray cluster, the same numbers (extra "
        "ray; docs/scaling.md).",
        rich_help_panel="Machine",
    ),
]
ADDRESS = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Of the Ray cluster, which must reach the images and --cache by the same paths; one "
        "of this machine alone is started by default.",
        rich_help_panel="Machine",
    ),
]
CACHE = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where codes are kept between runs; see `medgraft cache`.",
        rich_help_panel="Machine",
    ),
]
COMPARED, TRAINED = "What is compared", "Networks that are trained"
AUDITED = "What it looks at"
MASKS = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        metavar="DIR",
        help="Masks of where the evidence lies (lungs, lesions), named like their images. What is "
        "outside of them is declared to be no evidence.",
        rich_help_panel=AUDITED,
    ),
]
RECIPE = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="classic",
        help="A named recipe of training: classic is log loss, Adam at 1e-6, at most 300 epochs, "
        "patience 10.",
        rich_help_panel=TRAINED,
    ),
]
TRAINING = Annotated[
    str,
    typer.Option(
        "--training",
        metavar="rate=1e-4,epochs=5",
        help="Settings of training that differ from the recipe's, with commas; deploy=distilled "
        "uses one network that learned what those of the folds answer, in one pass an image.",
        rich_help_panel=TRAINED,
    ),
]
CLASS_SHARES = Annotated[
    str,
    typer.Option(
        "--class-shares",
        metavar="training|estimate|0.3,0.7",
        help="Also give the answers for classes that are as common as said, or as estimated from "
        "these images without their labels (EM of Saerens). They stand beside the usual ones and "
        "never replace them.",
    ),
]
_ALPHA = typer.Option(
    "--alpha",
    metavar="SHARE",
    help="The share of each class that its prediction sets may miss, 0.1 if nothing is said; a set "
    "is the label and every class that cannot be left out.",
)
ALPHA = Annotated[float, _ALPHA]
ALPHA_USED = Annotated[float | None, _ALPHA]
UNLIKE_RATE = Annotated[
    float | None,
    typer.Option(
        "--unlike-rate",
        metavar="SHARE",
        help="The share of patients like those learned from who may have an image that is called "
        "unlike them by mistake, 0.05 if nothing is said.",
    ),
]
SENSITIVITY = Annotated[
    float | None,
    typer.Option(
        "--sensitivity",
        metavar="SHARE",
        help="Label at the threshold that finds such a share of the positive class, such as 0.95.",
    ),
]
SPECIFICITY = Annotated[
    float | None,
    typer.Option(
        "--specificity",
        metavar="SHARE",
        help="Label at the threshold that calls such a share of the other class negative.",
    ),
]
SUBGROUPS = Annotated[
    str,
    typer.Option(
        "--subgroups",
        metavar="sex,age",
        help="Columns of the data, with commas, by whose values the figures are shown too; numbers "
        "of more than 12 values in quarters.",
    ),
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, no remarks.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
