"""What lies in a folder of this machine, for who chooses one there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from medgraft.errors import DataError

MOST = 1000  # entries that are listed
LOOKED_AT = 20_000  # entries of a folder that are looked at
TABLES = (".csv", ".tsv", ".xlsx", ".parquet", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".gif", ".jp2")


def listed(path: str) -> dict[str, Any]:
    """Folders and tables in a folder, and how many pictures lie in it; '' for the user's own.

    Raises
    ------
    DataError
        It is no folder, or cannot be looked into.
    """
    folder = Path(path).expanduser() if path else Path.home()
    folder = folder.absolute()
    if folder.is_file():
        folder = folder.parent
    folders: list[str] = []
    tables: list[str] = []
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
                else:
                    pictures += suffix in PICTURES
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
        "more": max(0, len(folders) - MOST) + max(0, len(tables) - MOST),
        "all": looked <= LOOKED_AT,
    }


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entries(folder: Path, names: list[str]) -> list[dict[str, str]]:
    ordered = sorted(names, key=lambda name: (name.casefold(), name))[:MOST]
    return [{"name": name, "path": str(folder / name)} for name in ordered]
