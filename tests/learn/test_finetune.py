from __future__ import annotations

import copy
import itertools
import json
import math
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from medgraft.errors import FitError, ScenarioError
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.subnetwork import tail_of
from medgraft.learn import finetune
from medgraft.learn.checkpoint import read_checkpoint
from medgraft.learn.fast_steps import half_precision
from medgraft.learn.finetune import Data, Training, score, tail_with_head
from medgraft.learn.inputs import CachedMaps
from medgraft.results.training import Epoch
from medgraft.training_recipe import Recipe, recipe_of

PLAIN = Recipe(
    epochs=2, patience=0, batch_size=8, decay=0.0, warmup=0.0, schedule="constant", smoothing=0.0,
    balance="none", clip=0.0, dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """What is this small is slower in threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(eq=False)
class Maps:
    """Inputs from memory, which note what they were asked for."""

    values: torch.Tensor
    asked: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def batches(
        self, parts: Sequence[np.ndarray], view: int
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for part in parts:
            self.asked.append((view, part))
            yield part, self.values[part].contiguous(memory_format=torch.channels_last)


def tiny(n_classes: int = 2, dropout: float = 0.0, seed: int = 0) -> Any:
    """Two convolutions with batch norm, and a head that is not zero."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
    )
    network: Any = tail_with_head(layers, 6, n_classes, dropout)
    nn.init.normal_(network.head.weight, std=0.1)
    return network


def images(y: Sequence[int], seed: int = 0, side: int = 4) -> tuple[Maps, np.ndarray]:
    """Noise whose first channel says a little of the class."""
    rng = np.random.default_rng(seed)
    truth = np.array(y, np.int64)
    values = rng.normal(size=(len(y), 2, side, side)).astype(np.float32)
    values[:, 0] += truth[:, None, None]
    return Maps(torch.from_numpy(values)), truth


def data(maps: Any, y: np.ndarray, rows: Sequence[int] | np.ndarray) -> Data:
    ids = np.array([f"i{i}" for i in range(len(y))])
    return Data(maps, np.asarray(rows, np.int64), y, np.ones(len(y)), ids)


def halves(n: int = 24, n_classes: int = 2, seed: int = 0) -> tuple[Data, Data]:
    """Two thirds to learn from, one third held out."""
    maps, y = images([i % n_classes for i in range(n)], seed)
    return data(maps, y, range(2 * n // 3)), data(maps, y, range(2 * n // 3, n))


def run(training: Training, train: Data, holdout: Data, **how: Any) -> list[Epoch]:
    return list(training.epochs(train, holdout, **how))


def assert_states(ours: Any, theirs: Any, atol: float) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=atol, msg=name)


# ------------------------------------------------------------------ the frozen trunk


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone()


def first_head() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(1280, 2)


def whole_by_hand(
    backbone: Backbone, pixels: torch.Tensor, y: np.ndarray, order: np.ndarray
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Three steps through the whole network, everything up to the end of blocks.5 frozen.

    Gives weights, and the first step's gradients, by the names that they have in the tail.
    """
    network: Any = copy.deepcopy(backbone.network)
    head = first_head()
    learning = [network.blocks[6], network.conv_head, network.bn2]
    network.requires_grad_(False).eval()
    for module in learning:
        module.requires_grad_(True).train()
    parameters = [p for m in [*learning, head] for p in m.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, eps=1e-8)
    named = {f"layers.layers.{name}": p for name, p in network.named_parameters()}
    named |= {f"head.{name}": p for name, p in head.named_parameters()}
    first: dict[str, torch.Tensor] = {}
    for rows in order:
        logits = head(network.forward_features(pixels[rows]).mean(dim=(2, 3)))
        loss = functional.cross_entropy(logits, torch.from_numpy(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        if not first:
            first = {name: p.grad.clone() for name, p in named.items() if p.requires_grad}
        optimizer.step()
    state = {f"layers.layers.{name}": value for name, value in network.state_dict().items()}
    state |= {f"head.{name}": value for name, value in head.state_dict().items()}
    return state, first


def test_kept_maps_take_the_steps_of_the_whole_network(lite0: Backbone) -> None:
    """In float32 bit for bit the same weights after three steps.

    In float16 the first gradient is off by at most 3 % of its length (measured 1.6 %, with batch
    norm over 32 values); the weights go further apart, for Adam divides by a gradient's size and so
    makes rounding where it is near zero as large as steps elsewhere.
    """
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.normal(size=(24, 3, 64, 64)).astype(np.float32))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    y = rng.integers(0, 2, 24)
    order = np.random.default_rng([3, 1]).permutation(24).reshape(3, 8)
    rows = np.empty((24, 2 * 2 * 192), np.float32)
    network: Any = lite0.network
    for part in order:
        with torch.no_grad():
            maps = network.blocks[:6](network.bn1(network.conv_stem(pixels[part])))
        rows[part] = maps.permute(0, 2, 3, 1).flatten(1).numpy()
    theirs, first = whole_by_hand(lite0, pixels, y, order)
    tail = tail_of(lite0, "blocks.5")

    def made() -> Training:
        network: Any = tail_with_head(copy.deepcopy(tail), 1280, 2, 0.0)
        network.head.load_state_dict(first_head().state_dict())
        return Training(network, replace(PLAIN, rate=1e-3, epochs=1), seed=3)

    training = made()
    inputs = CachedMaps((rows,), 192)
    run(training, data(inputs, y, range(24)), data(inputs, y, []))
    ours = training.network.state_dict()
    assert any("blocks.6" in name for name in ours)
    assert not any("blocks.5" in name for name in ours)
    assert_states(ours, {name: theirs[name] for name in ours}, 0)  # running statistics too

    for kept, tolerance in ((rows, 0.0), (rows.astype(np.float16), 0.03)):
        training = made()
        training.network.train()
        ((_, batch),) = CachedMaps((kept,), 192).batches([order[0]], 0)
        target = training._target(data(inputs, y, range(24)), order[0], np.ones(24, np.float32))
        (training._loss(batch, target) / target.sum()).backward()
        gradients = {name: p.grad for name, p in training.network.named_parameters()}
        assert gradients.keys() == first.keys()
        assert length({name: gradients[name] - first[name] for name in first}) <= (
            tolerance * length(first)
        )


def length(state: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float(value.detach().square().sum()) for value in state.values()))


# ------------------------------------------------------------------ the loop by hand


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_the_loop_is_the_one_written_by_hand(optimizer: Any) -> None:
    recipe = Recipe(
        epochs=2, patience=0, batch_size=5, optimizer=optimizer, rate=0.01, decay=0.1, warmup=0.3,
        smoothing=0.1, balance="loss", clip=0.5, dropout=0.0,
    )  # fmt: skip
    maps, y = images([0] * 9 + [1] * 5 + [2] * 6)
    train, holdout = data(maps, y, range(0, 20, 2)), data(maps, y, range(1, 20, 2))
    training = Training(tiny(3), recipe, seed=1)
    history = run(training, train, holdout)

    network = tiny(3)
    decaying = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.Adam
    hand = kind([{"params": decaying, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}])
    counts = np.bincount(y[train.rows])
    importance = torch.from_numpy(10 / (3 * counts)).float()
    steps = [part for view, part in maps.asked if view > 0]
    assert [len(part) for part in steps] == [5, 5, 5, 5]
    assert sorted(np.concatenate(steps[:2])) == sorted(train.rows)
    rates = [1 / 1.2, 1.0, *(0.5 + 0.5 * math.cos(math.pi * (s - 1.2) / 2.8) for s in (2, 3))]
    for epoch in (1, 2):
        network.train()
        for step in range(2 * epoch - 2, 2 * epoch):
            rows = steps[step]
            for group in hand.param_groups:
                group["lr"] = 0.01 * rates[step]
            truth = torch.from_numpy(y[rows])
            losses = functional.cross_entropy(
                network(maps.values[rows]), truth, label_smoothing=0.1, reduction="none"
            )
            hand.zero_grad()
            ((losses * importance[truth]).sum() / importance[truth].sum()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            hand.step()
        network.eval()
        with torch.no_grad():
            for rows, found in (
                (train.rows, history[epoch].train),
                (holdout.rows, history[epoch].holdout),
            ):
                logits, truth = network(maps.values[rows]), torch.from_numpy(y[rows])
                assert found[0] == pytest.approx(
                    float(functional.cross_entropy(logits, truth)), abs=1e-5
                )
                assert found[2] == pytest.approx(float((logits.argmax(1) == truth).float().mean()))
        assert history[epoch].rate == pytest.approx(0.01 * rates[2 * epoch - 1])
    assert_states(training.network.state_dict(), network.state_dict(), 1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_adam_decays_into_the_gradient_and_adamw_beside_it(optimizer: Any) -> None:
    """The first step in closed form: Adam's is rate · sign(gradient + decay · w)."""
    train, nobody = halves()
    train, nobody = replace(train, rows=train.rows[:8]), replace(nobody, rows=train.rows[:0])
    training = Training(
        tiny(), replace(PLAIN, optimizer=optimizer, rate=1e-3, decay=50.0, epochs=1), seed=0
    )
    network = tiny().train()
    maps: Any = train.inputs
    truth = torch.from_numpy(train.y[train.rows])
    functional.cross_entropy(network(maps.values[train.rows]), truth).backward()
    run(training, train, nobody)
    weight, gradient = network.head.weight.detach(), network.head.weight.grad
    if optimizer == "adam":
        expected = weight - 1e-3 * torch.sign(gradient + 50 * weight)
    else:
        expected = weight * (1 - 1e-3 * 50) - 1e-3 * torch.sign(gradient)
    torch.testing.assert_close(training.network.head.weight.detach(), expected, rtol=0, atol=1e-5)
    bias = network.head.bias.detach() - 1e-3 * torch.sign(network.head.bias.grad)
    torch.testing.assert_close(training.network.head.bias.detach(), bias, rtol=0, atol=1e-5)


def test_rates_fall_with_the_depth_behind_the_head() -> None:
    """Adam's first step is as long as the rate, so its length tells each stage's."""
    train, holdout = halves()
    stages = {"layers.0.weight": 2, "layers.3.weight": 1}
    training = Training(
        tiny(), replace(PLAIN, rate=1e-3, rate_decay=0.5, epochs=1, batch_size=16), seed=0,
        stages=stages,
    )  # fmt: skip
    before = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    run(training, train, holdout)
    after = dict(training.network.named_parameters())
    for name, rate in (("head.weight", 1.0), ("layers.3.weight", 0.5), ("layers.0.weight", 0.25)):
        step = (after[name].detach() - before[name]).abs().max()
        assert float(step) == pytest.approx(rate * 1e-3, rel=1e-2)


@pytest.mark.parametrize(("epochs", "batches", "warmup"), [(1, 5, 0.5), (3, 7, 0.11), (6, 1, 0.2)])
def test_no_rate_is_above_the_recipes(epochs: int, batches: int, warmup: float) -> None:
    training = Training(tiny(), Recipe(epochs=epochs, warmup=warmup, rate=0.1), seed=0)
    rates = []
    for step in range(epochs * batches + 3):
        training._set_rate(step, batches)
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert max(rates) <= 0.1 + 1e-12
    assert rates.index(max(rates)) <= warmup * epochs * batches + 1
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert min(rates[: epochs * batches]) > 0


def test_the_running_mean_of_the_weights_is_by_formula() -> None:
    train, holdout = halves()
    training = Training(tiny(), replace(PLAIN, ema=0.8, rate=0.05), seed=0)
    name = "layers.0.weight"
    mean = training.network.state_dict()[name].double().clone()
    epochs = []

    def follow(images: int) -> None:
        nonlocal mean
        if images:
            mean = 0.8 * mean + 0.2 * training.network.state_dict()[name].double()

    for record in training.epochs(train, holdout, tick=follow):
        epochs.append(record)
        torch.testing.assert_close(training.ema[name].double(), mean, rtol=0, atol=1e-6)
    live = training.network.state_dict()[name].double()
    assert float((live - mean).abs().max()) > 1e-3
    assert epochs[-1].best
    torch.testing.assert_close(training.best[name], training.ema[name])  # and is what is kept


def test_targets_take_turns_with_views_and_are_learned_by_cross_entropy() -> None:
    """By hand: minus the sum of target · log probability, weighted; epoch 3 of two views is 1."""
    train, _ = halves()
    rng = np.random.default_rng(0)
    soft = rng.dirichlet([1, 1], (2, 24))
    training = Training(tiny().eval(), replace(PLAIN, smoothing=0.1), seed=0)
    maps: Any = train.inputs
    weight = np.linspace(1, 2, 24).astype(np.float32)
    rows = np.array([3, 0, 7])
    target = training._target(replace(train, targets=soft), rows, weight, number=3)
    ours = training._loss(maps.values[rows], target) / target.sum()
    logits = training.network(maps.values[rows]).detach().numpy().astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    each = -(soft[1, rows] * log_p).sum(axis=1)
    assert float(ours.detach()) == pytest.approx(np.average(each, weights=weight[rows]), abs=1e-6)


def test_a_step_in_parts_moves_the_weights_as_one_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where batch norm keeps its statistics; else each part has its own."""
    train, _ = halves()
    maps: Any = train.inputs
    weight = np.linspace(1, 2, 24).astype(np.float32)
    moved = {}
    for norm, most in itertools.product(("frozen", "train"), (1, 3)):
        monkeypatch.setattr(finetune, "passes", lambda *_, most=most: most)
        torch.manual_seed(0)
        training = Training(tiny(), replace(PLAIN, norm=norm, dropout=0.0, clip=0.1), seed=0)
        training._train_mode()
        target = training._target(train, np.arange(24), weight)
        training._set_rate(3, 4)
        assert training._step(maps.values, target)
        moved[norm, most] = torch.cat([p.detach().ravel() for p in training.network.parameters()])
    torch.testing.assert_close(moved["frozen", 1], moved["frozen", 3], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(moved["train", 1], moved["train", 3], rtol=1e-3, atol=1e-5)


def test_mixup_mixes_images_and_labels_by_the_same_share() -> None:
    """Against Zhang's form: share · loss(own label) + (1 - share) · loss(the other's label)."""
    train, _ = halves()
    training = Training(tiny().eval(), replace(PLAIN, mixup=0.4, smoothing=0.1), seed=0)
    maps: Any = train.inputs
    batch, y = maps.values[:6], train.y[:6]
    weight = np.array([1, 2, 3, 1, 1, 5], np.float32)
    target = training._target(train, np.arange(6), weight)
    ours = training._loss(*training._mixed(batch, target, np.random.default_rng(5)))
    ours = ours / target.sum()
    rng = np.random.default_rng(5)
    share, other = rng.beta(0.4, 0.4), rng.permutation(6)
    assert 0 < share < 1
    assert (other != np.arange(6)).any()
    logits = training.network(share * batch + (1 - share) * batch[other])
    truth, importance = torch.from_numpy(y), torch.from_numpy(weight)

    def loss(truth: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, truth, reduction="none", label_smoothing=0.1)

    mixed = share * importance * loss(truth)
    mixed = mixed + (1 - share) * importance[other] * loss(truth[other])
    assert float(ours.detach()) == pytest.approx(
        float(mixed.sum().detach() / importance.sum()), abs=1e-6
    )


def test_the_sampler_draws_classes_equally_often_and_the_loss_weighs_them() -> None:
    maps, y = images([0] * 40 + [1] * 4 + [3] * 6)  # class 2 is in no training row
    train = data(maps, y, range(50))
    training = Training(tiny(4), replace(PLAIN, balance="sampler"), seed=0)
    drawn = np.concatenate(
        [rows for number in range(1, 61) for rows, _ in training._batches(train, number)]
    )
    counts = np.bincount(y[drawn], minlength=4)
    assert counts[2] == 0
    sigma = math.sqrt(3000 * 1 / 3 * 2 / 3)
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 4 * sigma
    assert training._weight(train).tolist() == [1] * 50
    weight = Training(tiny(4), replace(PLAIN, balance="loss"), seed=0)._weight(train)
    sums = [weight[y == k].sum() for k in (0, 1, 3)]
    assert sums == pytest.approx([50 / 3] * 3, rel=1e-5)


def test_the_mean_of_the_last_weights_is_kept_only_where_it_is_better() -> None:
    train, holdout = halves()
    training = Training(tiny(), replace(PLAIN, average=2), seed=0)
    run(training, train, holdout, until=1)
    good = {name: value.clone() for name, value in training.network.state_dict().items()}
    logits = training.logits(holdout)
    lowest = score(logits, holdout.y[holdout.rows])[0]
    up, down = ({name: value.clone() for name, value in good.items()} for _ in range(2))
    up["head.bias"] += torch.tensor([3.0, 0.0])
    down["head.bias"] -= torch.tensor([3.0, 0.0])
    training.recent, training.best = [up, down], up
    assert training._try_average(holdout, lowest + 1e-3)
    assert_states(training.best, good, 1e-6)
    training.best = up
    assert not training._try_average(holdout, lowest - 1e-3)
    assert training.best is up
    assert_states(training.network.state_dict(), good, 0)  # the live weights stay as they were


# ------------------------------------------------------------------ stopping


def scripted(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> None:
    """Have the holdout give these losses, epoch 0 first."""
    turns = itertools.chain.from_iterable(((0.0, 0.5, 0.5), (x, 0.5, 0.5)) for x in losses)
    monkeypatch.setattr(finetune, "score", lambda logits, y: next(turns))


@pytest.mark.parametrize(
    ("losses", "best", "why"),
    [
        ([0.9, 0.8, 0.7, 0.75, 0.7, 0.71], [0, 1, 2], "3 epochs without a lower loss"),
        ([0.9, 0.8, 0.9, 0.9, 0.5, 0.6, 0.4], [0, 1, 4, 6], "all 6 epochs"),
        ([0.1, 0.2, 0.3, 0.4], [0], "3 epochs without a lower loss"),
    ],
)
def test_patience_counts_epochs_without_a_lower_loss(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], best: list[int], why: str
) -> None:
    train, holdout = halves()
    training = Training(tiny(), replace(PLAIN, epochs=6, patience=3), seed=0)
    scripted(monkeypatch, losses)
    states = []
    for record in training.epochs(train, holdout):
        states.append({k: v.clone() for k, v in training.network.state_dict().items()})
        assert training.history[-1] is record
    assert [e.number for e in training.history] == list(range(len(losses)))
    assert [e.number for e in training.history if e.best] == best
    assert why in training.history[-1].stopped
    assert not any(e.stopped for e in training.history[:-1])
    assert_states(training.best, states[best[-1]], 0)
    training.restore_best()
    assert_states(training.network.state_dict(), states[best[-1]], 0)


def test_no_patience_never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    train, holdout = halves()
    scripted(monkeypatch, [0.1, *[0.5] * 5])
    history = run(Training(tiny(), replace(PLAIN, epochs=5), seed=0), train, holdout)
    assert (history[-1].number, history[-1].stopped) == (5, "all 5 epochs are done")


def test_the_network_as_it_was_is_best_where_training_makes_it_worse() -> None:
    maps, y = images([i % 2 for i in range(60)])
    train, holdout = data(maps, y, range(20)), data(maps, y, range(20, 60))
    wrong = replace(train, y=np.where(np.arange(60) < 20, 1 - y, y))
    training = Training(tiny(), replace(PLAIN, epochs=3, rate=0.05), seed=0)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    history = run(training, wrong, holdout)
    assert [e.best for e in history] == [True, False, False, False]
    assert (history[0].number, history[0].rate, history[0].stopped) == (0, 0.0, "")
    assert_states(training.best, before, 0)
    logits = tiny().eval()(maps.values[20:]).detach()
    expected = float(functional.cross_entropy(logits, torch.from_numpy(y[20:])))
    assert history[0].holdout[0] == pytest.approx(expected, abs=1e-6)


def test_until_ends_without_a_holdout_and_the_last_weights_are_best() -> None:
    train, holdout = halves()
    nobody = replace(holdout, rows=holdout.rows[:0])
    training = Training(tiny(), replace(PLAIN, epochs=5, patience=1, average=2), seed=0)
    history = run(training, train, nobody, until=3)
    assert [e.number for e in history] == [0, 1, 2, 3]
    assert [e.best for e in history] == [False, True, True, True]
    assert all(math.isnan(value) for e in history for value in e.holdout)
    assert history[-1].stopped == "all 3 epochs are done"
    assert_states(training.best, training.network.state_dict(), 0)


def test_no_epochs_leave_the_network_as_it_starts() -> None:
    train, holdout = halves()
    network = tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    training = Training(network, PLAIN, seed=0)
    (only,) = run(training, train, replace(holdout, rows=holdout.rows[:0]), until=0)
    assert (only.number, only.stopped) == (0, "all 0 epochs are done")
    assert_states(training.best, before, 0)


def test_ticks_count_images_and_a_resumed_run_starts_with_what_was_done(tmp_path: Path) -> None:
    train, holdout = halves()
    told: list[int] = []
    kept = tmp_path / "c.safetensors"
    recipe = replace(PLAIN, epochs=3)
    steps = Training(tiny(), recipe, seed=0, checkpoint=kept).epochs(train, holdout)
    next(steps), next(steps), next(steps)
    run(Training(tiny(), recipe, seed=0, checkpoint=kept), train, holdout, tick=told.append)
    assert told == [32, 8, 8]


# ------------------------------------------------------------------ killed and resumed

EVERYTHING = Recipe(
    epochs=5, patience=4, batch_size=4, rate=0.02, rate_decay=0.7, warmup=0.3, mixup=0.3, ema=0.7,
    average=3, dropout=0.3,
)  # fmt: skip
STAGES = {"layers.0.weight": 2, "layers.3.weight": 1}


def everything(checkpoint: Path | None) -> Training:
    return Training(
        tiny(3, 0.3), EVERYTHING, seed=2, stages=STAGES, checkpoint=checkpoint, identity="a"
    )


def told(history: Sequence[Epoch]) -> list[Epoch]:
    """All of a history but the seconds."""
    return [replace(epoch, seconds=0.0) for epoch in history]


def test_a_run_goes_on_from_every_epoch_bit_for_bit(tmp_path: Path) -> None:
    train, holdout = halves(30, 3)
    whole = everything(None)
    assert len(run(whole, train, holdout)) == 6
    for done in range(7):
        kept = tmp_path / f"{done}.safetensors"
        first = everything(kept)
        list(itertools.islice(first.epochs(train, holdout), done))
        again = everything(kept)
        torch.rand(7)  # what else was drawn in the process does not matter
        records = run(again, train, holdout)
        assert [e.number for e in records] == list(range(done, 6))
        assert told(again.history) == told(whole.history)
        assert_states(again.best, whole.best, 0)
        assert_states(again.ema, whole.ema, 0)
        assert len(again.recent) == len(whole.recent) == 3
        for mine, theirs in zip(again.recent, whole.recent, strict=True):
            assert_states(mine, theirs, 0)
        assert_states(again.network.state_dict(), whole.network.state_dict(), 0)


def test_a_convolutional_network_in_channels_last_goes_on_bit_for_bit(
    lite0: Backbone, tmp_path: Path
) -> None:
    """Loaded tensors lie in memory as the old ones did; kernels round otherwise if not."""
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.normal(size=(12, 192, 2, 2)).astype(np.float32))
    y = np.arange(12) % 2
    train, holdout = data(Maps(maps), y, range(8)), data(Maps(maps), y, range(8, 12))
    recipe = replace(PLAIN, ema=0.5, clip=1.0, decay=0.02)

    def made(kept: Path | None) -> Training:
        return Training(
            tail_with_head(tail_of(lite0, "blocks.5"), 1280, 2, 0.0),
            recipe,
            seed=0,
            checkpoint=kept,
        )

    whole, kept = made(None), tmp_path / "c.safetensors"
    run(whole, train, holdout)
    list(itertools.islice(made(kept).epochs(train, holdout), 2))
    again = made(kept)
    run(again, train, holdout)
    assert told(again.history) == told(whole.history)
    assert_states(again.best, whole.best, 0)
    for name, value in again.ema.items():
        assert value.stride() == whole.ema[name].stride(), name
    for mine, theirs in zip(again.network.parameters(), whole.network.parameters(), strict=True):
        moments = again.optimizer.state[mine], whole.optimizer.state[theirs]
        for name in ("exp_avg", "exp_avg_sq"):
            assert moments[0][name].stride() == moments[1][name].stride() == theirs.stride()
            assert torch.equal(moments[0][name], moments[1][name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train, holdout = halves(30, 3)
    kept = tmp_path / "c.safetensors"
    next(everything(kept).epochs(train, holdout))
    other = everything(kept)
    other.identity = "b"
    with pytest.raises(
        FitError, match=r"c\.safetensors is the checkpoint of another run.*remove it"
    ):
        run(other, train, holdout)


@pytest.mark.parametrize("how", ["cut", "empty", "header", "middle", "words"])
def test_a_garbled_checkpoint_is_as_if_not_there(tmp_path: Path, how: str) -> None:
    train, holdout = halves(30, 3)
    kept = tmp_path / "c.safetensors"
    list(itertools.islice(everything(kept).epochs(train, holdout), 3))
    whole = bytearray(kept.read_bytes())
    assert read_checkpoint(kept, "a") is not None
    if how == "words":
        torch_save = {"a": torch.zeros(1)}
        from safetensors.torch import save_file

        save_file(torch_save, kept)
    else:
        at = {"header": 3, "middle": len(whole) - 500}.get(how)
        if at is not None:
            whole[at] ^= 0xFF
        kept.write_bytes(whole[: {"cut": len(whole) // 2, "empty": 0}.get(how, len(whole))])
    assert read_checkpoint(kept, "a") is None
    again = everything(kept)
    assert [e.number for e in run(again, train, holdout)] == list(range(6))


KILLED = """
import os, random, signal, sys, time
import numpy as np
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
torch.set_num_threads(1)  # nothing here has run in threads yet, so that it can be forked
from test_finetune import everything, halves, told
from medgraft.learn.checkpoint import read_checkpoint
from safetensors.torch import save_file
import medgraft.evaluate.metrics

folder, kills = Path({folder!r}), {kills}
random.seed(os.getpid())

def child(name, slow):
    pid = os.fork()
    if pid:
        return pid
    try:
        train, holdout = halves(30, 3)
        training = everything(folder / f"{{name}}.checkpoint")
        step = (lambda n: time.sleep(0.002)) if slow else (lambda n: None)
        for _ in training.epochs(train, holdout, tick=step):
            pass
        words = {{"history": repr(told(training.history))}}
        save_file({{k: v.contiguous().clone() for k, v in training.best.items()}},
                  folder / f"{{name}}.end", words)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

began = time.perf_counter()
assert os.waitpid(child("whole", True), 0)[1] == 0
length = time.perf_counter() - began
killed = rounds = 0
whole = (folder / "whole.end").read_bytes()
while killed < kills:
    rounds += 1
    name = f"round{{rounds}}"
    checkpoint = folder / f"{{name}}.checkpoint"
    while True:
        pid = child(name, True)
        if killed < kills:
            time.sleep(random.uniform(0, length))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            killed += 1
            if checkpoint.exists() and read_checkpoint(checkpoint, "a") is None:
                sys.exit("a checkpoint was half-written")
            continue
        if status:
            sys.exit("a run failed")
        break
    if (folder / f"{{name}}.end").read_bytes() != whole:
        sys.exit(f"round {{rounds}} ended otherwise")
print(killed, rounds, round(length, 2))
"""


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, kills: int) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path), kills=kills)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) == kills


# ------------------------------------------------------------------ no numbers


def test_a_rate_beyond_all_bounds_stops_training_with_what_was_best() -> None:
    """Where the first epoch went well, its weights stay, and the last record says why."""
    train, holdout = halves()
    training = Training(tiny(), replace(PLAIN, epochs=5), seed=0)
    steps = training.epochs(train, holdout)
    first, second = next(steps), next(steps)
    assert (first.number, second.number) == (0, 1)
    kept = {name: value.clone() for name, value in training.best.items()}
    training.recipe = replace(training.recipe, rate=1e29)
    (last,) = steps
    assert last.number == 2
    assert "epoch 2, batch 2 is not a number: i" in last.stopped
    assert not last.best
    assert math.isnan(last.holdout[0])
    assert_states(training.best, kept, 0)
    assert all(torch.isfinite(value).all() for value in training.best.values())
    assert json.loads(json.dumps([e.to_json() for e in training.history], allow_nan=False))


@pytest.mark.parametrize("empty", [True, False])
def test_weights_without_numbers_at_an_epochs_end_are_never_best(empty: bool) -> None:
    """One step an epoch: the loss is still finite, only what it leads to is not."""
    train, holdout = halves()
    holdout = replace(holdout, rows=holdout.rows[: 0 if empty else None])
    training = Training(tiny(), replace(PLAIN, epochs=5, batch_size=16), seed=0)
    steps = training.epochs(train, holdout)
    next(steps), next(steps)
    kept = {name: value.clone() for name, value in training.best.items()}
    training.recipe = replace(training.recipe, rate=1e29)
    (last,) = steps
    assert "after epoch 2 the network's scores are not numbers: i" in last.stopped
    assert not last.best
    assert_states(training.best, kept, 0)


def test_nothing_learned_is_an_error_that_names_epoch_batch_and_images() -> None:
    train, holdout = halves()
    training = Training(tiny(), replace(PLAIN, rate=1e29), seed=0)
    with pytest.raises(FitError, match=r"epoch 1, batch 2 .*: i\d+, .* and 3 more; .*1e\+29"):
        run(training, train, holdout)


@pytest.mark.parametrize("norm", ["train", "frozen"])
def test_a_poisoned_image_is_named_alone(norm: Any) -> None:
    maps, y = images([i % 2 for i in range(200)])
    train, holdout = data(maps, y, range(180)), data(maps, y, range(180, 200))
    bad = next(i for i in range(90, 180) if i not in finetune._glance(train, holdout).rows)
    maps.values[bad, 1, 2, 2] = math.inf
    training = Training(tiny(), replace(PLAIN, norm=norm), seed=0)
    with pytest.raises(FitError, match=rf"epoch 1, batch \d+ is not a number: i{bad};"):
        run(training, train, holdout)
    rest, held = data(maps, y, range(90)), data(maps, y, [180, bad, 181])
    with pytest.raises(FitError, match=rf"before any training .* not numbers: i{bad};"):
        run(Training(tiny(), PLAIN, seed=0), rest, held)


def test_a_bad_end_is_the_end_for_a_resumed_run_too(tmp_path: Path) -> None:
    train, holdout = halves()
    kept = tmp_path / "c.safetensors"
    training = Training(tiny(), replace(PLAIN, epochs=5), seed=0, checkpoint=kept)
    steps = training.epochs(train, holdout)
    next(steps), next(steps)
    training.recipe = replace(training.recipe, rate=1e29)
    list(steps)
    again = Training(tiny(), replace(PLAIN, epochs=5), seed=0, checkpoint=kept)
    assert run(again, train, holdout) == []
    assert [repr(e) for e in again.history] == [repr(e) for e in training.history]
    assert_states(again.best, training.best, 0)


# ------------------------------------------------------------------ small and uneven


@pytest.mark.parametrize(
    ("n", "batch", "sizes"),
    [
        (2, 32, [2]),
        (3, 2, [3]),
        (5, 2, [3, 2]),
        (7, 2, [3, 2, 2]),
        (33, 32, [33]),
        (48, 32, [24, 24]),
        (20, 100, [20]),
    ],
)
def test_no_batch_is_of_one_image(n: int, batch: int, sizes: list[int]) -> None:
    """One value a channel has no variance: torch refuses it."""
    maps, y = images([i % 2 for i in range(n)], side=3)  # the last map is 1 × 1
    network: Any = tiny()
    network.layers.append(nn.BatchNorm2d(6))
    training = Training(network, replace(PLAIN, epochs=1, batch_size=batch), seed=0)
    train = data(maps, y, range(n))
    history = run(training, train, data(maps, y, [0]))
    assert [len(part) for view, part in maps.asked if view == 1] == sizes
    assert history[-1].number == 1
    assert math.isfinite(history[-1].holdout[0])


def test_one_image_is_too_few() -> None:
    maps, y = images([0, 1])
    with pytest.raises(FitError, match="1 training images; at least two"):
        run(Training(tiny(), PLAIN, seed=0), data(maps, y, [0]), data(maps, y, [1]))
    with pytest.raises(ScenarioError, match="batch_size = 1 makes no sense"):
        Recipe(batch_size=1)


@pytest.mark.parametrize("balance", ["none", "loss", "sampler"])
def test_a_class_may_be_missing_from_either_side(balance: Any) -> None:
    maps, y = images([0, 1] * 8 + [2] * 4)
    recipe = replace(PLAIN, balance=balance)
    history = run(
        Training(tiny(3), recipe, seed=0), data(maps, y, range(16)), data(maps, y, range(14, 20))
    )
    assert all(math.isfinite(value) for e in history for value in (*e.train, *e.holdout))
    history = run(
        Training(tiny(3), recipe, seed=0), data(maps, y, range(20)), data(maps, y, [0, 2, 4])
    )
    assert all(math.isnan(e.holdout[1]) and math.isfinite(e.holdout[0]) for e in history)
    text = json.dumps([e.to_json() for e in history], allow_nan=False)
    back = [Epoch.from_json(row) for row in json.loads(text)]
    assert [repr(e) for e in back] == [repr(e) for e in history]
    assert sum(e.best for e in history) >= 1


def test_scores_by_hand() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]]))
    loss, area, accuracy = score(logits, np.array([0, 1, 1, 0]))
    assert loss == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.9]).mean())
    assert area == 1.0
    assert accuracy == 0.75
    assert score(logits, np.zeros(4, np.int64))[0] == pytest.approx(
        -np.log(logits[:, 0] * 0 + np.exp(logits[:, 0])).mean()
    )
    assert math.isnan(score(logits, np.zeros(4, np.int64))[1])
    assert all(map(math.isnan, score(np.full((2, 2), np.nan), np.array([0, 1]))))
    three = np.log(np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]))
    # one against rest: class 0 has 0.5 against 0.2, 0.1, 0.6; class 1 0.5 against 0.3, 0.2, 0.3 ...
    assert score(three, np.array([0, 1, 2, 2]))[1] == pytest.approx((2 / 3 + 1 + 2 / 4) / 3)


# ------------------------------------------------------------------ wherever it runs


@pytest.mark.skipif(not half_precision(), reason="needs a processor that computes in bf16")
def test_half_precision_learns_and_is_judged_in_single() -> None:
    maps, y = images([i % 2 for i in range(96)])
    maps.values[:, 0] += 2 * torch.from_numpy(y)[:, None, None]
    train, holdout = data(maps, y, range(64)), data(maps, y, range(64, 96))
    seen: set[tuple[bool, torch.dtype]] = set()
    training = Training(tiny(), replace(PLAIN, precision="bf16", rate=0.02, epochs=6), seed=0)
    training.network.layers[0].register_forward_hook(
        lambda m, i, o: seen.add((m.training, o.dtype))
    )
    history = run(training, train, holdout)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert all(p.dtype == torch.float32 for p in training.network.parameters())
    assert history[0].holdout[0] > 0.6
    assert history[-1].holdout[0] < 0.2


def test_weights_and_maps_stay_channels_last(lite0: Backbone) -> None:
    network: Any = tail_with_head(tail_of(lite0, "blocks.5"), 1280, 2, 0.0)
    rng = np.random.default_rng(0)
    inputs = CachedMaps((rng.normal(size=(8, 2 * 2 * 192)).astype(np.float16),), 192)
    seen: list[bool] = []

    def look(module: Any, given: Any, output: torch.Tensor) -> None:
        seen.append(output.is_contiguous(memory_format=torch.channels_last))

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    training = Training(network, replace(PLAIN, epochs=1), seed=0)
    y = np.arange(8) % 2
    run(training, data(inputs, y, range(8)), data(inputs, y, []))
    assert seen
    assert all(seen)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            assert parameter.is_contiguous(memory_format=torch.channels_last)


def test_training_that_breaks_off_leaves_no_thread_behind() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(200, 9 * 2)).astype(np.float16)
    inputs, y = CachedMaps((maps,), 2), np.arange(200) % 2
    train, nobody = data(inputs, y, range(200)), data(inputs, y, [])
    bad = next(i for i in range(90, 200) if i not in finetune._glance(train, nobody).rows)
    maps[bad] = np.inf
    before = threading.active_count()
    training = Training(tiny(), replace(PLAIN, batch_size=4), seed=0)
    with pytest.raises(FitError, match=rf"epoch 1, .*i{bad}"):
        run(training, train, nobody)
    assert threading.active_count() == before


# ------------------------------------------------------------------ recipes


def test_recipes_by_name() -> None:
    assert recipe_of(()) == Recipe()
    assert recipe_of((("classic", ""), ("epochs", "7"))).epochs == 7
    assert recipe_of((("classic", ""),)).optimizer == "adam"
    assert recipe_of((("probe", "False"),)).probe is False
    for params, words in {
        ("rate", "nan"): "rate = nan makes no sense",
        ("rate", "fast"): "'fast' is no float",
        ("probe", "yes"): "'yes' is no bool",
        ("speed", "1"): "no training setting 'speed'",
        ("optimizer", "sgd"): "optimizer = sgd makes no sense",
    }.items():
        with pytest.raises(ScenarioError, match=words):
            recipe_of((params,))
    with pytest.raises(ScenarioError, match="would train networks that nothing uses"):
        recipe_of((("networks", "2"), ("deploy", "once")))


def test_the_last_epoch_is_kept_where_the_recipe_says_so_and_nothing_stops_it() -> None:
    """Of a holdout whose labels are wrong every epoch is worse than the one before."""
    maps, y = images([i % 2 for i in range(96)])
    maps.values[:, 0] += 2 * torch.from_numpy(y)[:, None, None]
    train = data(maps, y, range(64))
    wrong = replace(data(maps, 1 - y, range(64, 96)), y=1 - y)
    kept = {}
    for keep in ("best", "last"):
        recipe = replace(PLAIN, keep=keep, patience=2, rate=0.02, epochs=5)
        training = Training(tiny(), recipe, seed=0)
        history = run(training, train, wrong)
        kept[keep] = max(epoch.number for epoch in history if epoch.best), history[-1].number
    assert kept == {"best": (0, 2), "last": (5, 5)}
