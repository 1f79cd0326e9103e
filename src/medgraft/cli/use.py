"""Commands that use a saved classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.foreign_options import (
    NOT_FOREIGN,
    RUN_OR_DATA,
    Foreign,
    asks_a_foreign_model,
    model_and_data,
)
from medgraft.cli.option_parsing import (
    check_places,
    command_line,
    extractor_of,
    load_table,
    named,
    split_words,
)
from medgraft.cli.options import (
    ALPHA_USED,
    AS_JSON,
    CACHE,
    CLASS_SHARES,
    DATA,
    ENGINE,
    MODEL,
    QUIET,
    SAFE,
    SEED,
    SENSITIVITY,
    SPECIFICITY,
    SUBGROUPS,
    UNLIKE_RATE,
    WORKERS,
)
from medgraft.cli.panel import evaluate_findings, predict_findings
from medgraft.cli.program import app
from medgraft.cli.reading_options import NOTHING, Reading, reads_data_for_a_model
from medgraft.scenario import MODALITIES


@app.command()
def predict(
    model: MODEL,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…", help="Images, folders of images, or patterns like 'a*.png'."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Also write a CSV: a row an image, with the reason where it could not be read.",
        ),
    ] = None,
    class_shares: CLASS_SHARES = "training",
    alpha: ALPHA_USED = None,
    unlike_rate: UNLIKE_RATE = None,
    sensitivity: SENSITIVITY = None,
    specificity: SPECIFICITY = None,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
) -> None:
    """Use MODEL on new images: label, probabilities, and whether they are unlike all learned from.

    Beside the label stands the set of classes that cannot be excluded. An image that cannot be read
    gets its reason instead; the others are not held up. Of a study of several findings: which are
    there, and the probability of each.
    """
    from medgraft.bundle.class_shares import TRAINING, adjust_rows
    from medgraft.bundle.model import load_model
    from medgraft.bundle.panel import panel_models
    from medgraft.bundle.predict import predict_files, write_predictions
    from medgraft.bundle.prediction_sets import with_sets
    from medgraft.bundle.unlike import UnlikeJudge
    from medgraft.bundle.wished_operating import at_wish

    check_places(cache, file=out)
    if models := panel_models(model):
        asked = (alpha, unlike_rate, sensitivity, specificity)
        one_question = class_shares != TRAINING or any(value is not None for value in asked)
        extractor = extractor_of(engine, workers, cache, terminal.progress(True))
        predict_findings(models, paths, extractor, out, as_json=as_json, refused=one_question)
        return
    loaded = load_model(model, engine=engine, workers=workers, cache=cache)
    fitted = at_wish(model, loaded, sensitivity, specificity)
    extractor = extractor_of(engine, workers, cache, terminal.progress(True))
    strange = UnlikeJudge.of(model, fitted, extractor, unlike_rate)
    found = predict_files(fitted, paths, strange)
    rows = with_sets(model, fitted, found, alpha)
    shares = None
    if class_shares != TRAINING:
        rows, shares = adjust_rows(model, fitted, rows, class_shares)
    if out is not None:
        write_predictions(out, rows, fitted.classes)
    unread = all(row.answer is None for row in rows)
    if as_json:
        images = [row.to_json(adjusted=shares is not None) for row in rows]
        terminal.show_json(
            images if shares is None else {"class_shares": shares.json(), "images": images}
        )
    else:
        terminal.show_predictions(rows, fitted.classes)
        if shares is not None:
            terminal.show_class_shares(shares)
    if unread:
        raise typer.Exit(4)


@app.command()
@reads_data_for_a_model
def evaluate(
    model: MODEL,
    data: DATA,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Also write a page and a JSON file here."),
    ] = None,
    class_shares: CLASS_SHARES = "training",
    alpha: ALPHA_USED = None,
    unlike_rate: UNLIKE_RATE = None,
    sensitivity: SENSITIVITY = None,
    specificity: SPECIFICITY = None,
    subgroups: SUBGROUPS = "",
    reading: Reading = NOTHING,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Judge MODEL on labelled images of another place (external validation), by image and patient.

    Every image of DATA is judged, whatever its split, but for those that MODEL learned from, which
    it knows again under any name; nothing is chosen or refitted. Of a study of several findings
    each that DATA names is judged where it is known.
    """
    from medgraft.bundle.class_shares import TRAINING
    from medgraft.bundle.external_validation import Asked, evaluate_model, write_external
    from medgraft.bundle.panel import panel_models

    check_places(cache, folder=out)
    progress = terminal.progress(quiet or as_json)
    asked = Asked(alpha, unlike_rate, sensitivity, specificity, split_words(subgroups))
    extractor = extractor_of(engine, workers, cache, progress)
    if models := panel_models(model):
        evaluate_findings(
            models, model, data, reading, extractor, out, asked,
            as_json=as_json, refused=class_shares != TRAINING,
        )  # fmt: skip
        return
    table = load_table(data, progress, reading, one_class=True)
    found = evaluate_model(model, table, extractor, class_shares, asked)
    written = (
        write_external(
            out,
            found,
            model=named(model, table),
            data=named(data, table),
            command=command_line(table),
        )
        if out is not None
        else ()
    )
    if as_json:
        terminal.show_json(found.json())
        return
    terminal.show_external(found)
    terminal.show_written(written)


@app.command()
@reads_data_for_a_model
@asks_a_foreign_model
def audit(
    model: RUN_OR_DATA = "",
    data: Annotated[str, typer.Argument(metavar="DATA", show_default=False)] = "",
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
            metavar="xray|…",
            help=f"What the images are ({', '.join(MODALITIES)}): it names the places "
            "that are no evidence, such as the corners of an X-ray.",
        ),
    ] = "",
    max_images: Annotated[
        int | None,
        typer.Option(
            "--max-images",
            metavar="N",
            help="Images audited at most; 600 by default, or 60 of each class if more.",
            min=1,
        ),
    ] = None,
    pairs: Annotated[
        int,
        typer.Option(
            metavar="N", help="Pairs of patients whose regions are exchanged, at most.", min=1
        ),
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
    reading: Reading = NOTHING,
    foreign: Foreign = NOT_FOREIGN,
    seed: SEED = 0,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Find out which places of the images a model's decisions rest on, and whether they may.

    Of a study's model: medgraft audit RUN DATA. Of any other: medgraft audit DATA --model.

    Regions are exchanged between images of different classes, and the labels that follow are
    counted. DATA are labelled images that the model has not learned from; of a test split only its
    images are used.
    """
    from medgraft.audit.evidence import AuditOptions
    from medgraft.bundle.audit_model import audit_model, audit_to_folder
    from medgraft.foreign.open_model import check_file

    unwanted = {"": (), "fail": ("FAIL",), "warn": ("FAIL", "WARN", "INCONCLUSIVE")}
    if fail_on not in unwanted:
        raise typer.BadParameter(f"--fail-on takes fail or warn, not {fail_on!r}")
    judged, data, asked = model_and_data(model, data, foreign)
    check_places(cache, folder=out)
    check_file(judged)
    progress = terminal.progress(quiet or as_json)
    table = load_table(data, progress, reading, one_class=True)
    options = AuditOptions(modality=modality, images=max_images or 0, pairs=pairs, seed=seed)
    found = audit_model(
        judged,
        table,
        options,
        masks=masks,
        extractor=extractor_of(engine, workers, cache, progress),
        foreign=asked,
    )
    written = (
        audit_to_folder(
            found,
            out,
            model=found.foreign.name if found.foreign else named(model, table),
            data=named(data, table),
            command=command_line(table),
        )
        if out is not None
        else ()
    )
    if as_json:
        terminal.show_json(found.json())
    else:
        terminal.show_audit(found)
        terminal.show_written(written)
    if found.audit.result.verdict in unwanted[fail_on]:
        raise typer.Exit(3)


@app.command()
def explain(
    model: MODEL,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE…", help="Images, or folders of them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is written.")
    ] = Path("medgraft-explain"),
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|gradcam|…",
            help="How a map is made: auto (one map, by the most exact way this model has); "
            "gradcam, gradcam++, hirescam, eigencam, layercam or scorecam (one at each layer; "
            "gradcam where --taps is given); occlusion (works with any model, slow).",
        ),
    ] = "",
    taps: Annotated[
        str,
        typer.Option(
            metavar="block1,…",
            help="Layers to look at, with commas; with --method gradcam block 1 to 5 by default.",
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="The class explained; the predicted one by default."),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Show instead what each block of the network singles out in the image."
        ),
    ] = False,
    cache: CACHE = None,
    safe: SAFE = False,
) -> None:
    """Show where in an image MODEL's score comes from: one strip an image.

    Under the image stands what the model says, and whether that is right where the image lies in a
    folder named after its class.
    With --layers: the strongest channels of each block, from edges in block 1 to parts in block 5.
    An image that cannot be read is named with its reason; the others are not held up. Of a study of
    several findings: where each one's comes from, in a folder for each.
    """
    from medgraft.bundle.explain import explain_files, explain_layers
    from medgraft.bundle.panel import panel_models
    from medgraft.data.listing import shown
    from medgraft.errors import ScenarioError

    if layers and (taps or target or method):
        raise ScenarioError(
            "--layers shows the channels of each block, whatever the class; leave --method, --taps "
            "and --target away"
        )
    check_places(cache, folder=out)
    several = panel_models(model)
    for name, folder in (several or {"": model}).items():
        where = out / folder.name if several else out
        if layers:
            written, skipped = explain_layers(folder, images, where, cache=cache)
        else:
            written, skipped = explain_files(
                folder, images, where, method=method, taps=split_words(taps),
                target=target or name or None, cache=cache,
            )  # fmt: skip
        for path in written:
            typer.echo(shown(str(path)))
    terminal.show_skipped(skipped)
