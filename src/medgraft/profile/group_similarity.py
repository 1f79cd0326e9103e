"""One patient on both sides of the test border, or merely one number?

Images that share a guessed key are of one patient if they are clearly more alike than others, which
is measured on a network's codes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medgraft.data.groups.paths import short_keys
from medgraft.errors import DataError
from medgraft.profile.leakage import counted, examples, guessed_from_names
from medgraft.types import Estimate, FeatureTable, Finding, Floats, ImageTable, Ints, Strings

Mask = NDArray[np.bool_]

ASK = "Ask who collected the images what the numbers in the names mean."
PERMUTATIONS = 999
# Limits of `likeness_of_sharers`: .5 is chance; patients of chest X-rays torn on purpose gave .75
# (.72 to .78), keys that are merely numbers .46 (.42 to .50).
LEAKAGE = 0.6  # one patient on both sides: the interval lies above this
NUMBERING = 0.7  # mere numbering: the interval ends below this
PROPOSED = "proposed group"
ENOUGH_KEYS = 10  # so many shared keys can be exchanged among themselves
MOST_KEYS = 300  # per class; more are sampled, for time
MOST_IMAGES = 30  # of one key on one side; more are sampled, for time


def numbering_or_leakage(
    table: ImageTable, codes: FeatureTable | None, seed: int = 0
) -> tuple[Finding, ...]:
    """Judge guessed keys that occur on both sides of the test border: one patient, or one number?

    `person12_virus_3` and `person12_bacteria_7` share the shorter key `person12`. Counting may
    have started anew, so sharing it proves nothing; what does is that images sharing it are more
    alike than others. With many images even a difference too small to come from patients is
    certain not to be chance, so significance is not asked for, but size: the whole interval above
    `LEAKAGE` is leakage, the whole interval below `NUMBERING` is numbering, anything else is
    undecided. Keys of which only a few in a hundred are shared truly pass as numbering.

    Parameters
    ----------
    table
        All images. Judged are the shorter keys of `data.group_paths.short_keys`, and the groups
        themselves where they were guessed from file names.
    codes
        CNN codes of the images that could be read, in any order; None: nothing is measured.
    seed
        Of the permutations.

    Raises
    ------
    DataError
        `codes` holds no development image of the table.
    """
    guesses = short_keys(table.ids)
    if guessed_from_names(table):
        kind, _, key = np.strings.partition(table.groups, ":")
        guesses[PROPOSED] = np.where(kind == "image", "", key)
    test = table.splits == "test"
    crossing = {
        name: np.setdiff1d(np.intersect1d(keys[test], keys[~test]), [""])
        for name, keys in guesses.items()
    }
    crossing = {name: shared for name, shared in crossing.items() if len(shared)}
    if codes is None or not crossing:
        return tuple(
            _not_measured(name, shared, "no codes of the images were given")
            for name, shared in crossing.items()
        )
    rows, unit = unit_codes(table, codes)
    readable = table.select(rows)
    findings = []
    for name, shared in crossing.items():
        similarity = similarity_of_sharers(readable, unit, guesses[name][rows], seed)
        findings.append(
            _judged(name, shared, similarity)
            if similarity
            else _not_measured(name, shared, "no images of one class to compare")
        )
    return tuple(findings)


class GroupSimilarity(NamedTuple):
    """The chance that an image of the shared key is the more alike one; .5 if keys mean nothing.

    `p` by permutation, `closest` the ids of the most alike images that share a key, in pairs.
    """

    estimate: Estimate
    p: float
    closest: tuple[str, ...]


def similarity_of_sharers(
    table: ImageTable, unit: Floats, keys: Strings, seed: int = 0
) -> GroupSimilarity | None:
    """How much more alike images sharing a key across the test border are than others.

    For every shared key and class: the probability that a test image of the key is more alike to
    a development image of the key than to one of another shared key, of the same class. Where
    fewer than `ENOUGH_KEYS` are shared, all development keys are the others. The value is the mean
    over keys; p comes from `PERMUTATIONS` random ways of matching test keys with development
    keys, each key's images staying together. The interval is Student's over keys, and at least
    as wide as random matching gives, so that one or two lucky keys prove nothing.

    Parameters
    ----------
    unit : (n, features), codes of length 1, so that products are cosines (`unit_codes`).
    keys : (n,), '' where an image has none.

    Returns
    -------
    Likeness or None
        None where no class has a shared key and another one to compare with.
    """
    rng = np.random.default_rng(seed)
    test = table.splits == "test"
    own: list[Floats] = []
    at_random = np.zeros(PERMUTATIONS)
    closest: list[tuple[float, int, int]] = []
    for label in np.unique(table.labels[table.labels >= 0]):
        here = (table.labels == label) & (keys != "")
        seen, judged = _by_key(keys, here & ~test, rng), _by_key(keys, here & test, rng)
        pool, n_shared = _pool(list(seen), list(judged), rng)
        if not n_shared or len(pool) < 2:
            continue
        sizes = [len(seen[key]) for key in pool]
        development = unit[np.concatenate([seen[key] for key in pool])]
        wins = np.empty((len(pool), n_shared))  # of development key i over others, for test key j
        for j, key in enumerate(pool[:n_shared]):
            wins[:, j] = chance_to_win(unit[judged[key]] @ development.T, sizes)
            closest.append(_closest(unit, judged[key], seen[key]))
        own.append(np.diag(wins))
        order = rng.permuted(np.tile(np.arange(len(pool)), (PERMUTATIONS, 1)), axis=1)
        at_random += wins[order[:, :n_shared], np.arange(n_shared)].sum(axis=1)
    if not own:
        return None
    value = np.concatenate(own)
    as_high = int((at_random >= value.sum() - 1e-9).sum())
    pairs = [row for _, *pair in sorted(closest, reverse=True) for row in pair]
    return GroupSimilarity(
        _over_keys(value, at_random / len(value)),
        (1 + as_high) / (1 + PERMUTATIONS),
        examples(table.ids[pairs]),
    )


def unit_codes(table: ImageTable, codes: FeatureTable) -> tuple[Ints, Floats]:
    """Rows of the table that have codes (m,), and these codes standardised, of length 1.

    Mean and spread are those of the development images.

    Raises
    ------
    DataError
        `codes` holds no development image of the table.
    """
    row_of = {id_: row for row, id_ in enumerate(table.ids.tolist())}
    found = np.array([row_of.get(id_, -1) for id_ in codes.ids.tolist()], np.int64)
    rows = found[found >= 0]
    development = table.splits[rows] != "test"
    if not development.any():
        raise DataError(
            f"none of the {len(found):,} codes given is of an image to learn from in this table; "
            "extract the codes from this table"
        )
    values = codes.matrix()[found >= 0]
    spread = values[development].std(axis=0)
    values = (values - values[development].mean(axis=0)) / np.where(spread > 0, spread, 1)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return rows, values / np.where(length > 0, length, 1)


def _by_key(keys: Strings, mask: Mask, rng: np.random.Generator) -> dict[str, Ints]:
    """The rows of each key among these, at most `MOST_IMAGES` of each, drawn at random."""
    members: dict[str, list[int]] = {}
    for row in rng.permutation(np.flatnonzero(mask)).tolist():
        members.setdefault(str(keys[row]), []).append(row)
    return {key: np.array(members[key][:MOST_IMAGES], np.int64) for key in sorted(members)}


def _pool(seen: list[str], judged: list[str], rng: np.random.Generator) -> tuple[list[str], int]:
    """The development keys to compare with, shared ones first, and how many are shared."""
    shared: list[str] = rng.permutation(np.intersect1d(seen, judged)).tolist()[:MOST_KEYS]
    if len(shared) >= ENOUGH_KEYS:
        return shared, len(shared)
    others: list[str] = rng.permutation(np.setdiff1d(seen, judged)).tolist()
    return [*shared, *others[: MOST_KEYS - len(shared)]], len(shared)


def chance_to_win(cosines: Floats, sizes: list[int]) -> Floats:
    """For each key, the probability that its images are more alike than those of other keys.

    Mann-Whitney's U = sum of ranks - size (size + 1) / 2, over size (n_development - size); ties
    count half.

    Parameters
    ----------
    cosines : (n_test, n_development), columns key by key.
    sizes : columns of each key.

    Examples
    --------
    >>> chance_to_win(np.array([[0.9, 0.1, 0.5, 0.3]]), [1, 1, 2]).tolist()
    [1.0, 0.0, 0.5]
    """
    ranks = stats.rankdata(np.asarray(cosines, np.float64), axis=1).mean(axis=0)
    size = np.array(sizes)
    mean_rank = np.add.reduceat(ranks, np.cumsum([0, *sizes[:-1]])) / size
    chance: Floats = (mean_rank - (size + 1) / 2) / (len(ranks) - size)
    return chance


def _closest(unit: Floats, tests: Ints, development: Ints) -> tuple[float, int, int]:
    """The cosine of the most alike pair, and its rows."""
    cosines = unit[tests] @ unit[development].T
    i, j = np.unravel_index(cosines.argmax(), cosines.shape)
    return float(cosines[i, j]), int(tests[i]), int(development[j])


def _over_keys(value: Floats, at_random: Floats) -> Estimate:
    """The mean of (n_keys,) and its interval; at_random : that mean under random matchings."""
    n = len(value)
    student = stats.t.isf(0.025, n - 1) * value.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    half = max(float(student), float(stats.norm.isf(0.025) * at_random.std()))
    mean = float(value.mean())
    method = f"Student over {n} keys, at least as wide as random matching"
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n, method)


def _occurrence(name: str, shared: Strings) -> str:
    what = (
        f"{counted(len(shared), 'group')} guessed from file names (such as {shared[0]})"
        if name == PROPOSED
        else f"{counted(len(shared), 'shorter key')} ({name}, such as {shared[0]})"
    )
    return f"{what} {'occurs' if len(shared) == 1 else 'occur'} on both sides of the test border"


def _not_measured(name: str, shared: Strings, why: str) -> Finding:
    return Finding(
        "shared_numbering",
        "warn" if name == PROPOSED else "info",
        f"{_occurrence(name, shared)}. Whether that is the same patient or only the same number "
        f"was not measured ({why}).",
        {"key": name, "keys": len(shared)},
        remedy=ASK,
    )


def _judged(name: str, shared: Strings, similarity: GroupSimilarity) -> Finding:
    value, low, high = (
        round(100 * share)
        for share in (similarity.estimate.value, similarity.estimate.low, similarity.estimate.high)
    )
    measured = (
        f"(of two images of its class, a test image was more like the one that shares its key in "
        f"{value} % of comparisons; 95 % interval {low} to {high} %; 50 % is chance)"
    )
    occurrence = _occurrence(name, shared)
    numbers: dict[str, float | int | str] = {
        "key": name,
        "keys": len(shared),
        "compared": similarity.estimate.n,
        "more_alike": similarity.estimate.value,
        "low": similarity.estimate.low,
        "high": similarity.estimate.high,
        "p": similarity.p,
    }
    if similarity.estimate.low > LEAKAGE:
        text = (
            f"{occurrence}, and images that share one are clearly more alike than others "
            f"{measured}. They are probably of the same patients, so test figures will look "
            "better than they are."
        )
        remedy = (
            "Look at the pairs listed; if they are of one patient, group by this key (--group) "
            "and move each group to one side."
        )
        return Finding("shared_patients", "severe", text, numbers, similarity.closest, remedy)
    if similarity.estimate.high < NUMBERING:
        more = "hardly more" if similarity.estimate.low > 0.5 else "no more"
        text = (
            f"{occurrence}: images that share one are {more} alike than others {measured}. This "
            "is overlap of numbering, not of patients."
        )
        return Finding("shared_numbering", "info", text, numbers, similarity.closest)
    text = f"{occurrence}. Whether they are of the same patients cannot be told {measured}."
    return Finding("shared_numbering", "warn", text, numbers, similarity.closest, ASK)
