"""By Ray the same numbers come out as here, whoever dies meanwhile; what cannot work is refused."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from medgraft.api import load
from medgraft.cli.option_parsing import running
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn import ray_runner as ray_runners
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.learn.ray_runner import RayRunner, RunnerError, ray_runner
from medgraft.scenario import Scenario
from medgraft.types import ImageTable, Skipped

HEADS = [Scenario.from_key(f"probe/tf_efficientnet_lite0/conv_head/{h}") for h in ("svm", "knn")]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """64 images, of which one cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=64, seed=0)
    found = load(folder)
    Path(found.sources[5].path).write_bytes(b"no image")
    return found


def studied(
    table: ImageTable, extractor: Extractor
) -> tuple[dict[str, CrossFitted], tuple[Skipped, ...], Any]:
    plan = feature_plan_of(HEADS[0], extractor)
    codes, rows, skipped = plan.codes(table, extractor)
    development = Development(rows, make_folds(rows, 3, seed=0))
    judged = {
        one.predictions.scenario: one for one in cross_fitted_all(HEADS, development, extractor)
    }
    return judged, skipped, codes


def kill_when_at_work(process: int, cache: Path) -> None:
    while not list(cache.glob("features/*/segment-*")):
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray's own
def test_ray_gives_the_same_bits_though_a_worker_is_killed(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_runners, "IMAGES", 8)
    monkeypatch.setattr(ray_runners, "THREADS", 1)
    here, skipped, codes = studied(table, Extractor(Cache(tmp_path / "here"), workers=2))
    there = Extractor(Cache(tmp_path / "there"), workers=2)
    with ray_runner(there):
        runner = there.runner
        assert isinstance(runner, RayRunner)
        readers = runner._idle(there, 2)
        number = runner.ray.get([r.__ray_call__.remote(lambda _: os.getpid()) for r in readers])
        assert len(set(number)) == 2
        assert os.getpid() not in number
        killer = threading.Thread(target=kill_when_at_work, args=(number[0], there.cache.folder))
        killer.start()
        found, missed, read = studied(table, there)
        killer.join()
    assert not Path(f"/proc/{number[0]}").exists()
    assert len(list(there.cache.folder.glob("features/*/segment-*"))) >= 8
    np.testing.assert_array_equal(read, codes)
    assert missed == skipped
    assert len(missed) == 1
    for key, one in here.items():
        np.testing.assert_array_equal(found[key].predictions.scores, one.predictions.scores)
        np.testing.assert_array_equal(found[key].predictions.y_prob, one.predictions.y_prob)
    assert there.runner is None


def test_an_address_that_does_not_answer_is_refused(cache: Cache) -> None:
    pytest.importorskip("ray")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "nonsense"):
        said = f"no Ray cluster answers at '{address}'"
        with pytest.raises(RunnerError, match=said), ray_runner(Extractor(cache), address):
            pass


@pytest.mark.parametrize(("runner", "address"), [("dask", ""), ("local", "10.0.0.1:6379")])
def test_another_runner_and_an_address_without_ray_are_wrong_usage(
    runner: str, address: str, cache: Cache
) -> None:
    with pytest.raises(typer.BadParameter):
        running(runner, address, Extractor(cache))
