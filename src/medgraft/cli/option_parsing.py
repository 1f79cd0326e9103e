"""From the words of a command line to what the library's functions take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from medgraft.features.extract import Extractor
    from medgraft.panel import Panel
    from medgraft.types import ImageTable, Progress

RUNNERS = ("local", "ray")


def split_words(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers_of(text: str) -> tuple[int, ...]:
    """The whole numbers of a list with commas."""
    try:
        return tuple(int(word) for word in split_words(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not numbers with commas, such as 224,544") from error


def floats_of(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a list with commas; `option` is who gave it, for the error's text."""
    try:
        return tuple(float(word) for word in split_words(text))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers; give them with commas", param_hint=option
        ) from error


def pixel_range_of(text: str) -> tuple[float, float] | None:
    """The two values of a range such as 0,4095; None where nothing was said."""
    if not text:
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no range, such as 0,4095") from error
    return low, high


def training_settings(recipe: str, settings: str) -> tuple[tuple[str, str], ...]:
    """A recipe's name and what differs from it, as a scenario's `params`."""
    from medgraft.training_recipe import recipe_of

    params = [(recipe, "")] if recipe else []
    for word in split_words(settings):
        name, equals, value = word.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise typer.BadParameter(f"{word!r} is no setting, such as rate=1e-4")
        params.append((name.strip(), value.strip()))
    recipe_of(params)  # refuses what does not exist
    return tuple(params)


def seconds_of(budget: str) -> float:
    """Seconds of a time such as 90s, 60m, 1.5h; 0 where nothing was said."""
    number, unit = budget.strip()[:-1], budget.strip()[-1:]
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit] if budget else 0.0
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise typer.BadParameter(f"{budget!r} is no time, such as 60m or 2h")
    return seconds


def preset_asked(augment: str, modality: str) -> str:
    """The preset of views asked for; `auto` is the modality's own."""
    from medgraft.data.augment import preset_for

    if modality:
        suited = preset_for(modality)  # refuses what is no modality
        return suited if augment == "auto" else augment
    if augment == "auto":
        raise typer.BadParameter("--augment auto needs --modality, which says what the images are")
    return augment


def command_line(table: ImageTable) -> str:
    """What was typed, to be typed again from the start; without paths where the images are DICOM.

    A run that was resumed is had again by the command that began it.
    """
    import shlex

    from medgraft.data.dicom.identity import without_paths
    from medgraft.data.listing import shown
    from medgraft.files import without_credentials

    typed = [word for word in sys.argv[1:] if word != "--resume"]
    words = without_paths(["medgraft", *typed], table)
    return shown(without_credentials(shlex.join(words)))


def named(path: str | Path, table: ImageTable) -> str:
    """What a path that was typed is called in what is written; of DICOM it has no name there."""
    from medgraft.data.dicom.identity import without_paths
    from medgraft.data.listing import shown

    return shown(without_paths([str(path)], table)[0])


def load_options_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """From the values of `reading_options.py` to the fields of `LoadOptions`, and the overrides.

    Raises
    ------
    typer.BadParameter
        A value has not the form that its option takes.

    Examples
    --------
    >>> load_options_of({"class_names": "0=normal, 1=ill", "label_columns": "A,B", "images": None})
    {'class_names': (('0', 'normal'), ('1', 'ill')), 'label_columns': ('A', 'B'), 'images': ()}
    """
    reading: Mapping[str, Callable[[Any], Any]] = {
        "class_names": lambda text: tuple(map(_label_and_name, split_words(text or ""))),
        "label_columns": lambda text: split_words(text or ""),
        "finding_columns": lambda text: split_words(text or ""),
        "images": lambda folders: tuple(folders or ()),
        "leave_out": tuple,
        "order": split_words,
        "rename": lambda texts: tuple(map(_old_and_new, texts)),
        "pixel_range": pixel_range_of,
        "window": _window,
    }
    return {name: reading.get(name, lambda as_it_is: as_it_is)(v) for name, v in asked.items()}


def load_table(
    data: str, progress: Progress, reading: Mapping[str, Any] | None = None, **options: Any
) -> ImageTable:
    """The table that DATA and the options about reading it name."""
    from medgraft.data.ingest import LoadOptions, load
    from medgraft.data.overrides import apply_overrides

    asked = load_options_of(reading or {})
    overrides = asked.pop("overrides", None)
    table = load(data, LoadOptions(**asked, **options), progress)
    return table if overrides is None else apply_overrides(table, overrides)


def load_any(
    data: str, progress: Progress, reading: Mapping[str, Any], *, uncertain: str, **options: Any
) -> ImageTable | Panel:
    """The same, or a panel where images have several findings.

    Raises
    ------
    DataError
        As `data.ingest.load_any`, `apply_overrides` and `apply_to_panel`.
    """
    from medgraft.data import ingest
    from medgraft.data.overrides import apply_overrides, apply_to_panel
    from medgraft.panel import Panel

    asked = load_options_of(reading)
    overrides = asked.pop("overrides", None)
    read = ingest.load_any(
        data, ingest.LoadOptions(**asked, **options), progress,
        uncertain=uncertain,  # type: ignore[arg-type]
    )  # fmt: skip
    if overrides is None:
        return read
    if isinstance(read, Panel):
        return apply_to_panel(read, overrides)
    return apply_overrides(read, overrides)


def _window(text: str) -> tuple[float, float] | None:
    """CENTER,WIDTH as numbers; None where nothing was said."""
    if not text:
        return None
    try:
        centre, width = (float(word) for word in text.split(","))
    except ValueError:
        width = 0.0
    if not 1 <= width < 1e9:
        raise typer.BadParameter(
            f"--window takes CENTER,WIDTH with a width of 1 or more, such as 40,400; not {text!r}"
        )
    return centre, width


def _label_and_name(text: str) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not (equals and label.strip() and name.strip()):
        raise typer.BadParameter(f"--class-names takes LABEL=NAME with commas, not {text!r}")
    return label.strip(), name.strip()


def _old_and_new(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--rename takes OLD=NEW, not {text!r}")
    return old.strip(), new.strip()


def with_masks_of(table: ImageTable, folder: Path | None) -> ImageTable:
    """The table with the masks of a folder, if one was named."""
    from medgraft.data.masks import with_masks

    return table if folder is None else with_masks(table, folder)


def extractor_of(
    engine: str, workers: int | None, cache: Path | None, progress: Progress
) -> Extractor:
    """What computes codes, by the options about the machine."""
    from medgraft.features.cache import Cache
    from medgraft.features.extract import Extractor

    return Extractor(Cache(cache), engine=engine, workers=workers, progress=progress)


def running(runner: str, address: str, extractor: Extractor) -> AbstractContextManager[None]:
    """Who computes while the block lasts: this process, or a Ray cluster."""
    if runner not in RUNNERS:
        raise typer.BadParameter(
            f"no runner {runner!r}; there are: {', '.join(RUNNERS)}", param_hint="--runner"
        )
    if runner == "local" and address:
        raise typer.BadParameter("it goes with --runner ray", param_hint="--address")
    if runner == "local":
        return nullcontext()
    from medgraft.learn.ray_runner import ray_runner

    return ray_runner(extractor, address)


def check_places(
    cache: Path | None = None, *, folder: Path | None = None, file: Path | None = None
) -> None:
    """Refuse what could not be written after the work: the cache, and what --out names.

    Raises
    ------
    StorageError
        One of them cannot be written.
    """
    from medgraft.files import cache_folder, check_writable

    other = "pass another --cache DIR, or set MEDGRAFT_CACHE"
    check_writable(cache or cache_folder(), folder=True, remedy=other)
    if folder is not None:
        check_writable(folder, folder=True, remedy="choose another --out")
    if file is not None:
        check_writable(file, remedy="choose another --out")
