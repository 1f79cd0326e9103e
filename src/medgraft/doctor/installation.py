"""Look at this installation: packages, weights, cache, disk, machine; then try one image."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medgraft.doctor.findings import (
    Extra,
    Installation,
    LiveCheck,
    Machine,
    Package,
    Problem,
    Store,
    Weights,
)
from medgraft.doctor.machine import look_at_machine
from medgraft.errors import BackboneError, MissingExtraError
from medgraft.files import StorageError, cache_folder, check_writable
from medgraft.version import __version__

NAME = "medgraft"
ADDED = "added"  # the source of weights that a user added
FOR_DEVELOPERS = ("dev", "docs")  # extras that nobody needs who only uses medgraft
LEAST_DISK = 2**30  # bytes: the codes of some thousand images, and a model
LEAST_TEMPORARY = 256 * 2**20
LEAST_MEMORY = 2 * 2**30


def look_at_installation(cache: Path | None = None, *, check: bool = True) -> Installation:
    """Gather everything, and say what is wrong.

    Parameters
    ----------
    cache : the cache's folder where it is not the usual one.
    check : whether one image is tried (seconds).
    """
    packages, extras = _requirements()
    machine = look_at_machine()
    weights = (*_packaged_weights(), *_added_weights())
    store = _store(cache)
    live = _live_check() if check else None
    problems = (
        *_of_packages(packages, extras),
        *_of_weights(weights),
        *_of_store(store),
        *_of_machine(machine),
        *_of_check(live),
    )
    return Installation(
        medgraft=__version__,
        python=platform.python_version(),
        packages=packages,
        extras=extras,
        machine=machine,
        weights=weights,
        store=store,
        check=live,
        problems=tuple(problems),
    )


# --------------------------------------------------------------------------- packages


def _requirements() -> tuple[tuple[Package, ...], tuple[Extra, ...]]:
    """What the installed medgraft asks for, held to what is there."""
    from packaging.requirements import Requirement

    about = importlib.metadata.metadata(NAME)
    wanted = [Requirement(line) for line in about.get_all("Requires-Dist") or []]
    core = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    packages = tuple(_package(one.name, str(one.specifier)) for one in core)
    extras = []
    for name in about.get_all("Provides-Extra") or []:
        asked = [
            _package(one.name, str(one.specifier))
            for one in wanted
            if one not in core and one.marker and one.marker.evaluate({"extra": name})
        ]
        if name not in FOR_DEVELOPERS and asked:
            missing = tuple(f"{one.name}{one.needed}" for one in asked if not one.fits)
            extras.append(Extra(name, missing, len(asked)))
    return packages, tuple(extras)


def _package(name: str, needed: str) -> Package:
    from packaging.specifiers import SpecifierSet

    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Package(name, needed, "", fits=False)
    return Package(name, needed, found, SpecifierSet(needed).contains(found, prereleases=True))


# --------------------------------------------------------------------------- what lies on the disk


def _packaged_weights() -> Iterator[Weights]:
    from medgraft.features.weights import PACKAGED, sha256_of

    for name, pinned in PACKAGED.items():
        try:
            found = sha256_of(pinned.locate())
        except (MissingExtraError, BackboneError, OSError):
            yield Weights(name, pinned.distribution, "missing", "", pinned.extra)
            continue
        state = "ready" if found == pinned.sha256 else "changed"
        yield Weights(name, pinned.distribution, state, found, pinned.extra)  # type: ignore[arg-type]


def _added_weights() -> Iterator[Weights]:
    """Those added by hand, by their architecture: what a user calls them may name somebody."""
    from medgraft.features.added import WEIGHTS, added_card, added_folder, added_names
    from medgraft.features.weights import sha256_of

    for name in added_names():
        try:
            card = added_card(name)
            found = sha256_of(added_folder() / name / WEIGHTS)
        except (BackboneError, OSError):
            yield Weights("an added network", ADDED, "missing", "")
            continue
        state = "ready" if found == card.sha256 else "changed"
        yield Weights(card.name, ADDED, state, found)  # type: ignore[arg-type]


def _store(cache: Path | None) -> Store:
    from medgraft.features.cache import DEFAULT_LIMIT, Cache

    folder = cache or cache_folder()
    try:
        check_writable(folder, folder=True)
        writable = True
    except StorageError:
        writable = False
    chosen = os.environ.get("MEDGRAFT_CACHE")
    return Store(
        place="--cache" if cache else "MEDGRAFT_CACHE" if chosen else "default",
        writable=writable,
        size=sum(entry.size for entry in Cache(folder).entries()),
        limit=DEFAULT_LIMIT,
        free=_free(folder),
        temporary_free=_free(Path(tempfile.gettempdir())),
    )


def _free(folder: Path) -> int:
    """Bytes on the disk of a folder that need not be there yet."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def _live_check() -> LiveCheck:
    try:
        from medgraft.doctor.live_check import check_engines

        return check_engines()
    except Exception as error:  # noqa: BLE001  one that cannot be imported, too
        return LiveCheck("", 0, 0.0, f"{type(error).__name__}: {error}", (), None, 0.0)


# --------------------------------------------------------------------------- what is wrong


def _of_packages(packages: tuple[Package, ...], extras: tuple[Extra, ...]) -> Iterator[Problem]:
    for one in packages:
        if not one.found:
            yield Problem("package missing", one.name, needed=one.needed)
        elif not one.fits:
            yield Problem("package too old", one.name, one.found, one.needed)
    for extra in extras:
        if extra.installed == "in part":
            yield Problem("extra incomplete", extra.name, needed=" ".join(extra.missing))


def _of_weights(weights: tuple[Weights, ...]) -> Iterator[Problem]:
    for one in weights:
        if one.source == ADDED and one.state != "ready":
            yield Problem(
                "added weights missing" if one.state == "missing" else "added weights changed",
                one.network,
                one.sha256,
            )
        elif one.state == "changed":
            yield Problem("weights changed", one.network, one.sha256, one.source)
        elif one.state == "missing" and not one.extra:
            yield Problem("weights missing", one.network, needed=one.source)


def _of_store(store: Store) -> Iterator[Problem]:
    if not store.writable:
        yield Problem("cache not writable", store.place)
    if store.free < LEAST_DISK:
        yield Problem("little disk", "cache", str(store.free), str(LEAST_DISK))
    if store.temporary_free < LEAST_TEMPORARY:
        yield Problem("little disk", "temporary", str(store.temporary_free), str(LEAST_TEMPORARY))


def _of_machine(machine: Machine) -> Iterator[Problem]:
    known = [one for one in (machine.memory_available, machine.memory_limit) if one is not None]
    if known and min(known) < LEAST_MEMORY:
        yield Problem("little memory", "memory", str(min(known)), str(LEAST_MEMORY))
    if machine.quota is not None and machine.quota < machine.cores:
        yield Problem("fewer cores than seen", "cores", f"{machine.quota:g}", str(machine.cores))
    if machine.gpu_driver and machine.torch_devices == ("CPU",):
        yield Problem("GPU not used", "torch")


def _of_check(check: LiveCheck | None) -> Iterator[Problem]:
    if check is None:
        return
    if check.error:
        yield Problem("image not read", check.network, check.error)
    for trial in check.trials:
        if trial.error:
            yield Problem("engine fails", trial.engine, trial.error)
    if check.difference is not None and not check.difference <= check.tolerance:
        needed = f"{check.tolerance:.0e}"
        yield Problem("engines disagree", check.network, f"{check.difference:.1e}", needed)
