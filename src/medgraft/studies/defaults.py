"""What a study compares, and by what, where that is left to its images.

Classes that are grades are judged by quadratic weighted kappa, which weighs a mistake by the square
of its distance, and a head that knows their order is compared with those that do not (decision
0045).
"""

from __future__ import annotations

import dataclasses

from medgraft.errors import ScenarioError
from medgraft.features.extract import Extractor
from medgraft.scenario import DEFAULT_METRIC, Scenario
from medgraft.studies.options import PLAIN_HEADS, StudyOptions
from medgraft.studies.second_network import with_networks
from medgraft.types import ImageTable

ORDINAL = "ordinal"
GRADES_METRIC = "quadratic_kappa"


def with_defaults(options: StudyOptions, table: ImageTable, extractor: Extractor) -> StudyOptions:
    """The options with heads, metric and networks as suit these images, where they name none.

    Raises
    ------
    ScenarioError
        A head of grades is named, and the classes are none.
    """
    heads = options.heads or (*PLAIN_HEADS, *([ORDINAL] if table.ordered else []))
    if ORDINAL in heads:
        require_grades(ORDINAL, table)
    suited = dataclasses.replace(
        options, heads=heads, metric=options.metric or default_metric(table)
    )
    return with_networks(suited, table, extractor)


def default_metric(table: ImageTable) -> str:
    """By what scenarios are compared where nobody said."""
    return GRADES_METRIC if table.ordered else DEFAULT_METRIC


def require_grades(what: str | Scenario, table: ImageTable) -> None:
    """Refuse a head that goes by the order of classes which have none.

    Raises
    ------
    ScenarioError
        The text says how to give it.
    """
    head = what if isinstance(what, str) else what.head
    if head == ORDINAL and not table.ordered:
        raise ScenarioError(
            f"the head {ORDINAL} is for three grades or more, and the order of the classes "
            f"({', '.join(table.classes)}) was not given; pass --ordered where their names count "
            "up, else --order with the lowest first"
        )
