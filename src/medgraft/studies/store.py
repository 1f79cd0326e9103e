"""The folder a run leaves: what was asked, what happened, what came out.

`config.json` and the events of `run.jsonl` are written as the run goes; `predictions.parquet`,
`images.parquet`, `model/` and `result.json` at its end, after the report; `result.json` last, so
that its being there means all is. What a finished run's model learned from is read back here too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from medgraft.errors import BundleError, MedgraftError
from medgraft.evaluate.conformal import OwnProbability
from medgraft.features.extract import Extractor
from medgraft.files import explained, remove_abandoned, write_json, written_file, written_folder
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.kept_sets import own_probability, write_own_probability
from medgraft.profile.image_stats import ImageStats
from medgraft.profile.reference import Reference
from medgraft.profile.traces import Traces
from medgraft.scenario import DEFAULT_METRIC
from medgraft.studies.run_lock import LOCK, is_empty, this_process
from medgraft.types import FeatureSpec, FittedScenario, ImageTable, Predictions

IMAGES = "images.parquet"


class RunError(MedgraftError):
    """A run's folder cannot be used."""


@dataclass(frozen=True, eq=False)
class BesideModel:
    """What is saved beside a classifier, of the images that it learned from.

    traces : by which they are known. reference : to which those of another place are held. own :
    by which its prediction sets are made.
    """

    traces: Traces
    reference: Reference
    own: OwnProbability

    @classmethod
    def of(
        cls,
        development: ImageTable,
        stats: ImageStats,
        canvas: FeatureSpec,
        crossed: CrossFitted,
        extractor: Extractor,
    ) -> Self:
        """Of the images learned from, whose `stats` were read of `canvas`."""
        resize = crossed.fitted.spec.resize
        return cls(
            traces=Traces.of(development, stats, canvas),
            reference=Reference.of(development, crossed.unchanged, extractor, resize),
            own=own_probability(crossed),
        )

    def write(self, folder: Path, fitted: FittedScenario) -> None:
        """Save the classifier with all of it, whole or not at all."""
        with written_folder(folder) as bundle:
            fitted.save(bundle)
            self.traces.write(bundle)
            self.reference.write(bundle)
            write_own_probability(self.own, bundle)


class RunStore:
    """One run's folder.

    Parameters
    ----------
    folder
        Made if it is not there; whoever writes to it holds its lock (`run_lock.py`).
    config
        What decides the numbers; a resumed run must have the same, but for a smaller audit.
    resume
        Whether an unfinished or finished run may lie there already. One that failed before a
        scenario was judged is taken over either way.
    facts
        What else is worth knowing of it, such as the command that was typed; it decides nothing.

    Raises
    ------
    RunError
        The folder holds a run and `resume` is off, a run of something else, or a damaged one.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, object],
        *,
        resume: bool = False,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.ended = False
        self._writing = threading.Lock()
        path = folder / "config.json"
        wanted = json.loads(json.dumps(config))
        check_place(folder, resume=resume)
        if resume and path.is_file():
            _refuse_another(folder, wanted)
        if not resume:  # nothing that a run which judged nothing decided is of this one
            with explained(folder):
                (folder / "run.jsonl").unlink(missing_ok=True)
        write_json(path, wanted)
        self.event("resumed" if resume else "started", **(facts or {}), **this_process())

    def event(self, name: str, **facts: object) -> None:
        """Add a line to `run.jsonl`; any thread may call."""
        with self._writing:
            self._add(name, facts)

    def alive(self) -> None:
        """Note that the run is at work, if it is; of a full disk the next event tells."""
        with self._writing, suppress(MedgraftError):
            if not self.ended:
                self._add("alive", {})

    def _add(self, name: str, facts: Mapping[str, object]) -> None:
        path = self.folder / "run.jsonl"
        line = json.dumps({"time": round(time.time(), 3), "event": name, **facts}, default=str)
        with explained(path), path.open("ab+") as file:
            at = file.seek(0, os.SEEK_END)
            file.seek(max(0, at - 1))
            cut = at and file.read() != b"\n"  # a kill or a full disk cut a line short
            file.write(f"{chr(10) if cut else ''}{line}\n".encode())

    def end(self) -> None:
        """Say that the run is at work no more."""
        with self._writing:
            self.ended = True

    def finished(self, recommended: str | None) -> None:
        """Note that all of the run is there."""
        self.end()
        self.event("finished", recommended=recommended)

    def stopped(self, error: BaseException) -> None:
        """Note what ended the run; of one that was refused before it judged, leave nothing."""
        self.end()
        if isinstance(error, MedgraftError) and not _has_results(self.folder):
            for file in ("config.json", "run.jsonl"):
                with suppress(OSError):
                    (self.folder / file).unlink(missing_ok=True)
            return
        with suppress(MedgraftError):  # a full disk, say, of which the error itself tells
            self.event("stopped", reason=type(error).__name__)

    def withdraw(self) -> None:
        """Take away an earlier session's result, which says that all here belongs to it."""
        path = self.folder / "result.json"
        with explained(path):
            path.unlink(missing_ok=True)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of that name in `run.jsonl`, in order; a line cut short is none."""
        return [row for row in read_events(self.folder) if row["event"] == name]

    def save(
        self,
        result: Mapping[str, Any],
        predictions: list[Predictions],
        fitted: FittedScenario,
        beside: BesideModel,
    ) -> None:
        """Write what the study found, `result.json` last; `result` is what it holds."""
        write_predictions(self.folder / "predictions.parquet", predictions)
        beside.write(self.folder / "model", fitted)
        write_json(self.folder / "result.json", result)
        self.finished(result["recommended"])


def check_place(folder: Path, *, resume: bool = False) -> None:
    """Refuse a folder that holds something else, or a run that is not to be resumed.

    Whoever calls it holds the folder's lock; what a killed process left half-written goes.

    Raises
    ------
    RunError
        The text says which, and the remedy.
    """
    remove_abandoned(folder, age=0)
    if not (folder / "config.json").is_file():
        if not is_empty(folder):
            raise RunError(f"{folder} is not empty and holds no run; choose another --out")
    elif not resume and _has_results(folder):
        raise RunError(
            f"{folder} holds a run already; pass --resume to go on with it, or another --out, "
            "which uses again what that run computed"
        )


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a run's `run.jsonl`, in order; a line that is cut short or garbled is none."""
    path = folder / "run.jsonl"
    found = []
    lines = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in lines.splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and "event" in row:
                found.append(row)
    return found


def was_killed(folder: Path, config: Mapping[str, object]) -> bool:
    """Whether a folder, whose lock is held, has a run of just this that did not end.

    What such a run left half-written is taken away.
    """
    remove_abandoned(folder, age=0)
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ended = any(event["event"] == "finished" for event in read_events(folder))
    return bool(found == json.loads(json.dumps(config))) and not ended


def _refuse_another(folder: Path, wanted: Mapping[str, object]) -> None:
    """Raise `RunError` where the run in `folder` was asked for something else.

    One that is not finished may be asked for a smaller audit, or for none.
    """
    try:
        found = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{folder / 'config.json'} is damaged ({error}), so this run cannot be resumed; choose "
            "another --out"
        ) from error
    names = wanted.keys() | found.keys()
    changed = sorted(name for name in names if wanted.get(name) != found.get(name))
    if set(changed) <= {"audit", "audit_pairs"} and not (folder / "result.json").exists():
        changed = [name for name in changed if wanted.get(name, 0) > found.get(name, 0)]
    if changed:
        raise RunError(
            f"{folder} holds another run (different: {', '.join(changed)}); choose another --out, "
            "which uses again what that run computed"
        )


def _has_results(folder: Path) -> bool:
    """Whether `folder` holds more than the beginning of a run that judged nothing."""
    path = folder / "run.jsonl"
    with explained(path):
        if {file.name for file in folder.iterdir()} - {LOCK} != {"config.json", "run.jsonl"}:
            return True
        return '"scenario judged"' in path.read_text(encoding="utf-8", errors="replace")


def write_predictions(path: Path, predictions: list[Predictions]) -> None:
    """All predictions as one parquet table, a row for each scenario and image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for p in predictions:
        columns: dict[str, Any] = {
            "scenario": pa.array([p.scenario] * len(p)).dictionary_encode(),
            "id": p.ids.tolist(),
            "group": p.groups.tolist(),
            "split": pa.array(p.splits.tolist()).dictionary_encode(),
            "fold": p.fold,
            "truth": pa.array([p.classes[i] for i in p.y_true]).dictionary_encode(),
        }
        for k, name in enumerate(p.classes):
            columns[f"score:{name}"] = p.scores[:, k]
            columns[f"probability:{name}"] = p.y_prob[:, k]
        tables.append(pa.table(columns))
    with written_file(path) as temporary:
        pq.write_table(pa.concat_tables(tables).unify_dictionaries(), temporary)


def read_predictions(
    path: Path, positive: str | None, scenarios: Iterable[str] | None = None
) -> tuple[dict[str, Predictions], dict[str, Predictions]]:
    """What `write_predictions` wrote: of development images and of the test split, by scenario.

    scenarios : keys to read; all by default.

    Raises
    ------
    RunError
        The file is not there, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = None if scenarios is None else [("scenario", "in", list(scenarios))]
    try:
        table = pq.read_table(path, filters=wanted)
        names = [one.removeprefix("score:") for one in table.column_names if "score:" in one[:6]]
        columns = {one: np.array(table[one].to_pylist()) for one in table.column_names}
        keys, truths = columns["scenario"], columns["truth"]
        whole = Predictions(
            scenario="",
            classes=tuple(names),
            positive=positive,
            ids=columns["id"],
            groups=columns["group"],
            splits=columns["split"],
            fold=columns["fold"],
            y_true=np.array([names.index(name) for name in truths.tolist()], np.int64),
            scores=np.stack([columns[f"score:{name}"] for name in names], axis=1),
            y_prob=np.stack([columns[f"probability:{name}"] for name in names], axis=1),
        )
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{path} is damaged ({reason}); restore it, or run the study again"
        ) from error
    parts: tuple[dict[str, Predictions], dict[str, Predictions]] = ({}, {})
    for key in dict.fromkeys(keys.tolist()):
        for found, rows in zip(
            parts, (whole.splits != "test", whole.splits == "test"), strict=True
        ):
            mine = rows & (keys == key)
            if mine.any():
                found[key] = replace(whole.select(mine), scenario=key)
    return parts


def write_images(path: Path, table: ImageTable) -> None:
    """Where each image lies that is a whole file, and the hash of its bytes, as a parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        (id, os.fsencode(Path(source.path).absolute()), hash)
        for id, source, hash in zip(
            table.ids.tolist(), table.sources, table.byte_hashes, strict=True
        )
        if source.frame is None and not source.member
    ]
    ids, files, hashes = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {
        "id": pa.array(ids, pa.string()),
        "file": pa.array(files, pa.binary()),  # a path need not be text
        "hash": pa.array(map(str, hashes), pa.string()),
    }
    with written_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_images(path: Path, ids: Iterable[str]) -> dict[str, tuple[Path, str]]:
    """What `write_images` wrote of these images: file and hash by id; empty without the file.

    Raises
    ------
    RunError
        The file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():  # of an earlier version, or of images whose names are withheld
        return {}
    try:
        rows = pq.read_table(path, filters=[("id", "in", list(ids))]).to_pylist()
        return {one["id"]: (Path(os.fsdecode(one["file"])), one["hash"]) for one in rows}
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{path} is damaged ({reason}); remove it, and pictures are not shown any more"
        ) from error


@dataclass(frozen=True, eq=False)
class LearnedFrom:
    """What a classifier learned from, by its study's folder; empty where it was taken out of it.

    metric : what the study chose by. by_class : how many images of each class. ids : theirs.
    patients : their groups, but for images that are a group of their own.
    """

    metric: str = DEFAULT_METRIC
    by_class: Mapping[str, int] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()


def read_learned_from(run: Path, scenario: str) -> LearnedFrom:
    """What one of a run's scenarios learned from: all of its predictions but the test split's.

    Raises
    ------
    BundleError
        A file of the run is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, result = run / "predictions.parquet", run / "result.json"
    if not file.is_file() or not result.is_file():
        return LearnedFrom()
    try:
        rows = pq.read_table(
            file,
            columns=["id", "group", "truth"],
            filters=[("scenario", "==", scenario), ("split", "!=", "test")],
        )
        metric = str(json.loads(result.read_text(encoding="utf-8"))["metric"])
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise BundleError(
            f"{file.name} or {result.name} in {run} is damaged ({reason}); restore them, or judge "
            "a copy of the folder model alone"
        ) from error
    truths, counts = np.unique(np.array(rows["truth"].to_pylist(), str), return_counts=True)
    ids, groups = rows["id"].to_pylist(), rows["group"].to_pylist()
    return LearnedFrom(
        metric,
        dict(zip(truths.tolist(), counts.tolist(), strict=True)),
        frozenset(ids),
        frozenset(group for id, group in zip(ids, groups, strict=True) if group != id),
    )
