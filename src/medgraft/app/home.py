"""The folder in which the page keeps what it makes, and the runs that lie in it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medgraft.errors import MedgraftError
from medgraft.files import check_writable, explained

if TYPE_CHECKING:
    from medgraft.runs.find import RunFolder

OWN = ("data", "jobs", "checks")  # of its folders, those that hold no runs


class NotFoundError(MedgraftError):
    """The page names a run, or something else, that is not there (any more)."""


def default_home() -> Path:
    """`$MEDGRAFT_HOME`, or the folder `medgraft` in the user's own, where a person finds it."""
    return Path(os.environ.get("MEDGRAFT_HOME") or Path.home() / "medgraft")


@dataclass(frozen=True, slots=True)
class Home:
    """`runs/` a folder a study, `data/` images that were dropped, `checks/` of data, `jobs/` what
    runs or ran in processes of their own.
    """

    folder: Path

    def make(self) -> None:
        """Make its folders, for nobody but the user.

        Raises
        ------
        StorageError
            It cannot be written.
        """
        check_writable(self.folder, folder=True, remedy="choose another --home")
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("runs", *OWN):
                (self.folder / name).mkdir(exist_ok=True, mode=0o700)

    def tidy(self) -> None:
        """Remove what drops left unfinished; for the one server that takes drops into it."""
        for path in self.data.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def checks(self) -> Path:
        return self.folder / "checks"

    def id_of(self, run: Path) -> str:
        """By which addresses name a run's folder: the same as long as it is not moved."""
        relative = os.path.relpath(run, self.folder).encode("utf-8", "surrogateescape")
        return hashlib.sha256(relative).hexdigest()[:12]

    def found(self) -> Iterator[RunFolder]:
        """All runs in it, those that other commands left here too."""
        from medgraft.runs.find import RunFolder, find_runs, kinds_in

        for kind in kinds_in(self.folder):
            yield RunFolder(self.folder, kind)
        with os.scandir(self.folder) as entries:
            names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
        places = [self.folder / one for one in names if one not in OWN and one[0] != "."]
        yield from find_runs(places)

    def run(self, id: str) -> Path:
        """The folder of a run.

        Raises
        ------
        NotFoundError
            There is none of that id.
        """
        for path in self.runs.iterdir():
            if self.id_of(path) == id and path.is_dir():
                return path
        for one in self.found():
            if self.id_of(one.path) == id:
                return one.path
        raise NotFoundError(f"there is no such run in {self.folder} (any more); go back to Start")


def free_name(folder: Path, wanted: str, given: Iterable[str] = ()) -> str:
    """A name for something new in a folder, like the one wanted, that every file system takes.

    given : names that are taken though nothing lies there yet.

    >>> free_name(Path("/nowhere"), "Röntgen: Thorax/2024?")
    'R_ntgen_Thorax_2024'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", wanted).strip("._-")[:60] or "data"
    taken = {one.casefold() for one in given}
    with suppress(FileNotFoundError):
        taken |= {one.name.casefold() for one in folder.iterdir()}
    names = (plain, *(f"{plain}-{k}" for k in range(2, 100_000)))
    return next(name for name in names if name.casefold() not in taken)
