"""Whether a study's learning curve says the truth: simulated images with known learning curves.

`make results-learning-curve` computes what experiments/results/learning_curve.jsonl lacks, a line a
cell, and writes docs/results/learning-curve.md. A trial draws n images of two classes, judges a
linear SVM on them in five folds as a study does, and asks for twice as many; the truth comes from
heads that learned from so many other images, their strength chosen on them, judged on 4,000.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from medgraft.evaluate.learning_curve import points_of
from medgraft.evaluate.metrics import Case, auroc
from medgraft.evaluate.power_law import WIDER, double
from medgraft.learn.heads import nested_scores
from medgraft.learn.learning_curve import refits
from page import lines, read_cells

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "experiments" / "results" / "learning_curve.jsonl"
PAGE = ROOT / "docs" / "results" / "learning-curve.md"
SIZES = (100, 200, 600)
TRIALS, TRUTHS, JUDGED = 50, 12, 4000
# features, distance of the classes, share of wrong labels
WORLDS = {"easy": (60, 2.5, 0.0), "hard": (60, 1.2, 0.0), "wrong labels": (60, 2.0, 0.1),
          "wide": (300, 2.2, 0.0)}  # fmt: skip
MARGIN = 0.01

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


def draw(world: str, n: int, rng: np.random.Generator) -> Images:
    """Codes (n, d) of two normal classes, in axes of different length, and their labels."""
    d, distance, wrong = WORLDS[world]
    y = rng.integers(0, 2, n)
    X = rng.standard_normal((n, d)) + distance / np.sqrt(d) * (y[:, None] - 0.5)
    X /= np.sqrt(1 + np.arange(d) / 10)
    return X.astype(np.float32), np.where(rng.random(n) < wrong, 1 - y, y)


def trial(world: str, n: int, seed: int) -> dict[str, Any]:
    """What a study of n images would say of twice as many."""
    X, y = draw(world, n, np.random.default_rng([list(WORLDS).index(world), n, seed]))
    fold = np.empty(n, np.int64)
    for k, (_, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y)):
        fold[held] = k
    groups = np.arange(n).astype(str)
    found = refits("svm", nested_scores("svm", X, y, fold).final, X, y, fold, groups, seed)
    cases = []
    for one in found:
        p = 1 / (1 + np.exp(one.scores[:, 0] - one.scores[:, 1]))
        prob = np.stack([1 - p, p], axis=1)
        cases.append(Case(y, (p > 0.5).astype(np.int64), prob, groups, fold, ("a", "b"), 1))
    points = points_of(cases, [one.share for one in found], "auroc")
    said = double(points)
    return {"now": float(points.losses[-1]), "loss": said.loss, "gain": said.gain}


def truth(world: str, n: int) -> float:
    """1 - AUROC of heads that learned from n images, on average."""
    found = []
    for i in range(TRUTHS):
        rng = np.random.default_rng([list(WORLDS).index(world), n, i, 1])
        (X, y), (others, theirs) = draw(world, n, rng), draw(world, JUDGED, rng)
        head = nested_scores("svm", X, y, np.arange(n) % 5).head
        found.append(1 - auroc(theirs == 1, head.decision_function(others)[:, 1]))
    return float(np.mean(found))


def measure(world: str, n: int) -> dict[str, Any]:
    """One cell."""
    now, then = truth(world, int(0.8 * n)), truth(world, int(1.6 * n))
    said = [trial(world, n, seed) for seed in range(TRIALS)]
    loss, gain = (np.array([one[name] for one in said]) for name in ("loss", "gain"))
    true = now - then
    helps, hardly = gain[:, 1] >= MARGIN, gain[:, 2] < MARGIN
    return {
        "world": world, "n": n, "wider": WIDER, "now": now, "twice": then,
        "said_now": float(np.mean([one["now"] for one in said])),
        "said_twice": float(loss[:, 0].mean()), "said_gain": float(gain[:, 0].mean()),
        "loss_held": float(np.mean((loss[:, 1] <= then) & (then <= loss[:, 2]))),
        "gain_held": float(np.mean((gain[:, 1] <= true) & (true <= gain[:, 2]))),
        "width": float((gain[:, 2] - gain[:, 1]).mean()),
        "verdicts": [float(helps.mean()), float(hardly.mean())],
    }  # fmt: skip


def write(cells: list[dict[str, Any]]) -> None:
    """The page."""
    text = [
        "# What twice the images would bring",
        "",
        "Written by `make results-learning-curve` from experiments/results/learning_curve.jsonl; "
        f"do not edit. {TRIALS} simulated studies a row, of two classes under a linear SVM in five "
        "folds; losses are 1 - AUROC. *True* is what heads get that learned from as many images "
        "as the folds do, and from twice as many. *Held* is how often the 95 % interval holds it.",
        "",
        *lines(
            ("world", "images", "true loss now", "said", "true with twice", "said", "held",
             "true gain", "said", "held", "width", "said to help, hardly"),
            (
                (
                    c["world"], str(c["n"]), f"{c['now']:.3f}", f"{c['said_now']:.3f}",
                    f"{c['twice']:.3f}", f"{c['said_twice']:.3f}", f"{c['loss_held']:.0%}",
                    f"{c['now'] - c['twice']:+.4f}", f"{c['said_gain']:+.4f}",
                    f"{c['gain_held']:.0%}", f"{c['width']:.3f}",
                    " ".join(f"{share:.0%}" for share in c["verdicts"]),
                )
                for c in cells
            ),
        ),
        f"The spread that is reckoned is taken {WIDER:g} times: as it is, intervals of the loss "
        "held .88 to .98. A gain counts as help from "
        f"{MARGIN:g} on; *said to help* where the whole interval lies above, *hardly* below.",
        "",
    ]  # fmt: skip
    PAGE.write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    """Compute what is lacking; then write."""
    cells = read_cells(CELLS)
    done = {(cell["world"], cell["n"]) for cell in cells if cell["wider"] == WIDER}
    cells = [cell for cell in cells if (cell["world"], cell["n"]) in done]
    for world in WORLDS:
        for n in SIZES:
            if (world, n) not in done:
                cells.append(measure(world, n))
                CELLS.write_text("".join(f"{json.dumps(cell)}\n" for cell in cells))
                print(cells[-1], flush=True)
    write(cells)


if __name__ == "__main__":
    main()
