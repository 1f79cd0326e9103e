"""How work is dealt out, by a stand-in for Ray that computes at once and fails as it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medgraft.features.cache import Cache
from medgraft.features.engine import versions
from medgraft.features.extract import Extractor
from medgraft.learn import ray_runner as ray_runners
from medgraft.learn.ray_runner import RayRunner, RunnerError, Settings
from medgraft.types import FeatureSpec, ImageTable, Source

HERE = (f"medgraft {ray_runners.__version__}", *versions("openvino"))
SPEC = FeatureSpec("net", "0" * 64, 224, ("a",))


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class Call:
    """A function, a class or a method that is called as Ray calls them; a result is a reference."""

    def __init__(self, made: Callable[..., Any]) -> None:
        self.made = made

    def options(self, **_: object) -> Call:
        return self

    def remote(self, *given: object) -> Any:
        if isinstance(self.made, type):
            actor = self.made(*given)
            return SimpleNamespace(fill=Call(actor.fill))
        try:
            return Reference(value=self.made(*given), error=None)
        except RayError as error:
            return Reference(value=None, error=error)


class Reference(SimpleNamespace):
    __hash__ = object.__hash__


class FakeRay:
    exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError)

    def __init__(self, cores: int = 4) -> None:
        self.cores, self.killed = cores, 0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "ab" * 28, "Alive": True, "Resources": {"CPU": float(self.cores)}}]

    def put(self, value: object) -> object:
        return value

    def remote(self, made: Callable[..., Any]) -> Call:
        return Call(made)

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[:num_returns], references[num_returns:]

    def get(self, reference: Any, timeout: float = 0) -> Any:
        if isinstance(reference, list):
            return [self.get(one) for one in reference]
        if reference.error:
            raise reference.error
        return reference.value

    def kill(self, actor: object) -> None:
        self.killed += 1


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path), workers=3)


def images(n: int) -> ImageTable:
    ids = np.array([f"{i:03d}" for i in range(n)])
    return ImageTable(
        ids=ids,
        sources=tuple(Source(name) for name in ids.tolist()),
        content_hashes=ids,
        labels=np.arange(n) % 2,
        groups=ids,
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=("a", "b"),
    )


@pytest.mark.parametrize(("deaths", "left"), [(0, 0), (1, 10), (4, 40)])
def test_images_are_dealt_in_small_parts_and_the_dead_get_no_more(
    deaths: int, left: int, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that a worker died of, or could not do, is left for this process."""
    made: list[object] = []
    seen: list[str] = []

    class Reader:
        def __init__(self, settings: Settings) -> None:
            assert settings.workers == 1
            self.dies = len(made) < deaths
            made.append(self)

        def fill(self, table: ImageTable, base: FeatureSpec, wanted: object) -> None:
            if self.dies:
                raise RayActorError("gone")
            if "055" in table.ids:
                raise RayError("an error of its own")
            assert len(table) <= 10
            seen.extend(table.ids.tolist())

    monkeypatch.setattr(ray_runners, "Reader", Reader)
    monkeypatch.setattr(ray_runners, "IMAGES", 10)
    monkeypatch.setattr(ray_runners, "THREADS", 1)
    ray, steps = FakeRay(), list[int]()
    runner = RayRunner(ray)
    runner.fill(extractor, images(95), SPEC, [(SPEC, SPEC.blocks)], steps.append)
    done = 0 if deaths == 4 else 95 - 10 - left
    assert len(seen) == len(set(seen)) == done
    assert sum(steps) == (0 if deaths == 4 else 95 - left)
    assert len(runner.readers) == 4 - deaths
    runner.release()
    assert ray.killed == 4 - deaths


def test_a_scenario_that_fails_there_is_given_back_to_be_judged_here(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(scenario: Any, *_: object) -> None:
        if scenario.fails:
            raise RayError("a worker has no more memory")

    monkeypatch.setattr(ray_runners, "judge", judge)
    asked: list[Any] = [Reference(trained=i == 1, fails=i == 2, i=i) for i in range(4)]
    found = list(RayRunner(FakeRay()).judged(extractor, asked, None))  # type: ignore[arg-type]
    assert [one.i for one in found] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("answer", "cores", "said"),
    [
        ((("medgraft 0.0.1", *HERE[1:]), True), 2, "has medgraft 0.0.1 where this has medgraft"),
        (((*HERE[:-1], "pillow 1.0"), True), 2, "has pillow 1.0 where this has"),
        ((HERE, False), 2, "do not see"),
        (RayError("No module named 'medgraft'"), 2, "cannot run medgraft .No module"),
        ((HERE, True), 0, "no CPU"),
    ],
)
def test_a_cluster_that_could_not_do_the_work_is_refused(
    answer: Any, cores: int, said: str, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")

    def look(path: str, engine: str) -> object:
        if not path:
            return HERE, False
        assert Path(path).is_file()
        assert engine == "openvino"
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray_runners, "look", look)
    with pytest.raises(RunnerError, match=said):
        RayRunner(FakeRay(cores)).check(extractor)
    assert list(extractor.cache.folder.iterdir()) == []
