"""What several findings are called, and which are studied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from medgraft.data.listing import Listing
from medgraft.data.names import as_seen
from medgraft.errors import DataError
from medgraft.panel import ABSENT, PRESENT, UNCERTAIN, UNKNOWN

Pairs = tuple[tuple[str, str], ...]


class FindingOptions(Protocol):
    """The part of `ingest.LoadOptions` that is about names, which explains each."""

    @property
    def class_names(self) -> Pairs: ...
    @property
    def rename(self) -> Pairs: ...
    @property
    def leave_out(self) -> tuple[str, ...]: ...
    @property
    def positive(self) -> str | None: ...
    @property
    def drop_classes_below(self) -> int: ...


def with_finding_names(listing: Listing, options: FindingOptions) -> Listing:
    """The listing with findings called as was said, and without those left out.

    Findings of one new name are joined: the joint one is there where any of them is.

    Raises
    ------
    DataError
        A finding named is none, two differ only in case, none is left, or an option is about
        classes alone.
    """
    about = {"positive": options.positive, "drop-classes-below": options.drop_classes_below}
    for flag in (flag for flag, value in about.items() if value):
        raise DataError(
            f"--{flag} is about classes, and {', '.join(listing.marked)} are findings; leave it out"
        )
    called = {name: name for name in listing.marked}
    for flag, pairs in (("--class-names", options.class_names), ("--rename", options.rename)):
        for old, new in pairs:
            found = [name for name, now in called.items() if old in (name, now)]
            if not found or not new.strip():
                raise DataError(f"{flag} '{old}={new}': {_there(called.values())}")
            called |= dict.fromkeys(found, new.strip())
    for name in options.leave_out:
        if name not in called.values():
            raise DataError(f"--leave-out '{name}' is no finding; {_there(called.values())}")
    kept = [n for n in dict.fromkeys(called.values()) if n not in options.leave_out]
    _refuse_twins(kept)
    if not kept:
        raise DataError("--leave-out leaves no finding; keep one at least")
    at = [[i for i, name in enumerate(listing.marked) if called[name] == now] for now in kept]
    rows = [
        replace(row, label="", marks=tuple(_joint([row.marks[i] for i in those]) for those in at))
        for row in listing.rows
    ]
    return replace(listing, rows=rows, marked=tuple(kept))


def _there(names: Iterable[str]) -> str:
    return f"the findings are {', '.join(dict.fromkeys(names))}"


def _joint(marks: Sequence[int]) -> int:
    """What is known of findings taken as one: absent where all are."""
    return next((m for m in (PRESENT, UNCERTAIN, UNKNOWN) if m in marks), ABSENT)


def _refuse_twins(names: Sequence[str]) -> None:
    counts = Counter(as_seen(name).casefold() for name in names)
    twins = [name for name in names if counts[as_seen(name).casefold()] > 1]
    if twins:
        raise DataError(
            f"the findings {', '.join(twins)} differ only in case; join them with "
            f"--rename '{twins[0]}={twins[-1]}'"
        )
