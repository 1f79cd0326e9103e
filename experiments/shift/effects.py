"""What moves AUROC on kinds of X-rays that training has not seen? Writes results/effects.jsonl.

`python experiments/shift/effects.py` trains what the file lacks, one line a cell, so that it can be
killed and called anew; `shift_page.py` writes docs/results/shift.md from it. Each cell is one
training of everything in lite0 on about `MOST` development images of chest_xray, in which one thing
differs from `BASE`, or a frozen probe of the same images. It judges what none of them learned from:
viral pneumonia, where only bacterial was learned; the sharpest tenth; 600 X-rays that others made
of the same films (`chest_xray_aspect256`); and these with planted shifts. No official test split is
looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from scipy.special import logit

import medgraft
from medgraft.data.augment import FIRST_VIEW, PRESETS, SAME, Preset, View, apply, draw, judging_view
from medgraft.data.split import Development, holdout, make_folds
from medgraft.files import write_json
from medgraft.learn.checkpoint import State, mean_state
from medgraft.learn.fast_steps import half_precision
from medgraft.learn.finetune import Training
from medgraft.learn.finetune_setup import HOLDOUT, VIEWS, FinetuneSetup
from medgraft.learn.fit import fit
from medgraft.learn.inputs import Chain, ComputedMaps, Images, Inputs
from medgraft.scenario import INPUT, Scenario
from medgraft.terminal import progress
from medgraft.training_recipe import Recipe
from medgraft.types import Canvas, Edit, Floats, ImageTable

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.kinds import kinds_of
from shift.planted import PLANTED
from shift.sources import SHARED, Pair, processed, thinned

RESULTS = Path(__file__).parents[1] / "results" / "effects.jsonl"
DESIGN = Path(__file__).parents[1] / "results" / "effects_design.json"
MOST = 1600  # images learned from, about
VIRAL = 800  # images that judge a virus, about
SEEDS = (0, 1, 2)
LITE0 = "tf_efficientnet_lite0"
STRONG = replace(PRESETS["strong"], zoom=(0.9, 1.5))  # as it was before this table
PRECISION: Literal["f32", "bf16"] = "bf16" if half_precision() else "f32"  # as in a study
SHORT = Recipe(epochs=5, steps=0, patience=0, probe=False, precision=PRECISION)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is trained and asked.

    sizes : of the input, and the epoch with which each ends. preset : of training views. tta :
    views of an image whose scores are averaged, the image itself and mild ones. last : epochs whose
    weights are averaged in the end, 1 being the last alone. depth : from which layer on it is
    trained; behind a frozen trunk four views of an image take turns, as kept maps do. stop : by
    which images, held out of those learned from, the best epoch is kept and training stops three
    epochs after it: `changed`, in the view of decision 0012, or `plain`; '' keeps the last epoch.
    """

    sizes: tuple[tuple[int, int], ...] = ((160, 5),)
    preset: Preset = STRONG
    recipe: Recipe = SHORT
    tta: int = 1
    last: int = 1
    depth: str = INPUT
    stop: str = ""


BASE = Setting()


def _with(**changes: Any) -> Setting:
    return replace(BASE, recipe=replace(BASE.recipe, **changes))


def _seen(**changes: Any) -> Setting:
    return replace(BASE, preset=replace(STRONG, **changes))


def _longer(epochs: int, setting: Setting, size: int = 160) -> Setting:
    recipe = replace(setting.recipe, epochs=epochs)
    return replace(setting, recipe=recipe, sizes=((size, epochs),))


OUT = (0.65, 1.1)
LARGE = replace(_seen(zoom=OUT), sizes=((224, 5),))
LONG = _longer(9, LARGE, size=224)

SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "base": BASE,
        "zoomed out to .65": _seen(zoom=OUT),
        "zoomed in and out": _seen(zoom=(0.65, 1.5)),
        "224 px": replace(BASE, sizes=((224, 5),)),
        "128 px": replace(BASE, sizes=((128, 5),)),
        "128, then 224 px": replace(BASE, sizes=((128, 3), (224, 5))),
        "nine epochs": _longer(9, BASE),
        "three epochs": _longer(3, BASE),
        "mild views": replace(BASE, preset=PRESETS["natural"]),
        "never quite sharp": _seen(detail=32),
        "no loss of detail": _seen(detail=0),
        "no boxes": _seen(boxes=0),
        "no change of light": _seen(brightness=SAME, contrast=SAME, gamma=SAME),
        "mirrored never": _seen(symmetries=()),
        "rate 2e-4": _with(rate=2e-4),
        "rate 8e-4": _with(rate=8e-4),
        "mixup": _with(mixup=0.3),
        "running mean of weights": _with(ema=0.98),
        "mean of the last three epochs' weights": replace(BASE, last=3),
        "starts as a linear probe": _with(probe=True),
        "four views judged": replace(BASE, tta=4),
        "single precision": _with(precision="f32"),
        "statistics of batch norm kept": _with(norm="frozen"),
        "weight decay .1": _with(decay=0.1),
        "rate falls by .7 a stage": _with(rate_decay=0.7),
        "zoomed out at 224 px": LARGE,
        "zoomed out for nine epochs": _longer(9, _seen(zoom=OUT)),
        "zoomed out without loss of detail": _seen(zoom=OUT, detail=0),
        "zoomed out at 224 px for nine epochs": LONG,
        "zoomed out at 224 px for nine epochs and best in a changed view": replace(
            LONG, stop="changed", recipe=replace(LONG.recipe, patience=3)
        ),
        "zoomed out at 224 px for nine epochs and best as they are": replace(
            LONG, stop="plain", recipe=replace(LONG.recipe, patience=3)
        ),
        "zoomed out at 224 px from blocks.1": replace(LARGE, depth="blocks.1"),
        "zoomed out at 224 px from blocks.4": replace(LARGE, depth="blocks.4"),
        "zoomed out at 224 px and four views judged": replace(LARGE, tta=4),
        "zoomed out at 224 px in two passes": LARGE,  # the others were trained in one
    }
)

REPEATED = (
    "zoomed out at 224 px",
    "zoomed out at 224 px for nine epochs",
    "zoomed out at 224 px from blocks.4",
    "zoomed out at 224 px and four views judged",
    "zoomed out at 224 px in two passes",
)
"""What may be deployed: with every seed. The others, with one, tell large effects alone."""
FROZEN: Mapping[str, str] = MappingProxyType(
    {
        "frozen probe of all stages": f"probe/{LITE0}/stages/logistic",
        "frozen probe of all stages of VGG-16": "probe/vgg16/stages/logistic",
    }
)


@dataclass(frozen=True, slots=True)
class Varied:
    """An `Edit`: a view as `View` makes it, by a preset that has no name."""

    preset: Preset
    view: View

    @property
    def key(self) -> str:
        return f"{self.view.key}.{self.preset}"

    def __call__(self, canvas: Canvas) -> Canvas:
        return replace(
            canvas, pixels=apply(draw(self.view, canvas.pixels, self.preset), canvas.pixels)
        )


@dataclass(frozen=True, eq=False)
class Held:
    """Images that judge: a table, and what is done to their canvases first."""

    name: str
    table: ImageTable
    edit: Edit | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """The images that every training learns from, and those that judge them all."""

    learned: ImageTable
    held: tuple[Held, ...]


def design(extractor: medgraft.Extractor) -> Design:
    """The same for all cells; groups that judge are in nothing that is learned."""
    pair: Pair = processed("chest_xray_aspect256")
    rest = pair.first
    kinds = {kind.name: kind for kind in kinds_of(rest, extractor)}
    virus, sharpest = (rest.select(kinds[name].judged) for name in ("virus", "sharpest"))
    away = np.concatenate([virus.groups, sharpest.groups])
    learned = thinned(rest.select(~np.isin(rest.groups, away)), MOST)
    held = [
        Held("virus", thinned(virus, VIRAL)),
        Held("sharpest tenth", sharpest),
        Held("as they are", pair.twin),
        Held("processed otherwise", pair.second),
    ]
    held += [Held(planted.operation, pair.twin, planted) for planted in PLANTED]
    return Design(learned, tuple(held))


# --------------------------------------------------------------------------- one training


def measure(
    setting: Setting, seed: int, of: Design, extractor: medgraft.Extractor
) -> dict[str, Any]:
    """Log odds of the second class in everything that judges."""
    training, seconds = trained(setting, seed, of.learned, extractor)
    logits = {held.name: judged(setting, training, held, extractor) for held in of.held}
    scores = {name: (some[:, 1] - some[:, 0]).round(2).tolist() for name, some in logits.items()}
    facts = {"seconds": round(seconds), "images": len(of.learned), "precision": PRECISION}
    return {**facts, "scores": scores}


def measure_frozen(key: str, of: Design, extractor: medgraft.Extractor) -> dict[str, Any]:
    """The same of a frozen probe."""
    began = time.perf_counter()
    probe = frozen(key, of.learned, extractor)
    seconds = time.perf_counter() - began
    scores = {held.name: logit(probe(held)).round(2).tolist() for held in of.held}
    return {"seconds": round(seconds), "images": len(of.learned), "scores": scores}


def frozen(key: str, table: ImageTable, extractor: medgraft.Extractor) -> Callable[[Held], Floats]:
    """A probe that learned from a table: the probability of the second class in what judges."""
    development = Development(table, make_folds(table, 3))
    fitted = fit(Scenario.from_key(key), development, extractor)

    def judge(held: Held) -> Floats:
        edits = (held.edit, *fitted.spec.edits) if held.edit else fitted.spec.edits
        made = extractor.canvases(held.table, replace(fitted.spec, edits=edits))
        canvases = [canvas for canvas in made if isinstance(canvas, Canvas)]
        return np.asarray(fitted.probabilities(canvases)[:, 1])

    return judge


def trained(
    setting: Setting, seed: int, table: ImageTable, extractor: medgraft.Extractor
) -> tuple[Training, float]:
    """One training on all images of a table, with the weights that it ends with; its seconds."""
    sized = {size: _setup(setting, size, seed, table, extractor) for size, _ in setting.sizes}
    first = sized[setting.sizes[0][0]]
    rows = np.arange(len(table))
    inputs = {size: _training_inputs(setting, setup, seed) for size, setup in sized.items()}
    network = first.network(setting.depth, inputs[setting.sizes[0][0]], rows)
    training = Training(network, setting.recipe, seed=seed)
    began = time.perf_counter()
    recent: list[State] = []
    held = np.zeros(len(rows), dtype=bool)
    if setting.stop:
        held = holdout(table.groups, table.labels, HOLDOUT, seed)
    for size, until in setting.sizes:
        data = sized[size].data(inputs[size], rows[~held])
        stopping = sized[size].data(_stopping_inputs(setting, sized[size]), rows[held])
        for epoch in training.epochs(data, stopping):
            extractor.progress.say(f"epoch {epoch.number}, {epoch.seconds:.0f} s")
            recent = [*recent, {k: v.clone() for k, v in training.best.items()}][-setting.last :]
            if epoch.number >= until:
                break
    network.load_state_dict(mean_state(recent))
    return training, time.perf_counter() - began


def _setup(
    setting: Setting, size: int, seed: int, table: ImageTable, extractor: medgraft.Extractor
) -> FinetuneSetup:
    key = f"finetune/{LITE0}/{setting.depth}/s{size}/logistic"
    setup = FinetuneSetup.of(Scenario.from_key(key, seed), table, extractor)
    return replace(setup, recipe=setting.recipe)


def _inputs(setup: FinetuneSetup, chain: Chain, views: int) -> Inputs:
    """What enters the layers that are trained, in views that a chain makes.

    views : how many take turns, 0 for a new one every epoch.
    """
    whole = setup.inputs(INPUT)
    assert isinstance(whole, Images)
    images = replace(whole, chain=chain)
    depth = setup.scenario.tap
    if depth == INPUT:
        return images
    channels = setup.backbone.tap(depth).channels
    return ComputedMaps(images, setup.specs(depth)[0], channels, setup.extractor, views)


def _training_inputs(setting: Setting, setup: FinetuneSetup, seed: int) -> Inputs:
    """The images, in another view every epoch."""

    def chain(view: int) -> tuple[Edit, ...]:
        if view == 0:
            return ()
        return (Varied(setting.preset, View("strong", FIRST_VIEW + view - 1, seed)),)

    return _inputs(setup, chain, VIEWS)


def _stopping_inputs(setting: Setting, setup: FinetuneSetup) -> Inputs:
    """The images that stop a training, as they are or all in one changed view."""
    edits = (judging_view("natural"),) if setting.stop == "changed" else ()
    return _inputs(setup, lambda view: edits, 0)


def judged(
    setting: Setting, training: Training, held: Held, extractor: medgraft.Extractor
) -> Floats:
    """Logits (n, n_classes), the mean over `tta` views."""
    setup = _setup(setting, setting.sizes[-1][0], 0, held.table, extractor)

    def chain(view: int) -> tuple[Edit, ...]:
        mild = (View("natural", view),) if view else ()
        return (*((held.edit,) if held.edit else ()), *mild)

    data = setup.data(_inputs(setup, chain, 0), np.arange(len(held.table)))
    views = [training.logits(data, view) for view in range(setting.tta)]
    return np.asarray(np.mean(views, axis=0))


# --------------------------------------------------------------------------- the command


def _judges(of: Design) -> dict[str, dict[str, list[int]]]:
    """By set that judges, of each image its class and a number for its patient."""
    return {
        held.name: {
            "y": held.table.labels.tolist(),
            "group": np.unique(held.table.groups, return_inverse=True)[1].tolist(),
        }
        for held in of.held
    }


def cells() -> list[tuple[str, int]]:
    """Settings and seeds in the order in which they are trained: every one with seed 0 first."""
    base = [("base", seed) for seed in SEEDS]
    first = [(name, SEEDS[0]) for name in [*FROZEN, *SETTINGS] if name != "base"]
    return [*base, *first, *((name, seed) for seed in SEEDS[1:] for name in REPEATED)]


def main() -> None:
    """Train what the results lack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default="", help=f"settings, with commas: {', '.join([*SETTINGS, *FROZEN])}"
    )
    parser.add_argument("--cache", default=None, help="a cache of its own")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    cache = medgraft.Cache(Path(asked.cache) if asked.cache else None)
    extractor = medgraft.Extractor(cache, progress=progress(False))
    of = design(extractor)
    if not DESIGN.is_file():
        write_json(DESIGN, _judges(of))
    done = {(row["setting"], row["seed"]) for row in read_cells(RESULTS)}
    for name, seed in cells():
        if (name, seed) in done or (asked.only and name not in asked.only.split(",")):
            continue
        extractor.progress.say(f"{name}, seed {seed}")
        if name in FROZEN:
            found = measure_frozen(FROZEN[name], of, extractor)
        else:
            found = measure(SETTINGS[name], seed, of, extractor)
        row = {"setting": name, "seed": seed, **found}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
