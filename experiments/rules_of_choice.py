"""Which rule recommends best, by simulation: the table of docs/decisions/0015.

Twenty scenarios, simplest first, the best worth an AUROC of .90 and the margin .01. Called as
`python experiments/rules_of_choice.py [runs]`; prints Markdown. 50 runs take three minutes.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
from scipy import stats

from medgraft.evaluate.compare import compare, upper_loss
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.winners_curse import Resampled, judged_out_of_bag, resample_in_and_out
from medgraft.studies.simplest import Rule, allowed_loss
from medgraft.types import Floats
from page import lines
from simulated_scenarios import distance, sim

BEST, MARGIN, N_SCENARIOS = 0.90, 0.01, 20
SPREAD = np.linspace(6, 0, N_SCENARIOS)
TRUTHS = {  # how many margins each is worse than the best
    "all equal": np.zeros(N_SCENARIOS),
    **{f"the last best by {lead:g}": np.append([lead] * 19, 0.0) for lead in (0.5, 1, 1.5, 3)},
    "spread, better upwards": SPREAD,
    "spread, in any order": SPREAD[np.random.default_rng(5).permutation(N_SCENARIOS)],
}
SIZES = (60, 150, 300, 1500)
RULES = ("best", "surely", "within", "one error", "out of bag", "ours")


def chosen_by_each(drawn: Resampled) -> list[int]:
    """The place of what each rule of `RULES` takes."""
    values, top = drawn.values, int(drawn.values.argmax())
    margin = float(allowed_loss(values[top], drawn.metric))
    gaps = values[top] - values
    others = [i for i in range(len(values)) if i != top]
    upper = np.zeros(len(values))
    upper[others] = [
        upper_loss(one, drawn.metric)
        for one in compare(
            drawn.scenarios[top],
            [drawn.scenarios[i] for i in others],
            "auroc",
            sampling=drawn.sampling,
        )
    ]
    error = (upper - gaps) / stats.norm.isf(0.025)
    worth = judged_out_of_bag(drawn, drawn.in_bag.argmax(axis=0)).mean()
    close = {
        "surely": upper <= margin,
        "within": gaps <= margin,
        "one error": gaps <= np.minimum(error, margin),
        "out of bag": worth - values <= margin,
    }
    first = {name: int((near | (gaps == 0)).argmax()) for name, near in close.items()}
    first |= {"best": top, "ours": Rule.of(drawn, upper).choose(np.zeros(len(values), bool))}
    return [first[name] for name in RULES]


def cell(worse: Floats, n: int, group_size: int, rho: float, runs: int) -> Floats:
    """(n_rules, 3): the mean true loss in margins, the share of more than one, the mean place."""
    d = distance(BEST - MARGIN * worse)
    places = []
    for seed in range(runs):
        predictions = sim(seed, n, group_size, d.tolist(), rho)
        drawn = resample_in_and_out(predictions, "auroc", sampling=Sampling(resamples=300))
        places.append(chosen_by_each(drawn))
    lost = worse[np.array(places)]  # (n_runs, n_rules)
    found = [lost.mean(axis=0), (lost > 1.001).mean(axis=0), np.mean(places, axis=0)]
    return np.stack(found, axis=1)


def main() -> None:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rows, all_cells = [], []
    for (name, worse), n in product(TRUTHS.items(), SIZES):
        each = [cell(worse, n, g, rho, runs) for g, rho in product((1, 3), (0.5, 0.95))]
        all_cells += each
        shown = np.mean(each, axis=0)
        text = [f"{lost:.2f} · {100 * bad:.0f} % · {place:.1f}" for lost, bad, place in shown]
        rows.append([name, f"{n:,}", *text])
        print(rows[-1], file=sys.stderr, flush=True)
    print("\n".join(lines(["truth (margins)", "images", *RULES], rows)))
    over = np.stack(all_cells)[:, :, 0]
    over = over - over[:, :1]
    print(
        "\n".join(
            lines(
                ["loss against taking the best, in margins", *RULES],
                [
                    ["mean", *(f"{x:+.2f}" for x in over.mean(axis=0))],
                    ["at most, of all cells", *(f"{x:+.2f}" for x in over.max(axis=0))],
                ],
            )
        )
    )


if __name__ == "__main__":
    main()
