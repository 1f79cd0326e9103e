"""Where part of a network is trained: its layers, what enters them, and what is kept of it.

A `FinetuneSetup` belongs to a scenario and its development images. It gives each training the
layers behind a depth and the maps that enter them, shared by folds and depths, reads from the cache
what was trained before, and goes on with what was killed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.augment import CLOSER, FIRST_VIEW, MILD, View
from medgraft.data.dicom.identity import of_dicom
from medgraft.data.listing import content_hash
from medgraft.data.pixels.decode import DICOM
from medgraft.data.split import holdout
from medgraft.errors import ScenarioError
from medgraft.features.backbones import HYBRIDS, Backbone
from medgraft.features.cache import arrays_under, remove
from medgraft.features.engine import torch_device, training_versions
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan, feature_plan_of
from medgraft.features.subnetwork import last_map, tail_of
from medgraft.features.training_cache import (
    bytes_of_maps,
    cached_canvases,
    cached_maps,
    fits,
    prepare_maps,
)
from medgraft.learn.estimators import LogisticHead
from medgraft.learn.fast_steps import (
    computing,
    keep_freed_memory,
    passes,
    return_freed_memory,
)
from medgraft.learn.finetune import Data, Training, tail_with_head
from medgraft.learn.inputs import CachedMaps, Chain, ComputedMaps, Images, Inputs
from medgraft.learn.multilabel import begin_as_probes, check_for_findings, held_out
from medgraft.panel import Marks
from medgraft.results.training import Epoch, best_epoch
from medgraft.scenario import INPUT, Finetune
from medgraft.training_recipe import Recipe
from medgraft.types import Edit, FeatureSpec, Floats, ImageTable, Ints, Scenario, digest

TRAINING_CACHE_VERSION = "7"  # raise it when a change of code changes what training gives
HOLDOUT = 0.15  # of the groups that a network may learn from, by which training is stopped
VIEWS = 4  # of every image whose maps are kept, where training augments
PROBE_C = 1e-3  # strength of the linear probe that training starts from
APART = 1000  # seeds of a fold's networks, so that those of neighbouring studies differ, too
STRIDE, LEAST_SIZE = 32, 96  # pixels, of inputs that are made smaller
ABSENT = 5.0  # logits below the least bias at which a class starts that no training image has


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """One training: of the layers behind `depth`, on which images, and who is judged by it.

    inputs : what enters the layers (`FinetuneSetup.inputs`). rows, judge : of the setup's images,
    to learn from and to judge. what : its name in the progress. epochs : end after so many, without
    a holdout, 0 being the network as it starts; by default images are held out of `rows` and
    training stops by them. targets : (views, n, n_classes) probabilities of the setup's images to
    learn instead of their labels, see `Data`.
    """

    depth: str
    inputs: Inputs
    rows: Ints
    judge: Ints
    what: str
    epochs: int | None = None
    targets: Floats | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that was trained: arrays of its layers and head, and how it went.

    scores : (n, n_classes) of the rows it was to judge, as they are; changed : of the same in the
    view that is judged by, where there is one. held, held_scores : (m,) rows that it was stopped
    by, and their scores (m, n_classes), as they are. epochs : that its schedule had.
    """

    state: Mapping[str, NDArray[Any]]
    history: tuple[Epoch, ...]
    scores: Floats
    changed: Floats | None
    held: Ints
    held_scores: Floats
    seconds: float
    epochs: int

    @classmethod
    def of(cls, kept: Mapping[str, NDArray[Any]]) -> Trained:
        """What `FinetuneSetup.trained` keeps of it, as arrays."""
        return cls(
            arrays_under(kept, "state"),
            tuple(Epoch.from_json(row) for row in json.loads(str(kept["history"]))),
            kept["scores"],
            kept.get("changed"),
            kept["held"],
            kept["held_scores"],
            float(kept["seconds"]),
            int(kept["epochs"]),
        )

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept."""
        return best_epoch(self.history)


@dataclass(frozen=True, eq=False)
class FinetuneSetup:
    """Everything that the trainings of one scenario share.

    view : what is done to images when they are judged (`Folds.view`). number : of a fold's
    networks, which differ in the seed of all that is drawn while they are trained. truth : (n, k)
    of the images, where a network learns several findings; their labels are then not looked at.
    """

    scenario: Scenario
    recipe: Recipe
    backbone: Backbone
    feature_plan: FeaturePlan
    development: ImageTable
    extractor: Extractor
    weight: Floats
    view: Edit | None = None
    number: int = 0
    truth: Marks | None = None

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        development: ImageTable,
        extractor: Extractor,
        sample_weight: Floats | None = None,
        view: Edit | None = None,
        truth: Marks | None = None,
    ) -> FinetuneSetup:
        """For the images that all its trainings draw from.

        Raises
        ------
        ScenarioError, BackboneError
            The recipe, the depth, the preset or the backbone makes no sense.
        """
        training = scenario.classifier
        if not isinstance(training, Finetune):
            raise ScenarioError(f"{scenario.key} trains no network")
        if truth is not None:
            check_for_findings(training.recipe)
        plan = feature_plan_of(scenario, extractor)
        return cls(
            scenario,
            training.recipe,
            extractor.backbone(scenario.backbone).at(plan.canvas.size),
            plan,
            development,
            extractor,
            np.ones(len(development)) if sample_weight is None else sample_weight,
            view,
            truth=truth,
        )

    @property
    def spec(self) -> FeatureSpec:
        """The picture of an image that the network sees, before views are made of it."""
        return self.feature_plan.specs[0]

    @property
    def seed(self) -> int:
        """Of this network's training."""
        return self.scenario.seed + APART * self.number

    @property
    def y(self) -> Ints | Marks:
        """What is learned: (n,) labels, or what is known of several findings (n, k)."""
        return self.development.labels if self.truth is None else self.truth

    @property
    def outputs(self) -> int:
        """Of the network: classes, or findings."""
        return len(self.development.classes) if self.truth is None else self.truth.shape[1]

    def select(self, rows: Ints) -> tuple[FinetuneSetup, Ints]:
        """The setup of some of the images, in the order given, and their rows in it."""
        smaller = dataclasses.replace(
            self,
            development=self.development.select(rows),
            weight=self.weight[rows],
            truth=None if self.truth is None else self.truth[rows],
        )
        return smaller, np.arange(len(rows))

    def held_out(self, rows: Ints, share: float, seed: int) -> NDArray[np.bool_]:
        """Which of these rows to hold out: about a share of each class or finding, groups whole."""
        groups = self.development.groups[rows]
        if self.truth is not None:
            return held_out(groups, self.truth[rows], share, seed)
        return holdout(groups, self.development.labels[rows], share, seed)

    def at_size(self, size: int) -> FinetuneSetup:
        """The setup of the same images, read at another input size."""
        scenario = self.scenario.with_pixels(sizes=(size,))
        return FinetuneSetup.of(
            scenario, self.development, self.extractor, self.weight, self.view, self.truth
        )

    def numbered(self, number: int) -> FinetuneSetup:
        """The setup of another of a fold's networks, which differs from the first as `differ` says.

        Those of another scale see the canvas of the others, shrunk where the backbone allows that.
        """
        one = dataclasses.replace(self, number=number)
        if not another_scale(self.recipe, number):
            return one
        canvas = self.feature_plan.canvas
        size = smaller(canvas.size) if self.backbone.any_size else canvas.size
        base = canvas.size if size < canvas.size else 0
        spec = dataclasses.replace(self.spec, size=size, base=base)
        plan = dataclasses.replace(self.feature_plan, views=((spec,),))
        return dataclasses.replace(one, feature_plan=plan, backbone=self.backbone.at(size))

    def training_edits(self, view: int) -> tuple[Edit, ...]:
        """The edits of a view: augmentation first, then the scenario's preprocessing."""
        edits = self.spec.edits
        if view == 0 or self.scenario.pixels.views is None:
            return edits
        preset = self.scenario.pixels.views.preset
        if another_scale(self.recipe, self.number):
            preset += CLOSER
        return (View(preset, FIRST_VIEW + view - 1, self.seed), *edits)

    def tta_edits(self, view: int) -> tuple[Edit, ...]:
        """The edits of a view that is judged: 0 is the image, the others are mild views of it.

        They are of the preset that the strong one is a strong version of (`xray-strong`: `xray`),
        its symmetries first.
        """
        views = self.scenario.pixels.views
        preset = (views and views.modality) or MILD
        first = (View(preset, view, self.scenario.seed),) if view else ()
        return (*first, *self.spec.edits)

    def changed_edits(self, view: int) -> tuple[Edit, ...]:
        """The edits of a view of an image that is changed first, where `Folds.view` says so."""
        return (*((self.view,) if self.view else ()), *self.tta_edits(view))

    def deployed_plan(self, spec: FeatureSpec) -> FeaturePlan:
        """What is read of an image in use: `spec`, in the views that were judged out of fold."""
        if self.recipe.tta == 1 and not spec.base:
            return FeaturePlan.one(spec)
        parts = [dataclasses.replace(spec, edits=self.tta_edits(v)) for v in range(self.recipe.tta)]
        canvas = dataclasses.replace(spec, edits=(), size=spec.base or spec.size, base=0)
        return FeaturePlan(canvas, tuple((part,) for part in parts))

    def inputs(self, depth: str) -> Inputs:
        """What enters the layers behind `depth`, kept on disk where there is room."""
        return self._inputs(depth, self.specs(depth), self.training_edits)

    def judging_inputs(self, depth: str, inputs: Inputs, *, changed: bool) -> Inputs:
        """What enters the layers behind `depth` when images are judged, as they are or changed.

        inputs : of training, which judge too where the image alone, as it is, is looked at.
        """
        chain = self.changed_edits if changed else self.tta_edits
        if self.recipe.tta == 1 and not (changed and self.view):
            return inputs
        return self._inputs(depth, self.specs(depth, chain, self.recipe.tta), chain)

    def scores(self, training: Training, data: Data) -> Floats:
        """Scores (n, n_classes) of images that a training has not seen, the mean over views.

        data : of `judging_inputs`.
        """
        found = [training.logits(data, view) for view in range(self.recipe.tta)]
        return found[0] if len(found) == 1 else np.mean(found, axis=0)

    def _inputs(self, depth: str, specs: Sequence[FeatureSpec], chain: Chain) -> Inputs:
        """The views `specs` of what enters the layers behind `depth`; `chain` makes any view."""
        canvas = dataclasses.replace(self.spec, edits=())
        if depth == INPUT:
            rows = cached_canvases(self.development, canvas, self.extractor)
            return Images(rows, canvas, chain, self.extractor.workers)
        channels = self.backbone.tap(depth).channels
        size = bytes_of_maps(self.development, specs, self.extractor)
        where = (
            f"the maps of {depth}, {len(specs)} views of each image: {size / 1e9:.1f} GB on disk"
        )
        if fits(size, self.extractor):
            self.extractor.progress.say(f"Keeping {where}.")
            prepare_maps(self.development, specs, self.extractor)
            views = [cached_maps(self.development, spec, self.extractor) for spec in specs]
            return CachedMaps(tuple(views), channels)
        self.extractor.progress.say(f"No room for {where}. They are computed at every batch.")
        rows = cached_canvases(self.development, canvas, self.extractor)
        images = Images(rows, canvas, chain, self.extractor.workers)
        return ComputedMaps(images, specs[0], channels, self.extractor, views=len(specs))

    def prepare(self, depths: Sequence[str]) -> None:
        """Have the maps of several depths kept in one pass over every view, where all fit."""
        wanted = [self.specs(depth) for depth in depths if depth != INPUT]
        size = sum(bytes_of_maps(self.development, specs, self.extractor) for specs in wanted)
        if fits(size, self.extractor):
            every = [spec for specs in wanted for spec in specs]
            prepare_maps(self.development, every, self.extractor)

    def specs(
        self, depth: str, chain: Chain | None = None, views: int | None = None
    ) -> list[FeatureSpec]:
        """The maps at `depth` of each view that is kept, the image itself first.

        chain, views : of which views, and how many; those of training by default.
        """
        trunk = depth if depth in ("", INPUT) else self.backbone.tap(depth).sequence.name
        canvas = dataclasses.replace(self.spec, taps=(trunk,), edits=())
        chain = chain or self.training_edits
        views = views or (VIEWS if self.scenario.pixels.views else 1)
        return [dataclasses.replace(canvas, edits=chain(view)) for view in range(views)]

    # ----------------------------------------------------------------------- one training

    def trained(self, task: TrainingTask, *, cap: float = math.inf) -> Trained:
        """Train the layers behind a depth on some images and let them judge others.

        cap : seconds of training; it ends with the epoch that passes them, and a call with a larger
        cap goes on from there, one with a smaller cap ends there. A training that was finished
        before is read from the cache, one that was killed goes on.
        """
        cache, identity = self.extractor.cache, self._identity(task)
        kept = cache.get("training", identity)
        if kept is None:
            checkpoint = cache.checkpoints / f"{identity}.safetensors"
            began = time.perf_counter()
            learned, held = self._held_out(task)
            recipe = self.recipe.for_images(len(learned))
            if task.epochs:  # the rate falls over them
                recipe = dataclasses.replace(recipe, epochs=task.epochs)
            training = Training(
                self.network(task.depth, task.inputs, learned, _labels(task)),
                recipe,
                seed=self.seed,
                stages=self._stages(task.depth),
                checkpoint=checkpoint,
                identity=identity,
            )
            unseen = self.judging_inputs(task.depth, task.inputs, changed=True)
            stopping = self.data(unseen, held)
            learning = dataclasses.replace(self.data(task.inputs, learned), targets=task.targets)
            history = self._run(training, task, learning, stopping, cap)
            kept = {
                **{f"state.{k}": v.cpu().numpy() for k, v in training.best.items()},
                "history": np.array(json.dumps([epoch.to_json() for epoch in history])),
                **self._both_scores(training, task, unseen, held),
                # Of a training that was killed, those before it went on are in its history.
                "seconds": np.array(max(time.perf_counter() - began, _seconds(history))),
                "epochs": np.array(recipe.epochs),
            }
            if training.history[-1].stopped:  # else the cap ended it, and it may go on
                cache.put("training", identity, kept)
                remove(checkpoint)
        return Trained.of(kept)

    def _held_out(self, task: TrainingTask) -> tuple[Ints, Ints]:
        """The rows that are learned from, and those held out of them by which training stops."""
        held = np.zeros(len(task.rows), dtype=bool)
        if task.epochs is None:
            held = self.held_out(task.rows, HOLDOUT, self._draw(task.judge))
        return task.rows[~held], task.rows[held]

    def _run(
        self, training: Training, task: TrainingTask, learned: Data, stopping: Data, cap: float
    ) -> list[Epoch]:
        """Train until it stops or `cap` is passed; the network then has its best weights."""
        epochs = training.recipe.epochs if task.epochs is None else task.epochs
        progress = self.extractor.progress

        def passed() -> bool:
            return _seconds(training.history) > cap and not training.history[-1].stopped

        training.resume()  # a cap that was passed before is not passed by an epoch more
        if not passed():
            with progress.task(task.what, epochs * len(learned.rows)) as advance:
                for epoch in training.epochs(learned, stopping, until=task.epochs, tick=advance):
                    progress.say(_line(task.what, epoch))
                    if passed():
                        break
        history = list(training.history)
        if not history[-1].stopped:
            why = f"the cap of {cap / 60:g} minutes was passed"
            history[-1] = dataclasses.replace(history[-1], stopped=why)
        training.restore_best()
        return history

    def _both_scores(
        self, training: Training, task: TrainingTask, unseen: Inputs, held: Ints
    ) -> dict[str, NDArray[Any]]:
        """Scores of the images to judge, as they are and, where there is one, in the view.

        Of those that were held out, too.
        """
        as_is = self.judging_inputs(task.depth, task.inputs, changed=False)
        found = {
            "scores": self.scores(training, self.data(as_is, task.judge)),
            "held": held,
            "held_scores": self.scores(training, self.data(as_is, held)),
        }
        if self.view is not None:
            found["changed"] = self.scores(training, self.data(unseen, task.judge))
        return found

    def speed(self, depth: str, steps: int = 2) -> float:
        """Training images a second from `depth` on, by a few timed steps on made-up maps."""
        import torch
        from torch.nn import functional

        size, n = self.spec.size, self.recipe.batch_size
        shape = (3, size, size)
        if depth != INPUT:
            tap = self.backbone.tap_at(depth, size).sequence
            shape = (tap.channels, *tap.extent)
        network = tail_with_head(
            tail_of(self.backbone, depth), last_map(self.backbone).channels, 2, 0.0
        )
        device = torch_device()
        maps = torch.zeros(n, *shape).to(memory_format=torch.channels_last).to(device)
        target = torch.zeros(n, dtype=torch.long, device=device)
        network.to(device).train()
        keep_freed_memory()
        for step in range(steps + 1):
            if step == 1:  # the first one sets things up
                began = time.perf_counter()
            parts = passes(n, maps.shape[-2:].numel())
            for some, y in zip(maps.tensor_split(parts), target.tensor_split(parts), strict=True):
                with computing(torch.device(device), self.recipe.precision):
                    loss = functional.cross_entropy(network(some).float(), y)
                loss.backward()  # type: ignore[no-untyped-call]
            if device == "cuda":  # which computes on while the next line is read
                torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        return_freed_memory()
        return steps * n / seconds

    def _draw(self, judge: Ints) -> int:
        """A seed for what is held out of a training: another for each set of images it judges.

        So that no image is held out in every fold, and none is without a say in the answer.
        """
        judged = self.development.content_hashes[judge].tolist()
        return int(digest(self.seed, sorted(judged)), 16) % 2**32

    def _entering(self, depth: str, *, dicom: bool) -> list[dict[str, object]]:
        """What decides what enters a training: pixels, or behind a frozen trunk its maps."""
        specs = self.specs(depth if depth != INPUT else "")
        if depth == INPUT:
            left = {"engine", "versions"}
            return [{k: v for k, v in spec.recipe.items() if k not in left} for spec in specs]
        unused = () if dicom else DICOM
        kept = [[one for one in spec.versions if one.split()[0] not in unused] for spec in specs]
        return [{**spec.recipe, "versions": v} for spec, v in zip(specs, kept, strict=True)]

    def _identity(self, task: TrainingTask) -> str:
        recipe = asdict(self.recipe)
        for name in ("deploy", "networks", "differ"):  # what it is for changes no training
            del recipe[name]
        dicom = of_dicom(self.development)
        return digest(
            TRAINING_CACHE_VERSION,
            *training_versions(dicom=dicom),
            dataclasses.replace(self.scenario, tap=task.depth, classifier=Finetune()).key,
            self.scenario.seed,
            recipe,
            self._entering(task.depth, dicom=dicom),
            self.development.fingerprint,
            [task.rows.tolist(), task.judge.tolist(), task.epochs],
            self.weight.tolist(),
            *([self.view.key] if self.view else []),
            *([self.number] if self.number else []),
            *([] if task.targets is None else [content_hash(task.targets.tobytes())]),
            *([] if self.truth is None else [self.truth.tolist()]),
            length=32,
        )

    def data(self, inputs: Inputs, rows: Ints) -> Data:
        """Some of the images as a training takes them."""
        table = self.development
        return Data(inputs, rows, self.y, self.weight, table.ids)

    def network(self, depth: str, inputs: Inputs, rows: Ints, labels: Ints | None = None) -> Any:
        """The layers behind `depth` with a head that begins as a linear probe.

        labels : that the probe learns, of all images; their own by default.
        """
        import torch

        channels = last_map(self.backbone).channels
        torch.manual_seed(self.seed)
        network: Any = tail_with_head(
            tail_of(self.backbone, depth), channels, self.outputs, self.recipe.dropout
        )
        if self.backbone.card.name in HYBRIDS:  # its new batch norms have not seen any map yet
            stream = inputs.batches(np.array_split(rows, -(-len(rows) // 64)), 0)
            torch.optim.swa_utils.update_bn((maps for _, maps in stream), network.layers)
        if not self.recipe.probe:
            return network
        if self.truth is not None:
            codes = _codes(network, inputs, rows)
            begin_as_probes(network.head, codes, self.truth[rows], self.weight[rows], PROBE_C)
            return network
        told = self.development.labels[rows] if labels is None else labels[rows]
        if labels is None or len(np.unique(told)) > 1:
            head = LogisticHead(PROBE_C, class_weight="balanced")
            head.fit(_codes(network, inputs, rows), told, self.weight[rows])
            there = torch.from_numpy(np.asarray(head.classes_))  # a rare class may be missing
            bias = np.asarray(head.intercept_)
            with torch.no_grad():
                network.head.weight[there] = torch.from_numpy(np.asarray(head.coef_)).float()
                network.head.bias.fill_(float(bias.min()) - ABSENT)
                network.head.bias[there] = torch.from_numpy(bias).float()
        return network

    def _stages(self, depth: str) -> dict[str, int]:
        """How many stages each parameter lies before the head, for rates that fall with depth."""
        place = {name: i for i, (name, _) in enumerate(self.backbone.network.named_modules())}
        ends = [  # where a stage ends in the order of modules: at the last one inside it
            max(i for name, i in place.items() if f"{name}.".startswith(f"{tap.module}."))
            for tap in self.backbone.stages
        ]
        found: dict[str, int] = {}
        for name, _ in tail_of(self.backbone, depth).named_parameters():
            module = name.removeprefix("layers.").rpartition(".")[0]
            found[f"layers.{name}"] = 1 + sum(end >= place[module] for end in ends)
        return found


def another_scale(recipe: Recipe, number: int) -> bool:
    """Whether a fold's network of this number sees things at another scale than the first."""
    return recipe.differ == "scale" and number % 2 == 1


def pixels_of_networks(recipe: Recipe, size: int, any_size: bool) -> list[float]:
    """Pixels that each of a fold's networks sees of an image, over those that the first sees.

    size : of the first one's input. any_size : whether the backbone takes a smaller one.
    """
    shrunk = (smaller(size) / size) ** 2 if any_size else 1.0
    return [shrunk if another_scale(recipe, k) else 1.0 for k in range(recipe.networks)]


def smaller(size: int) -> int:
    """Five sevenths of an input size, in whole strides of 32 pixels; 96 at least.

    >>> [smaller(size) for size in (64, 128, 224, 384)]
    [64, 96, 160, 288]
    """
    return min(size, max(LEAST_SIZE, round(size * 5 / 7 / STRIDE) * STRIDE))


def _codes(network: Any, inputs: Inputs, rows: Ints) -> NDArray[np.float32]:
    """(n, d) what the layers of a network give its head, of images as they are."""
    import torch

    network.eval()
    codes = []
    with torch.inference_mode():
        for _, maps in inputs.batches(np.array_split(rows, -(-len(rows) // 64)), 0):
            codes.append(network.codes(maps).cpu().numpy())
    return np.concatenate(codes)


def _seconds(history: Sequence[Epoch]) -> float:
    return sum(epoch.seconds for epoch in history)


def _labels(task: TrainingTask) -> Ints | None:
    """The most probable class by the targets, where there are any: a label must not slip in."""
    return None if task.targets is None else task.targets[0].argmax(axis=1)


def _line(what: str, epoch: Epoch) -> str:
    alone = np.isnan(epoch.holdout[0])
    judged, on = (epoch.train, "training") if alone else (epoch.holdout, "holdout")
    loss, area, accuracy = judged
    best = " (best so far)" if epoch.best else ""
    return (
        f"{what}: epoch {epoch.number}, {epoch.seconds:.0f} s, {on} loss {loss:.3f}, "
        f"AUROC {area:.4f}, accuracy {accuracy:.3f}{best}"
    )
