"""One training loop: epochs of log loss over a part of a network, with the best weights kept.

`Training.epochs` is the loop, and yields a record an epoch. How it trains says
`training_recipe.py`, what enters it (kept maps of a frozen trunk, or pixels) `inputs.py`, what a
killed run goes on from `checkpoint.py`; which part of which network is trained on which images,
`finetune_setup.py`.

Everything that is drawn (order, mixing, dropout) is drawn from the seed and the number of the
epoch, so that a run that was killed goes on from its last epoch with the same numbers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from medgraft.errors import FitError, ScenarioError
from medgraft.evaluate.metrics import auroc
from medgraft.features.engine import float32, torch_device
from medgraft.learn.checkpoint import State, mean_state, read_checkpoint, write_checkpoint
from medgraft.learn.fast_steps import (
    computing,
    half_precision,
    keep_freed_memory,
    passes,
    return_freed_memory,
)
from medgraft.learn.inputs import Inputs
from medgraft.learn.multilabel import log_probabilities, loss_weights, score_findings, smoothed
from medgraft.panel import Marks
from medgraft.results.training import Epoch, Scores
from medgraft.training_recipe import Recipe
from medgraft.types import Floats, Ints, Strings

if TYPE_CHECKING:
    import torch
    from torch import nn

JUDGE = 64  # images judged at once; more take memory and no less time
GLANCE = 32  # training images at least whose loss is shown, or half as many as are held out

NOTHING: Scores = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """Images that are learned from or judged by: `rows` (n,) of what `inputs` holds.

    y, weight, ids : of everything that `inputs` holds, and so are looked up by row; y is (n,)
    labels, or what is known of several findings (n, k). targets :
    (views, n, n_classes) of the same, probabilities to learn instead of `y`, of the views that
    `inputs` gives in turn (one: of every view); rows sum to 1.
    """

    inputs: Inputs
    rows: Ints
    y: Ints | Marks
    weight: Floats
    ids: Strings
    targets: Floats | None = None


def tail_with_head(layers: nn.Module, channels: int, n_classes: int, dropout: float) -> nn.Module:
    """Layers that give (batch, channels, rows, columns), their mean, dropout and a linear head."""
    import torch
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers
            self.drop = nn.Dropout(dropout)
            self.head = nn.Linear(channels, n_classes)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def codes(self, maps: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.layers(maps)
            return features.float().mean(dim=(2, 3))

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.drop(self.codes(maps)))
            return logits

    classifier = Classifier()
    for parameter in classifier.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return classifier


class Training:
    """A run of training: the network, what the optimizer remembers, and the best weights so far.

    Parameters
    ----------
    network
        From `tail_with_head`; trained in place.
    stages
        For each parameter its depth behind the head, in stages, for `Recipe.rate_decay`.
    device
        Where to train; the best there is by default.
    checkpoint
        A file written after every epoch; a run that finds one goes on from it.
    identity
        What decides the run's numbers. A checkpoint of another run is refused.

    Raises
    ------
    ScenarioError
        The recipe asks for half precision, which this processor does not compute in.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        seed: int,
        stages: Mapping[str, int] | None = None,
        device: str | None = None,
        checkpoint: Path | None = None,
        identity: str = "",
    ) -> None:
        import torch

        self.recipe, self.seed = recipe, seed
        self.device = torch.device(device or torch_device())
        if recipe.precision == "bf16" and self.device.type == "cpu" and not half_precision():
            raise ScenarioError(
                "precision = bf16 needs a processor that computes in it (AVX-512 or AMX), and this "
                "one does not; leave --training precision=f32"
            )
        self.network: Any = network.to(self.device)
        self.checkpoint, self.identity = checkpoint, identity
        self.history: list[Epoch] = []
        self.best: State = {}
        self.ema: State = _copy(self._state()) if recipe.ema else {}
        self.recent: list[State] = []
        self.optimizer: Any = self._optimizer(stages or {})

    # ----------------------------------------------------------------------- the loop

    def epochs(
        self,
        train: Data,
        holdout: Data,
        *,
        until: int | None = None,
        tick: Callable[[int], None] = lambda images: None,
    ) -> Iterator[Epoch]:
        """Train, and yield a record after each epoch; `best` then holds the best weights so far.

        The first record, number 0, is of the network before any training, which is the best where
        training only makes things worse. Where a loss is not a number training stops, with the
        best weights so far and a last record that says why.

        until : end after so many epochs of the recipe's schedule, 0 being none at all; with an
        empty holdout, or where the recipe keeps the last, nothing else ends it, and the last
        weights are the best. tick : called with the number of images of each batch, for a progress
        bar.

        Raises
        ------
        FitError
            The loss is not a number before one epoch has ended, so that nothing was learned; or
            there are fewer than two images to learn from; or the checkpoint is of another run.
        """
        import torch

        return_freed_memory()  # of whatever came before
        keep_freed_memory()
        batches = self._n_batches(len(train.rows))
        weight = self._weight(train)
        judges = (_glance(train, holdout), holdout)
        self.resume()
        if not self.history:
            yield self._end_epoch(0, 0.0, time.perf_counter(), judges, until)
        tick(self.history[-1].number * len(train.rows))
        while not self.history[-1].stopped:
            number, rate, bad = self.history[-1].number + 1, 0.0, ""
            began = time.perf_counter()
            torch.manual_seed(_seed(self.seed, number))
            self._train_mode()
            for step, (rows, batch) in enumerate(self._batches(train, number)):
                rate = self._set_rate((number - 1) * batches + step, batches)
                target = self._target(train, rows, weight, number)
                drawn = np.random.default_rng([self.seed, number, step])
                if not self._step(*self._mixed(batch, target, drawn)):
                    which = _named(_suspects(batch, train.ids[rows]))
                    bad = f"the loss of epoch {number}, batch {step + 1} is not a number: {which}"
                    break
                tick(len(rows))
            yield self._end_epoch(number, rate, began, judges, until, bad)
        return_freed_memory()

    def _end_epoch(
        self,
        number: int,
        rate: float,
        began: float,
        judges: tuple[Data, Data],
        until: int | None,
        bad: str = "",
    ) -> Epoch:
        """Judge the weights of an epoch's end, keep them where they are the best, and note it.

        judges : a part of the training images, and the holdout. bad : why the epoch broke off.
        """
        holdout = judges[1]
        state = self.ema or self._state()
        there = here = NOTHING
        if not bad:
            return_freed_memory()  # of a step, into which batches that are judged do not fit
            with self._weights(state):
                logits = [self.logits(data) for data in judges]
            return_freed_memory()
            there, here = (score(*pair) for pair in zip(logits, map(_labels, judges), strict=True))
            bad = _without_numbers(number, judges, logits)
        if bad and number <= 1:
            raise FitError(f"{bad}; look at these images, or lower the rate ({self.recipe.rate:g})")
        kept = [epoch for epoch in self.history if epoch.best]
        lowest = kept[-1].holdout[0] if kept else math.inf
        by_holdout = len(holdout.rows) > 0 and self.recipe.keep == "best"
        best = not bad and (here[0] < lowest if by_holdout else number > 0)
        if best or not self.best:
            self.best = _copy(state)
        if self.recipe.average and number and not bad:
            self.recent = [*self.recent, _copy(state)][-self.recipe.average :]
        since = 0 if best or not by_holdout else number - kept[-1].number
        stopped = bad or self._why_stopped(number, until, since)
        if stopped and by_holdout and not bad and self._try_average(holdout, min(lowest, here[0])):
            stopped += f"; kept is the mean of the last {len(self.recent)} epochs' weights"
        record = Epoch(number, rate, time.perf_counter() - began, there, here, best, stopped)
        self.history.append(record)
        self._keep()
        return record

    def _why_stopped(self, number: int, until: int | None, since: int) -> str:
        """Why training ends with this epoch, '' where it goes on.

        since : epochs since the best one, by which it stops early.
        """
        if number == (self.recipe.epochs if until is None else until):
            return f"all {number} epochs are done"
        if 0 < self.recipe.patience <= since:
            return f"{since} epochs without a lower loss on the holdout"
        return ""

    def _try_average(self, holdout: Data, lowest: float) -> bool:
        """Take the mean of the last epochs' weights where the holdout says it is better."""
        if len(self.recent) < 2:
            return False
        mean = mean_state(self.recent)
        with self._weights(mean):
            better = score(self.logits(holdout), _labels(holdout))[0] < lowest
        if better:
            self.best = mean
        return better

    # ----------------------------------------------------------------------- a step

    def _target(self, train: Data, rows: Ints, weight: Floats, number: int = 0) -> torch.Tensor:
        """(batch, n_classes) smoothed labels, or targets; a row sums to the weight of its image.

        Of several findings (batch, k, 2). Targets are not smoothed: those who gave them learned
        from smoothed labels. number : of the epoch, which says what view its images are seen in.
        """
        import torch
        from torch.nn import functional

        if train.y.ndim == 2:
            known = smoothed(train.y[rows], weight[rows], self.recipe.smoothing)
            return self._to_device(torch.from_numpy(known))
        if train.targets is not None:
            soft = train.targets[number % len(train.targets)][rows]
            target = torch.from_numpy(soft).float()
        else:
            n_classes = int(self.network.head.out_features)
            target = functional.one_hot(torch.from_numpy(train.y[rows]), n_classes).float()
            target = (1 - self.recipe.smoothing) * target + self.recipe.smoothing / n_classes
        return self._to_device(target * torch.from_numpy(weight[rows])[:, None])

    def _mixed(
        self, batch: torch.Tensor, target: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch's images and targets, mixed with each other if so asked."""
        import torch

        if not self.recipe.mixup:
            return batch, target
        share = float(rng.beta(self.recipe.mixup, self.recipe.mixup))
        other = torch.from_numpy(rng.permutation(len(batch))).to(self.device)
        batch = share * batch + (1 - share) * batch[other]
        return batch, share * target + (1 - share) * target[other]

    def _loss(self, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The weighted sum of the log losses of images."""
        from torch.nn import functional

        with computing(self.device, self.recipe.precision):
            logits = self.network(batch).float()
        several = target.ndim == 3
        log_prob = log_probabilities(logits) if several else functional.log_softmax(logits, dim=1)
        loss: torch.Tensor = -(target * log_prob).sum()
        return loss

    def _step(self, batch: torch.Tensor, target: torch.Tensor) -> bool:
        """Move the weights down the gradient of the weighted mean loss of a batch.

        Whether loss and gradient are numbers; else the weights stay.
        """
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        total, n = target.sum().clamp(min=1e-12), passes(len(batch), batch.shape[-2:].numel())
        loss = torch.zeros((), device=self.device)
        for images, wanted in zip(batch.tensor_split(n), target.tensor_split(n), strict=True):
            part = self._loss(images, wanted) / total
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.clip or math.inf
        )
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            return False
        self.optimizer.step()
        self._update_ema()
        return True

    def _weight(self, train: Data) -> Floats:
        """(n,) float32 weights of images in the loss; of several findings (n, k)."""
        if train.y.ndim == 2:
            balanced = self.recipe.balance == "loss"
            return loss_weights(train.y, train.weight, train.rows, balanced=balanced)
        weight = train.weight.astype(np.float64)
        if self.recipe.balance == "loss":
            y = train.y[train.rows]
            total = np.bincount(y, weight[train.rows])  # of each class
            mean = total.sum() / (total > 0).sum()
            weight[train.rows] *= mean / np.maximum(total, 1e-12)[y]
        return weight.astype(np.float32)

    def _batches(self, train: Data, number: int) -> Iterator[tuple[Ints, torch.Tensor]]:
        """An epoch's batches in seeded order, the next ones made ready beside the training."""
        rng = np.random.default_rng([self.seed, number])
        rows = train.rows
        if self.recipe.balance == "sampler":
            total = np.bincount(train.y[rows])
            share = 1 / total[train.y[rows]] / (total > 0).sum()
            order = rng.choice(rows, len(rows), p=share)
        else:
            order = rng.permutation(rows)
        parts = np.array_split(order, self._n_batches(len(rows)))
        for part, maps in train.inputs.batches(parts, number):
            yield part, self._to_device(maps)

    def _n_batches(self, n: int) -> int:
        """Batches an epoch, of about equal size, none of one image."""
        if n < 2:
            raise FitError(f"{n} training images; at least two are needed to train a network")
        return max(1, min(round(n / self.recipe.batch_size), n // 2))

    def _set_rate(self, step: int, batches: int) -> float:
        """Set the rates of this step, counted from 0 over all epochs; give the head's."""
        recipe = self.recipe
        total = recipe.epochs * batches
        rising = recipe.warmup * total
        if step < rising:
            share = min((step + 1) / rising, 1.0)
        elif recipe.schedule == "constant":
            share = 1.0
        else:
            share = 0.5 * (1 + math.cos(math.pi * min((step - rising) / (total - rising), 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * share * group["share"]
        return recipe.rate * share

    def _optimizer(self, stages: Mapping[str, int]) -> Any:
        """Adam or AdamW with the rate of each stage; norms and biases do not decay."""
        import torch

        groups: dict[tuple[float, float], list[Any]] = {}
        for name, parameter in self.network.named_parameters():
            share = self.recipe.rate_decay ** stages.get(name, 0)
            decay = self.recipe.decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
        kind = torch.optim.AdamW if self.recipe.optimizer == "adamw" else torch.optim.Adam
        return kind(
            [
                {"params": some, "share": share, "weight_decay": decay}
                for (share, decay), some in groups.items()
            ],
            lr=self.recipe.rate,
            foreach=True,
        )

    def _train_mode(self) -> None:
        from torch import nn

        self.network.train()
        if self.recipe.norm == "frozen":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _update_ema(self) -> None:
        """The running mean e ← d·e + (1 - d)·weights, from the weights before training on."""
        for name, value in self._state().items() if self.ema else ():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - self.recipe.ema)
            else:
                self.ema[name].copy_(value)

    # ----------------------------------------------------------------------- weights and scores

    def logits(self, data: Data, view: int = 0) -> Floats:
        """Scores (n, n_classes) of images as they are, or of a view of them, in eval mode."""
        import torch

        self.network.eval()
        if not len(data.rows):
            return np.zeros((0, int(self.network.head.out_features)))
        n = math.ceil(len(data.rows) / min(JUDGE, 4 * self.recipe.batch_size))
        found = []
        with torch.inference_mode(), float32():  # as it will be used, whatever trained it
            for _, maps in data.inputs.batches(np.array_split(data.rows, n), view):
                found.append(self.network(self._to_device(maps)).float().cpu().numpy())
        return np.concatenate(found).astype(np.float64)

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give the network weights that were kept as arrays."""
        import torch

        self.network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})

    def restore_best(self) -> None:
        """Give the network the weights that were best on the holdout."""
        self.network.load_state_dict(self.best)

    def _state(self) -> State:
        return {name: value.detach() for name, value in self.network.state_dict().items()}

    @contextmanager
    def _weights(self, state: State) -> Iterator[None]:
        """The network with other weights for a while."""
        before = _copy(self._state())
        self.network.load_state_dict(state)
        try:
            yield
        finally:
            self.network.load_state_dict(before)

    def _to_device(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.device, non_blocking=True)

    # ----------------------------------------------------------------------- resuming

    def _keep(self) -> None:
        """Write what a killed run needs to go on from here."""
        if self.checkpoint is None:
            return
        groups = {"network": self._state(), "best": self.best, "ema": self.ema}
        groups |= {f"recent {i}": state for i, state in enumerate(self.recent)}
        remembered = self.optimizer.state_dict()["state"]
        groups |= {f"optimizer {i}": state for i, state in remembered.items()}
        history = json.dumps([epoch.to_json() for epoch in self.history])
        write_checkpoint(self.checkpoint, self.identity, history, groups)

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one and this run has not begun."""
        if self.checkpoint is None or self.history:
            return
        found = read_checkpoint(self.checkpoint, self.identity)
        if found is None:
            return
        history, groups = found
        self.history = [Epoch.from_json(row) for row in json.loads(history)]
        like = self._state()
        self.network.load_state_dict(groups["network"])
        self.best = _as(like, groups["best"])
        self.ema = _as(like, groups.get("ema", {}))
        n_recent = sum(name.startswith("recent ") for name in groups)
        self.recent = [_as(like, groups[f"recent {i}"]) for i in range(n_recent)]
        kept = self.optimizer.state_dict()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        kept["state"] = {
            i: _as(dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter), groups[f"optimizer {i}"])
            for i, parameter in enumerate(parameters)
            if f"optimizer {i}" in groups
        }
        self.optimizer.load_state_dict(kept)


def _copy(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


def _as(like: Mapping[str, torch.Tensor], state: State) -> State:
    """The values on the device and in the memory order of `like`, on which the last bits depend."""
    import torch

    return {
        name: torch.empty_like(like[name]).copy_(value) if name in like else value
        for name, value in state.items()
    }


def _seed(*parts: int) -> int:
    """One number for torch from several."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _glance(train: Data, holdout: Data) -> Data:
    """Half as many training images, evenly drawn, to be seen and judged as the holdout is."""
    n = min(max(len(holdout.rows) // 2, GLANCE), len(train.rows))
    some = np.linspace(0, len(train.rows) - 1, n).astype(int)
    return replace(train, rows=train.rows[some], inputs=holdout.inputs)


def _labels(data: Data) -> Ints | Marks:
    return data.y[data.rows]


def score(logits: Floats, y: Ints | Marks) -> Scores:
    """Log loss, AUROC (macro, one against rest) and accuracy of (n, n_classes) logits.

    The AUROC is nan where one class only is there; all three are where a logit is no number. Of
    several findings, y (n, k), see `score_findings`.
    """
    if y.ndim == 2:
        return score_findings(logits, y)
    if not len(y) or not np.isfinite(logits).all():
        return NOTHING
    log_prob = log_softmax(logits, axis=1)
    loss = -float(log_prob[np.arange(len(y)), y].mean())
    present = [1] if log_prob.shape[1] == 2 else np.unique(y).tolist()
    areas = [auroc(y == k, log_prob[:, k]) for k in present if 0 < (y == k).sum() < len(y)]
    area = float(np.mean(areas)) if areas else math.nan
    return loss, area, float((logits.argmax(axis=1) == y).mean())


# --------------------------------------------------------------------------- no numbers


def _suspects(batch: torch.Tensor, ids: Strings) -> Strings:
    """The images of a batch that are no numbers themselves; all of it where none is."""
    import torch

    poisoned = ~torch.isfinite(batch).flatten(1).all(dim=1).cpu().numpy()
    return ids[poisoned] if poisoned.any() else ids


def _without_numbers(number: int, judges: Sequence[Data], logits: Sequence[Floats]) -> str:
    """What to say where the network gives some images no finite scores, '' where it gives all."""
    lost = [
        data.ids[data.rows[~np.isfinite(some).all(axis=1)]]
        for data, some in zip(judges, logits, strict=True)
    ]
    ids = np.concatenate(lost)
    if not len(ids):
        return ""
    when = f"after epoch {number}" if number else "before any training"
    return f"{when} the network's scores are not numbers: {_named(ids)}"


def _named(ids: Strings, most: int = 5) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most].tolist()) + more
