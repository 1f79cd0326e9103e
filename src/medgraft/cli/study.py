"""`medgraft study`: what is compared, on which data, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import (
    check_places,
    command_line,
    extractor_of,
    load_any,
    numbers_of,
    preset_asked,
    running,
    seconds_of,
    split_words,
    training_settings,
    with_masks_of,
)
from medgraft.cli.options import (
    ADDRESS,
    ALPHA,
    CACHE,
    DATA,
    ENGINE,
    MASKS,
    POSITIVE,
    QUIET,
    RECIPE,
    RUNNER,
    SAFE,
    SEED,
    SUBGROUPS,
    TRAINING,
    WORKERS,
)
from medgraft.cli.panel import ONE_SCENARIO, UNCERTAIN, say_panel, study_findings
from medgraft.cli.program import app
from medgraft.cli.reading_options import NOTHING, Reading, reads_data
from medgraft.cli.runs import check_server, log_finished
from medgraft.scenario import HEADS, MODALITIES


@app.command()
@reads_data
def study(
    data: DATA,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="The folder that is written.")
    ] = Path("medgraft-run"),
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A pretrained network (medgraft backbones lists those here); may be repeated. "
            "Without it: EfficientNet-lite0, and on few images VGG-16 beside it if installed.",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|hub",
            help="Weights of the backbone: a file, or hub to download timm's. Those that came by "
            "pip need none.",
        ),
    ] = "",
    families: Annotated[
        str,
        typer.Option(
            metavar="probe,vlad,…",
            help="Which kinds of scenarios are compared, with commas: probe (CNN codes of a layer "
            "and a head; the default), multiscale (several input sizes), vlad (encoded "
            "descriptors), finetune (the network trained again), ensemble (a stack of the frozen "
            "ones), hybrid (VGG's first blocks, then light trained ones; --backbone hybrid_vgg16). "
            "auto, the default with --budget: what is worth the time.",
        ),
    ] = "",
    heads: Annotated[
        str,
        typer.Option(
            metavar="svm,logistic,…",
            help=f"Classifiers on the codes: {', '.join(HEADS)}; by default svm,logistic,knn, and "
            "of grades ordinal too.",
        ),
    ] = "",
    preprocess: Annotated[
        str,
        typer.Option(
            metavar="raw,clahe,…",
            help="Images as they are (raw), with local contrast evened (clahe), or the codes of "
            "both joined (raw+clahe). raw,clahe compares the mean of the two, also.",
        ),
    ] = "raw",
    sizes: Annotated[
        str,
        typer.Option(
            metavar="224,544,864",
            help="Input sizes of multiscale, in pixels; by default those that the images hold.",
        ),
    ] = "",
    encoders: Annotated[
        str,
        typer.Option(
            metavar="k64,fisher16,…",
            help="How vlad encodes: k64 (VLAD with 64 centres), fisher16, bilinear2048, "
            "pyramid1-2-4; k64.pca64.white128.hard says more.",
        ),
    ] = "k16,k64",
    augment: Annotated[
        str,
        typer.Option(
            metavar="PRESET",
            help=f"Also compare codes of augmented views, as this preset makes them: "
            f"{', '.join(MODALITIES)}, or auto with --modality. medgraft views shows them.",
        ),
    ] = "",
    views: Annotated[
        int,
        typer.Option(metavar="N", help="With --augment: views of each image, itself included."),
    ] = 4,
    modality: Annotated[
        str,
        typer.Option(
            metavar="xray|…",
            help=f"What the images are: {', '.join(MODALITIES)}. The audit then knows which "
            "places are no evidence, such as the corners of a film.",
        ),
    ] = "",
    masks: MASKS = None,
    audit_evidence: Annotated[
        bool,
        typer.Option(
            "--audit/--no-audit",
            help="Test which places decide, and do not recommend what looks where it should not.",
        ),
    ] = True,
    audit_pairs: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Pairs of images whose regions the audit exchanges; more take longer and see "
            "smaller effects.",
        ),
    ] = 80,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve/--no-learning-curve",
            help="Fit heads again on fewer patients, to say what twice as many would bring.",
        ),
    ] = True,
    depths: Annotated[
        str,
        typer.Option(
            metavar="best,blocks.4,input",
            help="From which layer on networks are trained, with commas: best finds it out, input "
            "trains all of them.",
        ),
    ] = "best",
    recipe: RECIPE = "",
    training: TRAINING = "",
    training_size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS",
            min=0,
            help="Input size in training; the network's own by default, or the largest that "
            "--budget has time for.",
        ),
    ] = 0,
    budget: Annotated[
        str,
        typer.Option(
            metavar="30m|2h",
            help="How long the study may take. What is worth it in that time is run, unless "
            "--families says what. Of several findings: what is left of it is for audits.",
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With --budget: time a few images, show the plan, and end.",
        ),
    ] = False,
    validate: Annotated[
        str,
        typer.Option(
            metavar="auto|plain|changed",
            help="What scenarios are judged on: images as they are (plain), or changed views, in "
            "which who goes by exposure, sharpness or frame fails. auto: changed where networks "
            "are trained and these tell the classes apart.",
        ),
    ] = "auto",
    site: Annotated[
        str,
        typer.Option(
            metavar="COLUMN|regex:PATTERN",
            help="What names the hospital or scanner: each is judged by models of the others, and "
            "the worst is shown. regex: searches the paths.",
        ),
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            metavar="auroc|…",
            help="What scenarios are chosen by, such as auroc or balanced_accuracy; by default "
            "auroc, and of grades quadratic_kappa.",
        ),
    ] = "",
    alpha: ALPHA = 0.1,
    subgroups: SUBGROUPS = "",
    resize: Annotated[
        str,
        typer.Option(
            metavar="squash|crop|pad",
            help="How an image becomes square: squash cuts nothing off and adds no bars.",
        ),
    ] = "squash",
    reading: Reading = NOTHING,
    positive: POSITIVE = None,
    uncertain: UNCERTAIN = "unknown",
    one_scenario: ONE_SCENARIO = None,
    seed: SEED = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was stopped, to the same numbers."),
    ] = False,
    mlflow: Annotated[
        str,
        typer.Option(
            metavar="URI",
            help="Log the finished run to this MLflow server, without images and their names (pip "
            "install 'medgraft[mlflow]'). medgraft runs log does it later.",
        ),
    ] = "",
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    runner: RUNNER = "local",
    address: ADDRESS = "",
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Find out which way of transferring a network works on DATA, and leave a report and a model.

    The test split (an official one, or a fifth of the images set aside, patients whole) is looked
    at once, after everything has been chosen on the other images. RUN then holds report.html,
    result.json, predictions.parquet and model/, which predict, explain and evaluate take as MODEL.
    Of several findings an image each is a study of its own on the same folds.
    """
    from medgraft.panel import Panel
    from medgraft.run_folders import study_to_folder
    from medgraft.studies.options import StudyOptions
    from medgraft.studies.preview import preview
    from medgraft.studies.run_lock import locked
    from medgraft.studies.store import check_place

    options = StudyOptions(
        backbones=tuple(backbone or ()),
        families=split_words(families),
        heads=split_words(heads),
        metric=metric,
        preprocess=split_words(preprocess),
        sizes=numbers_of(sizes),
        encoders=split_words(encoders),
        augment=preset_asked(augment, modality),
        views=views,
        depths=split_words(depths),
        training=training_settings(recipe, training),
        training_size=training_size,
        budget=seconds_of(budget),
        validate=validate,
        site=site,
        alpha=alpha,
        subgroups=split_words(subgroups),
        resize=resize,  # type: ignore[arg-type]
        seed=seed,
        audit=audit_evidence,
        audit_pairs=audit_pairs,
        modality=modality,
        masks=masks is not None,
        learning_curve=learning_curve,
    )
    check_places(cache, folder=None if dry_run else out)
    if not dry_run and out.exists():
        with locked(out):  # before images are read
            check_place(out, resume=resume)
    if mlflow:
        check_server(mlflow)
    progress = terminal.progress(quiet)
    read = load_any(data, progress, reading, uncertain=uncertain, positive=positive)
    extractor = extractor_of(engine, workers, cache, progress)
    if weights:
        extractor.weights = dict.fromkeys(options.networks, weights)
    if isinstance(read, Panel):
        if masks is not None or mlflow or dry_run:
            raise typer.BadParameter(
                "--masks, --dry-run and --mlflow are for one question, not for several"
            )
        say_panel(read, progress)
        with running(runner, address, extractor):
            study_findings(
                read, options, extractor, out, one_scenario=one_scenario, resume=resume, quiet=quiet
            )
        return
    table = with_masks_of(read, masks)
    terminal.say_table(table, progress)
    if dry_run:
        terminal.show_plan(*preview(table, options, extractor))
        return
    with running(runner, address, extractor):
        finished = study_to_folder(
            table, options, extractor, out, resume=resume, command=command_line(table)
        )
    if not quiet:
        terminal.show_study(finished, out, extractor)
    if mlflow:
        log_finished(out, mlflow)
