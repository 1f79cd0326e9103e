"""Does the file tell the class? Size, shape, colour mode, compression and border, without a look.

The headers are read and nothing is decoded. How exposure and sharpness tell the class is judged in
`shortcut_probe.py`, by the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medgraft.data.pixels.headers import refuse_bomb
from medgraft.errors import DecodeError, FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.intervals import ones
from medgraft.evaluate.metrics import judge, statistics
from medgraft.profile.image_stats import ImageStats
from medgraft.profile.shortcut_probe import predict_from_surface
from medgraft.results.figures import TELLING, tells, whether
from medgraft.types import (
    Estimate,
    Finding,
    Floats,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    Severity,
    Source,
    Strings,
)

GRAVE = 0.75  # the interval of the AUROC lies above this: the files tell much of the class
NAMED = 0.6  # AUROC from which a single property is named
FILES = "how the files are stored (size, mode, compression, EXIF)"
FOLLOWS = ("file size", "border brightness")  # from what the picture shows
COLUMN = "column "  # begins the names of properties that are the user's own
MOST_VALUES = 8  # of a column of words, to be taken as kinds
JPEG, PNG, OTHER = 1.0, 2.0, 0.0
FIRST = 4096  # bytes, in which the size stands
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM")  # Pillow's others see no file
LUMINANCE_TABLE = 3688.0  # sum of the standard's table of luminance, quality 50 (ITU-T T.81, K.1)

Properties = dict[str, Floats]


def header(source: Source) -> tuple[float, ...]:
    """File size, colour planes, coarseness of the JPEG tables, EXIF and format of one file.

    Coarseness is the log of the sum of the luminance table over that of the standard's table; 0
    is quality 50, lower is finer. Of what is no JPEG it is NaN. A frame of an array has none of
    these, all NaN.
    """
    from PIL import Image, UnidentifiedImageError

    if source.member:
        return (np.nan,) * 5
    size = float(np.log(max(1, Path(source.path).stat().st_size)))
    try:
        with Path(source.path).open("rb") as file:
            refuse_bomb(file.read(FIRST))
        with Image.open(source.path, formats=FORMATS) as image:
            tables = getattr(image, "quantization", None)
            coarse = np.log(sum(tables[min(tables)]) / LUMINANCE_TABLE) if tables else np.nan
            exif = float("exif" in image.info)
            kind = {"JPEG": JPEG, "MPO": JPEG, "PNG": PNG}.get(image.format or "", OTHER)
            return size, float(len(image.getbands())), float(coarse), exif, kind
    except (DecodeError, UnidentifiedImageError, Image.DecompressionBombError, OSError):
        # Another decoder read it, so the file is fine; what Pillow cannot say stays unknown.
        return size, np.nan, np.nan, np.nan, np.nan


def read_properties(table: ImageTable, image_stats: ImageStats | None) -> Properties:
    """What is known of each file, by name; each (n, k), k > 1 for kinds of things.

    Left out is what is the same for all. Columns that the user's table holds are `column NAME`.
    """
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        headers = np.array(list(pool.map(header, table.sources)), np.float64).reshape(-1, 5)
    found: Properties = {
        "file size": headers[:, :1],
        "colour mode": headers[:, 1:2],
        "compression tables": headers[:, 2:3],
        "EXIF": headers[:, 3:4],
        "file format": kinds(headers[:, 4].astype(str)),
    }
    if image_stats is not None:
        found |= shape_properties(image_stats.height, image_stats.width)
        found["border brightness"] = image_stats.border[:, None]
    for name, column in table.metadata.items():
        if name != table.grouping.rule and (values := numbers_of(column)) is not None:
            found[f"{COLUMN}{name}"] = values
    return varying(found)


def shape_properties(height: Floats, width: Floats) -> Properties:
    """Width, height and aspect of stored images, from their pixels (n,)."""
    return {
        "width": np.log(width)[:, None],
        "height": np.log(height)[:, None],
        "aspect": np.log(width / height)[:, None],
    }


def varying(properties: Properties) -> Properties:
    """The properties that are not the same for all, with what is unknown filled in."""
    complete = {name: filled(values) for name, values in properties.items()}
    return {name: v for name, v in complete.items() if (np.ptp(v, axis=0) > 0).any()}


def numbers_of(column: Strings) -> Floats | None:
    """(n, k) a user's column as numbers, or as kinds where it has few words; else None."""
    try:
        return np.array([float(v) if v.strip() else np.nan for v in column.tolist()])[:, None]
    except ValueError:
        return kinds(column) if len(np.unique(column)) <= MOST_VALUES else None


def kinds(column: Strings) -> Floats:
    """(n, k) one column a value, 1 where the row has it."""
    return np.asarray(column[:, None] == np.unique(column), np.float64)


def filled(values: Floats) -> Floats:
    """(n, k) unknown and infinite numbers replaced by the column's median, or 0 if all are."""
    known = np.where(np.isfinite(values), values, np.nan)
    middle = np.array([np.nanmedian(c) if np.isfinite(c).any() else 0.0 for c in known.T])
    return np.where(np.isnan(known), middle, known)


def metadata_probe(table: ImageTable, properties: Properties, seed: int = 0) -> tuple[Finding, ...]:
    """Say how well the files alone tell the class of development images, and which property does.

    A logistic regression on how the files are made (all properties but those of `FOLLOWS`), one on
    everything, and one on each property alone, judged out of fold with groups whole. What is made
    of the picture's content, as file size is, may tell the class because the subject does; only
    how the files are made is evidence by itself. A property is named where it reaches `NAMED`.

    Parameters
    ----------
    properties
        Of the table's rows, in order; test images are not judged.
    """
    rows = np.flatnonzero((table.splits != "test") & (table.labels >= 0))
    own = table.select(rows)
    if not properties or len(np.unique(own.labels)) < 2:
        return ()
    columns = [name for name in properties if name.startswith(COLUMN)]
    files = [name for name in properties if name not in columns]
    parts = {"made": [n for n in files if n not in FOLLOWS], "all": files, "columns": columns}
    blocks = {
        part: np.concatenate([properties[n] for n in names] or [np.zeros((len(table), 1))], axis=1)
        for part, names in parts.items()
        if names or part != "columns"
    }
    try:
        said = {
            name: predict_from_surface(values[rows], own, seed) for name, values in blocks.items()
        }
        alone = {
            name: predict_from_surface(values[rows], own, seed)
            for name, values in properties.items()
        }
    except FitError as error:
        text = f"Whether the files tell the class was not checked: {error}."
        return (Finding("metadata_not_checked", "info", text),)
    built, every, *of_columns = (estimate_all([said[name]], "auroc")[0] for name in blocks)
    reached = {name: area_of(one) for name, one in alone.items()}
    telling = sorted((n for n in reached if reached[n] >= NAMED), key=lambda n: -reached[n])
    numbers = {
        "auroc": built.value, "low": built.low, "high": built.high, "n": built.n,
        "auroc with file size and border": every.value,
        **{f"auroc {name}": value for name, value in reached.items()},
    }  # fmt: skip
    of_files = {name: reached[name] for name in telling if name not in columns}
    images = _contrast(own, properties, rows, list(of_files))
    found = _judged(built, every, of_files, numbers, images)
    named = {name: reached[name] for name in telling if name in columns}
    return found, *(_of_columns(one, named) for one in of_columns if tells(one) == "surely")


def _of_columns(auroc: Estimate, named: Mapping[str, float]) -> Finding:
    """What the user's own columns tell of the class."""
    names = ", ".join(f"{n.removeprefix(COLUMN)} {area:.2f}" for n, area in named.items())
    single = f"By itself: {names}." if names else "No column does so by itself."
    return Finding(
        "columns_tell_class",
        "warn",
        f"Columns of the table tell the class: AUROC {_figures(auroc)}. {single} A network sees "
        "none of them, but what goes with them it may see: another machine, another way to look.",
        {"auroc": auroc.value, "low": auroc.low, "high": auroc.high, "n": auroc.n},
        remedy="Compare the classes within one value of such a column.",
    )


def area_of(one: Predictions) -> float:
    """The AUROC without an interval, which many properties would be long in getting."""
    return float(
        statistics(judge(one, Operating(0.5, "none chosen")), ["auroc"])(ones(len(one)))[0, 0]
    )


def _judged(
    built: Estimate,
    every: Estimate,
    telling: Mapping[str, float],
    numbers: Mapping[str, float | int | str],
    images: tuple[str, ...],
) -> Finding:
    """The finding: by how the files are made, else by all that is known of them."""
    names = ", ".join(f"{name} {area:.2f}" for name, area in telling.items())
    single = f"By itself: {names}." if names else "No property does so by itself."
    if tells(built) == "surely":
        severity: Severity = "severe" if built.low > GRAVE else "warn"
        text = f"{whether(FILES, built)}, without a look at the pictures. {single}"
        remedy = (
            "Store all images in one way (same size, mode and compression), from the same sources, "
            "and look at the evidence: a network can see traces of these."
        )
        return Finding("metadata_tells_class", severity, text, numbers, images, remedy)
    if tells(every) == "surely":
        text = (
            "File size and border, which follow from what is shown, tell the class: AUROC "
            f"{_figures(every)}. {single} That may be the subject itself, or the machine. "
            f"{whether(FILES, built)}."
        )
        loud: Severity = "warn" if every.low > TELLING else "info"
        remedy = "Look at the evidence." if loud == "warn" else ""
        return Finding("content_tells_class", loud, text, numbers, images, remedy)
    return Finding("metadata", "info", f"{whether(FILES, every)}.", numbers)


def _figures(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _contrast(
    own: ImageTable, properties: Properties, rows: Ints,
    telling: list[str],
) -> tuple[str, ...]:  # fmt: skip
    """Of each class the three images nearest to its middle in the property that tells most."""
    if not telling:
        return ()
    value = properties[telling[0]][rows][:, 0]
    chosen: list[str] = []
    for label in np.unique(own.labels)[:4]:
        mine = np.flatnonzero(own.labels == label)
        order = np.argsort(np.abs(value[mine] - np.median(value[mine])), kind="stable")
        chosen += own.ids[mine[order[:3]]].tolist()
    return tuple(chosen)
