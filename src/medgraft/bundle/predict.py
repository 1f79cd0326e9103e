"""Labels and probabilities of image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from medgraft.bundle.model import label_of
from medgraft.bundle.unlike import UnlikeJudge
from medgraft.data.dicom.identity import public_names
from medgraft.data.listing import shown
from medgraft.data.unlabelled import images_named, readable, unreadable
from medgraft.evaluate.grades import mean_grade
from medgraft.files import write_csv
from medgraft.types import Canvas, FittedScenario, Floats, Skipped, Source

AND = " | "  # between the classes of a set
UNLIKE = {None: "", True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Classification:
    """A label, and the probability of each class.

    grade : of classes that are grades the mean by these probabilities and its standard deviation,
    in the numbers of the grades (`data.grades.grade_values`).
    """

    label: str
    probabilities: Mapping[str, float]
    grade: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one image file.

    source : bytes that are not UTF-8 as escapes. answer : None where the file was not read, and
    `error` why. adjusted : the answer at other class shares, where that was asked for. remark :
    what is to be said of how it was read, or ''. classes : its prediction set, unlike :
    whether the image is unlike those learned from, where the classifier can say so.
    """

    source: str
    answer: Classification | None
    error: str | None = None
    adjusted: Classification | None = None
    remark: str = ""
    classes: tuple[str, ...] = ()
    unlike: bool | None = None

    def to_json(self, *, adjusted: bool = False) -> dict[str, Any]:
        """What `medgraft predict --json` prints of it."""
        row: dict[str, Any] = {
            "source": self.source,
            "label": self.answer and self.answer.label,
            "probabilities": self.answer and self.answer.probabilities,
            "error": self.error,
        }
        if self.answer and self.answer.grade:
            row["mean_grade"], row["grade_sd"] = self.answer.grade
        if self.classes:
            row["set"] = list(self.classes)
        if self.unlike is not None:
            row["unlike"] = self.unlike
        if adjusted:
            row["adjusted_label"] = self.adjusted and self.adjusted.label
            row["adjusted_probabilities"] = self.adjusted and self.adjusted.probabilities
        if self.remark:
            row["remark"] = self.remark
        return row


def predict_files(
    fitted: FittedScenario,
    paths: Sequence[str],
    judge: UnlikeJudge | None = None,
) -> list[Prediction]:
    """Label and probabilities of image files, folders and patterns, in order.

    judge : of what is unlike the images that `fitted` learned from, where that is asked.
    """
    found = images_named(paths)
    read, errors = _read(fitted, readable(found), judge)
    errors |= unreadable(found)
    return [
        Prediction(shown(file), None, errors[file])
        if file in errors
        else Prediction(
            shown(file),
            classified(fitted, read[file].probabilities),
            remark=read[file].remark,
            unlike=read[file].unlike,
        )
        for file in found
    ]


def classified(fitted: FittedScenario, p: Floats) -> Classification:
    """What probabilities p (n_classes,) of one image say."""
    by_class = dict(zip(fitted.classes, map(float, p), strict=True))
    grade = None
    if fitted.grading is not None:
        mean, spread = mean_grade(p[None], fitted.grading.values)
        grade = float(mean[0]), float(spread[0])
    return Classification(label_of(fitted, p), by_class, grade)


def write_predictions(path: Path, rows: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write a CSV, a row an image: source, label, a probability a class, and why there is none.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    adjusted = any(row.adjusted for row in rows)
    names = [f"probability of {name}" for name in classes]
    more = ["adjusted label", *(f"adjusted {name}" for name in names)] if adjusted else []
    beside = columns_beside(rows)
    lines: list[list[object]] = [["source", "label", *names, *more, *beside, "error"]]
    for i, name in enumerate(public_names([row.source for row in rows])):
        row = rows[i]
        answers = [row.answer, row.adjusted] if adjusted else [row.answer]
        cells = [cell for answer in answers for cell in _cells(answer, classes)]
        lines.append([name, *cells, *(said[i] for said in beside.values()), row.error or ""])
    write_csv(path, lines)


def columns_beside(rows: Sequence[Prediction]) -> dict[str, list[str]]:
    """What is said beside labels, by heading, a text a row; what is said of no row is left out."""
    grades = [row.answer.grade if row.answer else None for row in rows]
    columns = {
        "mean grade": [f"{grade[0]:.3f}" if grade else "" for grade in grades],
        "sd of grade": [f"{grade[1]:.3f}" if grade else "" for grade in grades],
        "set": [AND.join(row.classes) for row in rows],
        "unlike": [UNLIKE[row.unlike] for row in rows],
    }
    return {heading: said for heading, said in columns.items() if any(said)}


def _cells(answer: Classification | None, classes: Sequence[str]) -> list[object]:
    if answer is None:
        return [""] * (1 + len(classes))
    return [answer.label, *(answer.probabilities[name] for name in classes)]


class _Read(NamedTuple):
    """Probabilities (n_classes,) of a file, whether it is unlike, and how it was read."""

    probabilities: Floats
    unlike: bool | None
    remark: str


def _read(
    fitted: FittedScenario, sources: Mapping[str, Source], judge: UnlikeJudge | None
) -> tuple[dict[str, _Read], dict[str, str]]:
    """By image what it gave, and why others cannot be read; decoded once where that does."""
    errors: dict[str, str] = {}
    remarks: dict[str, str] = {}

    def decoded() -> Iterator[Canvas]:
        for row in fitted.canvases(list(sources), list(sources.values())):
            if isinstance(row, Skipped):
                errors[row.source] = row.reason
            else:
                remarks[row.id] = row.remark
                yield row

    if judge is None:
        p, unlike = fitted.probabilities(decoded()), None
    else:
        p, unlike = judge.probabilities(decoded())
    strange: Mapping[str, bool] = {}
    if unlike is not None:
        strange = dict(zip(remarks, unlike.tolist(), strict=True))
    elif judge is not None:
        strange = judge.files({name: sources[name] for name in remarks})
    rows = zip(remarks.items(), p, strict=True)
    return {id: _Read(p, strange.get(id), remark) for (id, remark), p in rows}, errors
