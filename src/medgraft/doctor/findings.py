"""What a look at an installation gives: facts, and what is wrong as a kind with its numbers.

Sentences and remedies stand in `cli/doctor.py`. Nothing here names a folder, a person or a machine:
what is not in these classes cannot get into a bug report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ProblemKind = Literal[
    "package missing",
    "package too old",
    "weights missing",
    "weights changed",
    "added weights missing",
    "added weights changed",
    "cache not writable",
    "little disk",
    "little memory",
    "fewer cores than seen",
    "GPU not used",
    "extra incomplete",
    "image not read",
    "engine fails",
    "engines disagree",
]
Severity = Literal["severe", "warn"]
SEVERE: frozenset[ProblemKind] = frozenset(
    {
        "package missing",
        "package too old",
        "weights missing",
        "weights changed",
        "cache not writable",
        "image not read",
        "engine fails",
        "engines disagree",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its kind, what it concerns, and what was found and needed."""

    kind: ProblemKind
    what: str
    found: str = ""
    needed: str = ""

    @property
    def severity(self) -> Severity:
        """`severe` where a study cannot run, or not be trusted."""
        return "severe" if self.kind in SEVERE else "warn"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that medgraft needs: what was asked for, and the version found or ''."""

    name: str
    needed: str
    found: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part: the packages of it that are missing or too old, as pip would be told."""

    name: str
    missing: tuple[str, ...]
    size: int

    @property
    def installed(self) -> Literal["yes", "no", "in part"]:
        """Whether all of its packages are there."""
        if not self.missing:
            return "yes"
        return "no" if len(self.missing) == self.size else "in part"


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a network that come by pip or were added; an added one's own name is left out.

    sha256 : of the file that is here, or ''.
    """

    network: str
    source: str
    state: Literal["ready", "missing", "changed"]
    sha256: str
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """The cache. place : who says where it lies. sizes in bytes; `free` on its disk."""

    place: Literal["default", "MEDGRAFT_CACHE", "--cache"]
    writable: bool
    size: int
    limit: int
    free: int
    temporary_free: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine gives a process. Bytes; None where the system does not say.

    cores : those this process may use; `quota` how many a container is given of them.
    memory_limit : of a container or of the process (`ulimit -v`), the least of them.
    """

    system: str
    processor: str
    cores: int
    quota: float | None
    memory: int | None
    memory_available: int | None
    memory_limit: int | None
    openvino_devices: tuple[str, ...]
    torch_devices: tuple[str, ...]
    gpu_driver: bool
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EngineTrial:
    """One engine on one image: seconds until it was ready, seconds for the image, or an error."""

    engine: str
    ready_seconds: float = 0.0
    image_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class LiveCheck:
    """One made image, decoded in a worker process and read by both engines.

    error : why the image could not be decoded, or ''.
    difference : the largest between the engines' codes, as a share of a layer's largest activation.
    """

    network: str
    size: int
    decode_seconds: float
    error: str
    trials: tuple[EngineTrial, ...]
    difference: float | None
    tolerance: float


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything that `medgraft doctor` tells."""

    medgraft: str
    python: str
    packages: tuple[Package, ...]
    extras: tuple[Extra, ...]
    machine: Machine
    weights: tuple[Weights, ...]
    store: Store
    check: LiveCheck | None
    problems: tuple[Problem, ...]

    @property
    def works(self) -> bool:
        """Whether nothing severe was found."""
        return all(problem.severity != "severe" for problem in self.problems)
