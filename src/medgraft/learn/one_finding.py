"""One finding of networks that learned several: its scores, and its head on the shared layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medgraft.data.split import Development
from medgraft.errors import DataError
from medgraft.learn.finetune_setup import Trained
from medgraft.types import Floats, Folds, Ints


@dataclass(frozen=True, eq=False)
class OneFinding:
    """Which output of the networks it is, and which of their images it is known of.

    column : of the networks' outputs. row_of : (m,) of the networks' images the row in the
    finding's own table, -1 where that does not have it. sides : (2,) what a logit adds to the score
    of each class: half of it to the finding, minus half to its absence.
    """

    column: int
    row_of: Ints
    sides: Floats

    @classmethod
    def of(cls, development: Development) -> Self | None:
        """The finding that is positive in `development`; None where it stands alone.

        Raises
        ------
        DataError
            It is none of those that are learned together.
        """
        together, table = development.together, development.table
        if together is None:
            return None
        name = str(table.positive)
        if name not in together.panel.names:
            raise DataError(
                f"{name} is none of the findings that are learned together "
                f"({', '.join(together.panel.names)})"
            )
        at = {one: row for row, one in enumerate(table.ids.tolist())}
        rows = [at.get(one, -1) for one in together.panel.images.ids.tolist()]
        sides = np.full(2, -0.5)
        sides[table.classes.index(name)] = 0.5
        return cls(together.panel.names.index(name), np.array(rows, np.int64), sides)

    def scores(self, logits: Floats) -> Floats:
        """(m, 2) of both classes, from logits (m, k)."""
        return np.asarray(logits[:, self.column, None] * self.sides)

    def runs(
        self, runs: Sequence[Sequence[Trained]], folds: Folds
    ) -> tuple[tuple[Trained, ...], ...]:
        """What networks said of the images of which the finding is known.

        runs : of every fold its networks. folds : of all their images.
        """
        found = []
        for k, fold in enumerate(runs):
            judged = np.flatnonzero(folds.assignment == k)
            found.append(tuple(self._run(run, judged) for run in fold))
        return tuple(found)

    def _run(self, run: Trained, judged: Ints) -> Trained:
        mine, held = self.row_of[judged] >= 0, self.row_of[run.held] >= 0
        order = np.argsort(self.row_of[judged][mine])  # as the finding's own table has them

        def of_judged(logits: Floats) -> Floats:
            return self.scores(logits[mine][order])

        return dataclasses.replace(
            run,
            scores=of_judged(run.scores),
            changed=None if run.changed is None else of_judged(run.changed),
            held=self.row_of[run.held][held],
            held_scores=self.scores(run.held_scores[held]),
        )

    def head(self, state: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Coefficients (2, d) and intercepts (2,) of its classes, from a network's weights."""
        coef = state["head.weight"][self.column].astype(np.float64)
        bias = float(state["head.bias"][self.column])
        return np.outer(self.sides, coef), self.sides * bias
