"""Classes that a user leaves out, renames or joins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from medgraft.data.listing import Row
from medgraft.errors import DataError
from medgraft.types import Finding


def change_classes(
    rows: Sequence[Row],
    leave_out: Sequence[str] = (),
    rename: Sequence[tuple[str, str]] = (),
    drop_below: int = 0,
) -> tuple[list[Row], list[Finding]]:
    """Rename classes, then leave out those named (by either name), then those of few images.

    Raises
    ------
    DataError
        A class named is none, is renamed twice, or nothing is left.
    """
    renamed = _names_of(rows, rename)
    kept = [replace(row, label=renamed.get(row.label, row.label)) for row in rows]
    counts = Counter(row.label for row in kept if row.label)
    for name in leave_out:
        if name not in counts and name not in renamed:
            raise DataError(f"--leave-out '{name}' is no class; there are {_listed(counts)}")
    out = {renamed.get(name, name) for name in leave_out}
    few = {name for name, n in counts.items() if n < drop_below} - out
    kept = [row for row in kept if row.label not in out | few]
    if counts and not any(row.label for row in kept):
        raise DataError(
            f"--leave-out and --drop-classes-below leave no class of {_listed(counts)}; keep two"
        )
    findings = []
    if renamed:
        pairs = ", ".join(f"{old} as {new}" for old, new in renamed.items())
        findings.append(Finding("classes", "info", f"Classes were renamed: {pairs}."))
    if out | few:
        n = len(rows) - len(kept)
        what = ", ".join(f"{name} ({counts[name]:,})" for name in sorted(out | few))
        text = f"Classes were left out, as asked for: {what}; {n:,} images."
        findings.append(Finding("classes", "info", text, {"images": n}))
    return kept, findings


def _names_of(rows: Sequence[Row], rename: Sequence[tuple[str, str]]) -> dict[str, str]:
    names = Counter(row.label for row in rows if row.label)
    found: dict[str, str] = {}
    for old, new in rename:
        if old not in names:
            raise DataError(
                f"--rename '{old}={new}': '{old}' is no class; there are {_listed(names)}"
            )
        if not new.strip():
            raise DataError(f"--rename '{old}={new}' has no new name; use --leave-out '{old}'")
        if found.setdefault(old, new.strip()) != new.strip():
            raise DataError(f"--rename gives '{old}' two names: {found[old]} and {new}; keep one")
    return found


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({n:,})" for name, n in sorted(counts.items())) or "none"
