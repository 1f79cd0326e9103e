"""Where runs lie: folders that hold a file which only a command of ours writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraft.results.runs import RunKind
from medgraft.studies.store import RunError, read_events

EVENTS, CONFIG, RESULT = "run.jsonl", "config.json", "result.json"
BUNDLE, PREDICTIONS = "bundle.json", "predictions.parquet"
ANSWERS: dict[RunKind, str] = {"evaluation": "evaluation.json", "audit": "audit.json"}


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder and one kind of run that it holds; it may hold several."""

    path: Path
    kind: RunKind


def kinds_in(folder: Path, names: Sequence[str] | None = None) -> tuple[RunKind, ...]:
    """Which runs lie in a folder itself; its files' `names` are read where they are not given."""
    held = {one.name for one in folder.iterdir()} if names is None else set(names)
    found: list[RunKind] = []
    if EVENTS in held and {CONFIG, RESULT, PREDICTIONS} & held and _ours(folder):
        found.append("study")
    elif PREDICTIONS in held and (folder / "model" / BUNDLE).is_file():
        found.append("scenario")  # of a version that left nothing else
    found += [kind for kind, name in ANSWERS.items() if name in held and _is_answer(folder / name)]
    if BUNDLE in held and folder.name != "model" and "adapted" in load_object(folder / BUNDLE):
        found.append("adapted")
    return tuple(found)


def _is_answer(path: Path) -> bool:
    """Whether a file is what `evaluate` or `audit` writes, or is damaged."""
    content = load_object(path)
    return not content or "scenario" in content


def _ours(folder: Path) -> bool:
    """Whether the events are a run's: other programs have files of these names, too."""
    return any(one["event"] in ("started", "resumed") for one in read_events(folder))


def load_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def find_runs(folders: Sequence[Path]) -> Iterator[RunFolder]:
    """All runs in and below some folders, each once, in the order of their paths.

    Links are not followed. Folders that nobody may look into are passed over.

    Raises
    ------
    RunError
        One of the folders is not there.
    """
    seen: set[Path] = set()
    for top in folders:
        if not top.is_dir():
            raise RunError(f"{top} is no folder; name a folder in or below which runs lie")
        for at, inside, files in os.walk(top):
            path = Path(at)
            inside[:] = sorted(one for one in inside if not one.startswith(".") and one != "model")
            if path.resolve() not in seen:
                seen.add(path.resolve())
                for kind in kinds_in(path, files):
                    yield RunFolder(path, kind)
