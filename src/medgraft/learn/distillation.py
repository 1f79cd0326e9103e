"""What one network is to learn so that it answers as several do (Hinton et al. 2015).

Of every view of an image the probabilities by the mean of those networks that have not learned from
it, for who has learned an image is too sure of it (cross-fitted teachers: Dao et al. 2021), and the
label: half of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from medgraft.data.listing import content_hash
from medgraft.features.subnetwork import last_map, tail_of
from medgraft.learn.finetune import Training, tail_with_head
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.learn.inputs import Inputs
from medgraft.learn.network_mean import mean_of_unseen
from medgraft.scenario import INPUT
from medgraft.types import Floats, Ints, digest

LABEL = 0.5  # of a target; none at all ranks surely worse, and the rest is what the networks say


def distilled(
    setup: FinetuneSetup, depth: str, runs: Sequence[Trained], unseen: Sequence[Ints]
) -> Trained:
    """One network that learns on all images to answer as `runs` do, and judges these images.

    The whole schedule is run, for there is no best epoch to be found on images it learns from.

    Parameters
    ----------
    unseen : of each run the rows that it has not learned from; each row is in one or more.
    """
    everything, inputs = np.arange(len(setup.development)), setup.inputs(depth)
    epochs = setup.recipe.for_images(len(everything)).epochs
    views = _views(setup, depth, epochs)
    answers = _answers(setup, depth, inputs, runs, unseen, views)
    targets = (1 - LABEL) * answers + LABEL * np.eye(answers.shape[2])[setup.development.labels]
    what = f"Training from {depth} on all images, to answer as the folds' networks"
    return setup.trained(TrainingTask(depth, inputs, everything, everything, what, epochs, targets))


def _views(setup: FinetuneSetup, depth: str, epochs: int) -> int:
    """How many views a training sees before they begin again, the image itself first."""
    if setup.scenario.pixels.views is None:
        return 1
    return epochs + 1 if depth == INPUT else len(setup.specs(depth))


def _answers(
    setup: FinetuneSetup,
    depth: str,
    inputs: Inputs,
    runs: Sequence[Trained],
    unseen: Sequence[Ints],
    views: int,
) -> Floats:
    """(views, n, n_classes) probabilities by the networks that have not learned from an image."""
    n, n_classes = len(setup.development), len(setup.development.classes)
    key = digest(
        "answers",
        [content_hash(b"".join(value.tobytes() for value in run.state.values())) for run in runs],
        [rows.tolist() for rows in unseen],
        [spec.recipe for spec in setup.specs(depth if depth != INPUT else "")],
        [setup.development.fingerprint, setup.scenario.seed, depth, views],
        length=32,
    )
    cache = setup.extractor.cache
    kept = cache.get("training", key)
    if kept is None:
        channels = last_map(setup.backbone).channels
        network = tail_with_head(tail_of(setup.backbone, depth), channels, n_classes, 0.0)
        judge = Training(network, setup.recipe, seed=setup.seed)
        scores: list[list[Floats]] = []
        what = f"Asking {len(runs)} networks for {views} views of each image"
        with setup.extractor.progress.task(what, views * sum(map(len, unseen))) as advance:
            for run, rows in zip(runs, unseen, strict=True):
                judge.load(run.state)
                scores.append([])
                for view in range(views):
                    scores[-1].append(judge.logits(setup.data(inputs, rows), view))
                    advance(len(rows))
        found = [
            mean_of_unseen([(rows, own[view]) for rows, own in zip(unseen, scores, strict=True)], n)
            for view in range(views)
        ]
        kept = {"answers": softmax(np.stack(found), axis=2)}
        cache.put("training", key, kept)
    return kept["answers"]
