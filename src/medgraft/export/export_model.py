"""`medgraft export`: a saved classifier written as a graph, and held to itself before it counts."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.archive import CARD, INDEX
from medgraft.bundle.model import bundle_folder, in_classes_of, label_of
from medgraft.bundle.model_card import facts_of
from medgraft.bundle.seen_before import learned_from, recognise
from medgraft.errors import ExportError
from medgraft.export.formats import FORMATS, INPUT, OUTPUT, Runner, open_graph, write_graph
from medgraft.export.int8 import LIMIT, answers, halves, import_nncf, judged, quantise
from medgraft.export.parity import from_canvases, from_files, reference_of
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.files import (
    StorageError,
    explained,
    json_value,
    write_json,
    write_text,
    written_folder,
)
from medgraft.learn.fit import load
from medgraft.report.text.model_card import model_card
from medgraft.results.export import Export, Int8
from medgraft.studies.store import read_events
from medgraft.types import FittedScenario, ImageTable
from medgraft.version import __version__

SCHEMA = "1.0"  # of export.json
PROGRAM = Path(__file__).parent / "runtime" / "predict.py"
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}  # what runs them without torch


def export_model(
    model: Path,
    out: Path,
    format: str,
    extractor: Extractor,
    *,
    parity: Sequence[str] = (),
    runtime: bool = False,
    int8: ImageTable | None = None,
    int8_limit: float = LIMIT,
) -> Export:
    """Write a classifier as a graph into a folder, unless it answers otherwise there.

    Parameters
    ----------
    format : one of `FORMATS`.
    parity : images, folders or patterns on which the graph is held to the model; by default the
        data that its study was given, where that still lies there.
    runtime : also write a program that answers from image files without torch and without medgraft.

    int8 : labelled images, by some of whose patients the ranges of networks in 8 bits are set, and
        by the others, if there are enough by those not learned from, it is judged what that costs;
        None for single precision.
    int8_limit : of the AUROC that may be lost.

    Raises
    ------
    ExportError
        It has no graph, the graph answers otherwise, or 8 bits cost too much; nothing is written.
    BundleError, DataError, MissingExtraError, StorageError
        There is no model, no image that can be read, something is not installed, or `out` is taken.
    """
    if format not in FORMATS:
        raise ExportError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    if runtime and format not in RUNTIMES:
        raise ExportError(
            f"--runtime runs without torch, and {format} needs it; choose --format onnx or openvino"
        )
    if int8 is not None:
        if format != "openvino":
            raise ExportError(f"--int8 is of --format openvino, not {format}")
        import_nncf()  # what is missing is said before the work
    with explained(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(f"{out} is not empty; choose another --out")
    folder = bundle_folder(model)
    fitted = load(folder, extractor)
    if runtime and fitted.spec.edits:
        raise ExportError(
            f"predict.py does not equalise contrast, which {fitted.scenario.key} wants of every "
            "image; leave --runtime away, or use medgraft itself"
        )
    paths = parity or _known_images(folder)
    from medgraft.export.graph import classifier_graph

    graph = classifier_graph(fitted)
    reference = reference_of(fitted, paths, progress=extractor.progress)
    facts = _facts(fitted, format)
    with written_folder(out) as temporary:
        file = write_graph(format, graph, fitted.spec.size, temporary, facts)
        run = open_graph(format, file, extractor.workers)
        found, eight = from_canvases(fitted, reference, run, extractor.progress), None
        if int8 is not None:
            eight = _in_8_bits(folder, fitted, run, file, int8, int8_limit, extractor)
            prob = answers(open_graph(format, file, extractor.workers), reference.canvases)
            labels = tuple(label_of(fitted, p) for p in prob)
            reference = dataclasses.replace(reference, prob=prob, labels=labels)
        files = {one.name: sha256_of(one) for one in sorted(temporary.iterdir())}
        write_json(temporary / "export.json", {**facts, "files": files})
        if runtime:
            _write_program(temporary, RUNTIMES[format])
            program = from_files(fitted, reference, temporary / PROGRAM.name)
            found = dataclasses.replace(found, from_files=program)
        whole = {**facts, "files": files, "parity": json_value(found), "int8": json_value(eight)}
        write_json(temporary / "export.json", whole)
        write_text(temporary / CARD, _card(folder, fitted))
        size = sum(one.stat().st_size for one in temporary.iterdir() if one.name in files)
    return Export(
        folder=out,
        format=format,
        scenario=fitted.scenario.key,
        size=fitted.spec.size,
        resize=fitted.spec.resize,
        bytes=size,
        parity=found,
        skipped=reference.skipped,
        int8=eight,
    )


def _in_8_bits(
    folder: Path, fitted: FittedScenario, exact: Runner, file: Path, table: ImageTable,
    limit: float, extractor: Extractor,
) -> Int8:  # fmt: skip
    """Write the graph anew in 8 bits, and judge it by images that set no range of it."""
    table = in_classes_of(fitted, table)
    known, seen = recognise(folder, learned_from(folder, fitted), table, extractor)
    by, on = halves(fitted, table, known)
    quantise(file, by[0])
    rounded = open_graph("openvino", file)
    judges = int(known[np.isin(table.ids, on[1].ids)].sum())
    learned = None if seen.same_file is None else judges
    return judged(fitted, exact, rounded, len(by[0]), on, limit, learned)


def _facts(fitted: FittedScenario, format: str) -> dict[str, Any]:
    """What who runs the graph has to know: how a canvas is made, what the answers mean."""
    spec = fitted.spec
    return {
        "schema": SCHEMA,
        "medgraft": __version__,
        "format": format,
        "scenario": fitted.scenario.key,
        "classes": list(fitted.classes),
        "positive": fitted.positive,
        "operating": fitted.operating and dataclasses.asdict(fitted.operating),
        "input": {
            "name": INPUT,
            "shape": ["batch", spec.size, spec.size, 3],
            "type": "uint8",
            "colour": "RGB",
            "size": spec.size,
            "resize": spec.resize,
            "edits": [edit.key for edit in spec.edits],
            "rule": dataclasses.asdict(fitted.rule),
        },
        "output": {"name": OUTPUT, "shape": ["batch", len(fitted.classes)], "type": "float32"},
    }


def _write_program(folder: Path, runtime: str) -> None:
    """The program, and what it needs in the versions that it was tried with."""
    needed = (runtime, "numpy", "pillow", "simplejpeg")
    lines = [f"{name}=={importlib.metadata.version(name)}" for name in needed]
    write_text(folder / "requirements.txt", "\n".join(lines) + "\n")
    write_text(folder / PROGRAM.name, PROGRAM.read_text(encoding="utf-8"))


def _card(folder: Path, fitted: FittedScenario) -> str:
    """The model's card; that of a bundle knows more than its unpacked folder."""
    written = folder.parent / CARD
    if written.is_file() and (folder.parent / INDEX).is_file():
        return written.read_text(encoding="utf-8")
    return model_card(facts_of(folder, fitted))


def _known_images(folder: Path) -> list[str]:
    """The data that the study of a model was given, if it still lies there.

    Raises
    ------
    ExportError
        It does not, or nobody knows.
    """
    for event in reversed(read_events(folder.resolve().parent)):
        words = shlex.split(str(event.get("command", "")))
        if len(words) > 2 and Path(words[2]).is_dir():
            return [words[2]]
    raise ExportError(
        "a graph is held to its model on real images, and where those of its study lie is not "
        "known; pass --parity with a folder of images such as it is for (labels are not needed)"
    )
