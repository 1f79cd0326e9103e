"""The audit of a study's candidates, on development images that their models have not seen.

What fails is not recommended while something that is close enough to the best does not fail.
Nothing here sees the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.data.split import Development
from medgraft.errors import FitError
from medgraft.features.extract import Extractor
from medgraft.learn.fit import unseen_models
from medgraft.results.evidence import FEW_PAIRS
from medgraft.results.recommendation import AuditResult
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario
from medgraft.studies.recommend import Recommendation
from medgraft.studies.store import RunStore
from medgraft.types import AuditFinding, Estimate, Scenario, digest

CANDIDATES = 3  # that are audited at most
SHORTER = (
    "To shorten it press Ctrl-C and type the command again with --resume and --audit-pairs "
    f"{FEW_PAIRS}, or with --resume and --no-audit; what is done is kept."
)


@dataclass(frozen=True, eq=False)
class AuditedChoice:
    """The choice that the audits left, and the audits by key, in the order they were made."""

    choice: Recommendation
    audits: Mapping[str, Audit]

    @property
    def mine(self) -> Audit:
        """The audit of what is recommended."""
        return self.audits[self.choice.recommended]


def audit_candidates(
    choice: Recommendation,
    choose: Callable[[Sequence[str]], Recommendation],
    audit: Callable[[str], Audit],
    store: RunStore | None = None,
) -> AuditedChoice:
    """Audit the recommended scenario, and where it fails the next that are close enough.

    choose : the recommendation without some keys. audit : of a key. Where all that are audited
    fail, the first stays recommended.
    """
    audits: dict[str, Audit] = {}
    for key in choice.close[:CANDIDATES]:
        audits[key] = _noted(key, audit(key), store)
        if audits[key].result.verdict != "FAIL":
            break
    else:
        return AuditedChoice(choice, audits)
    failed = [key for key, one in audits.items() if one.result.verdict == "FAIL"]
    return AuditedChoice(choose(failed) if failed else choice, audits)


def audit_settled(
    choice: Recommendation, audit: Callable[[str], Audit], store: RunStore | None = None
) -> AuditedChoice:
    """Audit what is recommended, which stands whatever comes out; arguments as above."""
    key = choice.recommended
    return AuditedChoice(choice, {key: _noted(key, audit(key), store)})


def _noted(key: str, audit: Audit, store: RunStore | None) -> Audit:
    """An audit whose outcome was written down."""
    if store is not None:
        store.event(
            "audited",
            key=key,
            verdict=audit.result.verdict,
            smallest_effect=audit.result.smallest_effect,
            warnings=[f.check for f in audit.result.findings if f.severity != "info"],
        )
    return audit


def audit_unseen(
    scenario: Scenario, development: Development, options: StudyOptions, extractor: Extractor
) -> Audit:
    """Audit a scenario by the models of its folds, each on the images that it has not seen."""
    wanted = AuditOptions(
        options.modality,
        masks=options.masks,
        pairs=options.audit_pairs,
        grid=False,
        more=False,
        seed=options.seed,
    )
    try:
        models = unseen_models(scenario, development, extractor)
    except FitError as error:
        return _no_models(error, wanted)
    table, folds = development.table, development.folds
    key = digest(scenario.full_key, scenario.seed, table.fingerprint, folds.fingerprint)
    parts = [(fitted, table.select(rows)) for fitted, rows in models]
    return audit_evidence(
        parts,
        wanted,
        progress=extractor.progress,
        cache=extractor.cache,
        key=key,
        shorter=SHORTER,
    )


def _no_models(error: FitError, options: AuditOptions) -> Audit:
    """An audit without a verdict, of images too few for models that have not seen a fold."""
    finding = AuditFinding("few_groups", "warn", error=str(error))
    result = AuditResult("INCONCLUSIVE", 1.0, (finding,))
    nothing = Estimate(float("nan"), 0.0, 1.0, 0, "not measured: there is no model")
    return Audit(result, options, nothing, (), None, {}, None, ())


def scenario_of(planned: Sequence[PlannedScenario], key: str) -> Scenario:
    """The planned scenario of that key."""
    return next(entry.scenario for entry in planned if entry.scenario.key == key)
