"""What other rooms say, without what only a command line takes: the page has buttons for that."""

from __future__ import annotations

import re
import shlex
from typing import Any

from medgraft.types import Finding

TYPED = re.compile(r"(?<!\w)--[a-z]|regex:|\bDATA\b|pass the one that is right")
IN_BRACKETS = re.compile(r" \([^()]*(?:--[a-z]|regex:)[^()]*\)")


def without_flags(text: str) -> str:
    """The text without its clauses about flags and patterns; '' where nothing else is said.

    >>> without_flags("It was proposed; --no-groups turns it off. Images: 3.")
    'It was proposed. Images: 3.'
    """
    sentences = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z'\"])", IN_BRACKETS.sub("", text)):
        clauses = [one for one in sentence.split("; ") if not TYPED.search(one)]
        if clauses:
            kept = "; ".join(clauses)
            cut = kept != sentence and sentence.endswith(".") and not kept.endswith(".")
            sentences.append(f"{kept}." if cut else kept)
    return " ".join(sentences)


def ways_of(finding: Finding) -> list[dict[str, Any]]:
    """Buttons that answer a finding: their words, and the options with which to read anew."""
    if finding.check != "possible_groups":
        return []
    ways = []
    for flag, n in finding.numbers.items():
        name, value = shlex.split(flag)
        column = name == "--group" and not value.startswith("regex:")
        by = f"by the column {value}" if column else "by the names of the files"
        words = f"Yes, {by}: {n:,} patients"
        ways.append({"words": words, "flags": {name.removeprefix("--"): value}})
    return [*ways, {"words": "No, each image is another patient", "flags": {"no_groups": True}}]
