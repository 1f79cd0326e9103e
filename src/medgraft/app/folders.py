"""What lies in a folder of this machine, for who chooses one there."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medgraft.errors import DataError

MOST = 1000  # entries that are listed
LOOKED_AT = 20_000  # entries of a folder that are looked at
COUNTING = 0.4  # seconds in which the pictures below a folder are counted
TABLES = (".csv", ".tsv", ".xlsx", ".parquet", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".gif", ".jp2")


def at_home(text: str) -> Path:
    """The path, `~` being the user's own folder; that of a stranger stays as it is."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def listed(path: str) -> dict[str, Any]:
    """Folders and tables in a folder, and how many pictures lie in it; '' for the user's own.

    Raises
    ------
    DataError
        It is no folder, or cannot be looked into.
    """
    folder = at_home(path) if path else Path.home()
    folder = folder.absolute()
    if folder.is_file():
        folder = folder.parent
    folders: list[str] = []
    tables: list[str] = []
    others: Counter[str] = Counter()
    pictures = looked = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                looked += 1
                if looked > LOOKED_AT:
                    break
                suffix = Path(entry.name).suffix.lower()
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif suffix in TABLES:
                    tables.append(entry.name)
                elif suffix in PICTURES:
                    pictures += 1
                else:
                    others[suffix or "no suffix"] += 1
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {folder} (any more); choose another") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{folder} cannot be looked into ({reason}); choose another") from error
    above = (*reversed(folder.parents), folder)
    return {
        "path": str(folder),
        "above": [{"name": one.name or str(one), "path": str(one)} for one in above],
        "folders": _entries(folder, folders),
        "tables": _entries(folder, tables),
        "pictures": pictures,
        "others": [[kind, n] for kind, n in others.most_common(3)],
        "other": others.total(),
        "name": folder.name or str(folder),
        "own": folder == Path.home() or folder in Path.home().parents,
        **_below(folder),
        "more": max(0, len(folders) - MOST) + max(0, len(tables) - MOST),
        "all": looked <= LOOKED_AT,
    }


def _below(folder: Path) -> dict[str, Any]:
    """How many pictures lie below a folder, and whether all were counted in time."""
    end, n = time.monotonic() + COUNTING, 0
    for _, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        n += count_pictures(files)
        if time.monotonic() > end:
            return {"below": n, "counted": False}
    return {"below": n, "counted": True}


def count_pictures(names: Iterable[str]) -> int:
    """How many of these file names are of pictures."""
    return sum(Path(one).suffix.lower() in PICTURES for one in names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entries(folder: Path, names: list[str]) -> list[dict[str, str]]:
    ordered = sorted(names, key=lambda name: (name.casefold(), name))[:MOST]
    return [{"name": name, "path": str(folder / name)} for name in ordered]
