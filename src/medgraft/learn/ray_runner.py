"""A study's slow parts on many processes, or machines, by Ray: they fill the cache, it reads.

Workers extract codes and judge scenarios as one process would, into the cache, which all of them
reach by one path. Afterwards the process that asked goes its usual way and finds what they left, so
that its numbers are the same to the bit, and what a worker left undone (an image that cannot be
read, a machine that died too often) it does itself.

Codes are extracted by actors, one engine each with its share of the threads, few images at a time.
A frozen scenario is one task: its folds are solved together, and alone they would be rounded in
another way. One that is trained is a task with as many threads as it has here. What needs all of
them (ensembles, the choice, the audit, the test split) stays here. See docs/scaling.md.
"""

from __future__ import annotations

import os
import secrets
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.pool.pool import DecodePool, decode_every_file_in_workers
from medgraft.data.split import Development
from medgraft.errors import MedgraftError, optional
from medgraft.features.cache import Cache
from medgraft.features.codebooks import quiet_mixtures
from medgraft.features.engine import versions
from medgraft.features.extract import Advance, Extractor, Wanted
from medgraft.files import written_file
from medgraft.learn.fit import cross_fitted
from medgraft.scenario import Scenario
from medgraft.types import FeatureSpec, ImageTable
from medgraft.version import __version__

IMAGES = 128  # of a task: what is lost with a worker, and a segment of the cache
THREADS = 4  # of an engine; more engines with few threads each serve a large machine better
RETRIES = 2  # of what a worker that died was doing
PATIENCE = 10  # seconds for an address to answer
HASTE = {"RAY_py_gcs_connect_timeout_s": "10", "RAY_NUM_REDIS_GET_RETRIES": "2"}  # else minutes
PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a cluster of this machine alone: on its loopback
    "RAY_AUTH_MODE": "token",  # which other users of this machine cannot use
}


class RunnerError(MedgraftError):
    """The cluster that was asked for cannot be used."""


@dataclass(frozen=True)
class Settings:
    """By which a worker makes an extractor like the one here."""

    cache: str
    limit: int
    engine: str
    workers: int
    weights: tuple[tuple[str, str], ...]
    safe: bool

    @classmethod
    def of(cls, extractor: Extractor, workers: int | None = None) -> Settings:
        """Of an extractor; with other `workers` where they are given."""
        return cls(
            cache=str(extractor.cache.folder.resolve()),
            limit=extractor.cache.limit,
            engine=extractor.engine,
            workers=workers or extractor.workers,
            weights=tuple(extractor.weights.items()),
            safe=DecodePool(1).safe,
        )

    def extractor(self) -> Extractor:
        """The extractor, in a worker."""
        os.environ["MEDGRAFT_CACHE"] = self.cache  # large arrays go there, too
        decode_every_file_in_workers(self.safe)
        cache = Cache(Path(self.cache), self.limit)
        return Extractor(
            cache, engine=self.engine, workers=self.workers, weights=dict(self.weights)
        )


class Reader:
    """An actor: one engine, which reads some images at a time into the cache."""

    def __init__(self, settings: Settings) -> None:
        self.extractor = settings.extractor()

    def fill(self, table: ImageTable, base: FeatureSpec, wanted: Wanted) -> None:
        """Compute and keep what is wanted of a few images; those that cannot be read are left."""
        self.extractor.fill(table, base, wanted)


def judge(scenario: Scenario, development: Development, settings: Settings) -> None:
    """A task: judge a scenario out of fold, and keep what comes of it."""
    with quiet_mixtures():
        cross_fitted(scenario, development, settings.extractor())


def look(path: str, engine: str) -> tuple[tuple[str, ...], bool]:
    """A task: what computes there, and whether a file is seen."""
    return (f"medgraft {__version__}", *versions(engine)), Path(path).is_file()


class RayRunner:
    """What `Extractor.runner` asks, done by a Ray cluster that is connected to."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.cores = {
            node["NodeID"]: int(node["Resources"].get("CPU", 0))
            for node in ray.nodes()
            if node["Alive"]
        }
        self.widest = max(self.cores.values(), default=0)
        self.threads = max(1, min(THREADS, self.widest))
        self.n_readers = sum(n // self.threads for n in self.cores.values())
        self.readers: list[Any] = []
        self.read_by: Settings | None = None

    def fill(
        self,
        extractor: Extractor,
        table: ImageTable,
        base: FeatureSpec,
        wanted: Wanted,
        advance: Advance,
    ) -> None:
        """Have blocks of a table's images in the cache, as far as workers can."""
        idle = self._idle(extractor, 1 + (len(table) - 1) // IMAGES)
        parts = [np.arange(i, min(i + IMAGES, len(table))) for i in range(0, len(table), IMAGES)]
        asked = self.ray.put(wanted)
        running: dict[Any, tuple[Any, int]] = {}
        while running or (parts and idle):
            while parts and idle:
                reader, part = idle.pop(), parts.pop(0)
                done = reader.fill.remote(table.select(part), base, asked)
                running[done] = (reader, len(part))
            (done,), _ = self.ray.wait(list(running), num_returns=1)
            reader, n = running.pop(done)
            try:
                self.ray.get(done)
            except self.ray.exceptions.RayActorError:
                self.readers.remove(reader)  # it died too often
                continue
            except self.ray.exceptions.RayError:
                pass  # what it did not do is done here, and says why it cannot be
            idle.append(reader)
            advance(n)

    def judged(
        self, extractor: Extractor, scenarios: Sequence[Scenario], development: Development
    ) -> Iterator[Scenario]:
        """Each scenario when a worker has judged it, or has failed to."""
        self.release()
        task = self.ray.remote(judge)
        rows, settings = self.ray.put(development), Settings.of(extractor)
        running = {}
        for scenario in reversed(scenarios):  # plans end with the widest
            cpus = min(extractor.workers, self.widest) if scenario.trained else 1
            how = {"num_cpus": cpus, "max_retries": RETRIES}
            running[task.options(**how).remote(scenario, rows, settings)] = scenario
        while running:
            (done,), _ = self.ray.wait(list(running), num_returns=1)
            with suppress(self.ray.exceptions.RayError):
                self.ray.get(done)
            yield running.pop(done)

    def release(self) -> None:
        """End the actors that extract, whose cores others want now."""
        for reader in self.readers:
            self.ray.kill(reader)
        self.readers = []

    def _idle(self, extractor: Extractor, most: int) -> list[Any]:
        """The actors that extract, as many as there are cores and tasks for."""
        settings = Settings.of(extractor, self.threads)
        if settings != self.read_by:
            self.release()
            self.read_by = settings
        actor = self.ray.remote(Reader).options(
            num_cpus=self.threads, max_restarts=RETRIES, max_task_retries=RETRIES
        )
        while len(self.readers) < min(self.n_readers, most):
            self.readers.append(actor.remote(settings))
        return list(self.readers)

    def check(self, extractor: Extractor) -> None:
        """Refuse a cluster that could not do the work, or would give other numbers.

        Raises
        ------
        RunnerError
            It has no cores; or a node has other versions of what computes, or sees another cache.
        """
        if not self.widest:
            raise RunnerError("the Ray cluster has no CPU for tasks; add a node, or --runner local")
        seen = extractor.cache.folder.resolve() / f".seen-{uuid.uuid4().hex}"
        try:
            with written_file(seen) as temporary:
                temporary.touch()
            asked = [
                self.ray.remote(look)
                .options(num_cpus=1, max_retries=RETRIES, **_on(node))
                .remote(str(seen), extractor.engine)
                for node, cores in self.cores.items()
                if cores
            ]
            answers = self.ray.get(asked, timeout=6 * PATIENCE)
        except (self.ray.exceptions.RayError, ImportError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise RunnerError(
                f"the Ray cluster cannot run medgraft ({reason}); install medgraft[ray] "
                f"{__version__} on every node, and free a core"
            ) from error
        finally:
            with suppress(OSError):
                seen.unlink(missing_ok=True)
        here, _ = look("", extractor.engine)
        for found, there in answers:
            if found != here:
                other = ", ".join(one for one in found if one not in here) or "less"
                mine = ", ".join(one for one in here if one not in found) or "less"
                raise RunnerError(
                    f"a node of the Ray cluster has {other} where this has {mine}, which could "
                    "give other numbers; install the same on every node"
                )
            if not there:
                raise RunnerError(
                    f"workers of the Ray cluster do not see {seen.parent}; pass a --cache on a "
                    "disk that all nodes reach by one path, the images, too"
                )


def _on(node: str) -> dict[str, Any]:
    """Options of a task that shall run on a certain node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)}


@contextmanager
def ray_runner(extractor: Extractor, address: str = "") -> Iterator[None]:
    """Have an extractor's and its scenarios' work done by Ray, until the end of the block.

    address : of a cluster, such as `10.0.0.1:6379` or `auto`; without one, a cluster is started on
    this machine with as many cores as `extractor.workers`, and ended with the block. A program
    that is connected to one already goes on with that.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    RunnerError
        The address does not answer, or the cluster cannot be used.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to Ray's makers
    if not address:
        os.environ.update(PRIVATE)
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in HASTE.items() if address else ():
        os.environ.setdefault(name, value)
    ray: Any = optional("ray", "ray")  # which reads them when it is imported
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    mine = not ray.is_initialized()
    if mine and address:
        _connect(ray, address, quiet)
    elif mine:
        store = 128 * 2**20  # only tables go through it
        ray.init(
            address="local",  # or it would go to one that it finds
            num_cpus=extractor.workers,
            include_dashboard=False,
            object_store_memory=store,
            **quiet,
        )
    try:
        runner = RayRunner(ray)
        runner.check(extractor)
        extractor.runner = runner
        yield
    finally:
        extractor.runner = None
        if mine:
            ray.shutdown()


def _connect(ray: Any, address: str, how: dict[str, Any]) -> None:
    """Connect to a cluster, if there is one."""
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    try:
        if address != "auto":
            with socket.create_connection((host.strip("[]"), int(port)), PATIENCE):
                pass
        ray.init(address=address, **how)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunnerError(
            f"no Ray cluster answers at {address!r} ({reason}); give the address that `ray start "
            "--head` prints, such as 10.0.0.1:6379 (and set RAY_AUTH_MODE=token where the cluster "
            "has one), or leave --address out for this machine"
        ) from error
