"""What a study would do with a budget, without doing it."""

from __future__ import annotations

from medgraft.data.pool.pool import shorter_side
from medgraft.errors import ScenarioError
from medgraft.features.extract import Extractor
from medgraft.profile.similarity import measure_similarity
from medgraft.results.recommendation import Similarity
from medgraft.studies.defaults import with_defaults
from medgraft.studies.options import StudyOptions
from medgraft.studies.prepare import check, divided
from medgraft.studies.session import Session
from medgraft.studies.within_budget import draw, plan_within
from medgraft.types import BudgetUse, ImageTable


def preview(
    table: ImageTable, options: StudyOptions, extractor: Extractor
) -> tuple[BudgetUse, Similarity]:
    """The steps that the budget holds, with predicted seconds, and how far the images are.

    A few images are read to time it, and up to 128 for their similarity to ImageNet. A study knows
    more once it has read all images: whether they must be judged in changed views, for one.

    Raises
    ------
    ScenarioError
        There is no budget that decides, or it is too small for anything.
    DataError, FitError
        There is not enough to learn from.
    """
    if not options.automatic:
        raise ScenarioError(
            "a plan is drawn where a budget decides what is run; pass --budget 30m and no "
            "--families"
        )
    check(table, options, extractor)
    options = with_defaults(options, table, extractor)
    table = divided(table, options)
    session = Session(extractor, None)
    drawn = draw(table, options, shorter_side(table.development), session)
    similarity = measure_similarity(table.development, extractor)
    _, steps = plan_within(drawn, options, table.development, similarity, False, session)
    return drawn.use(options, steps), similarity
