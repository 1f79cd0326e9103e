"""What every test may use: where the shared data lies, a cache of its own, one backbone."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from medgraft.features.cache import Cache
from medgraft.types import Canvas, Geometry

mpl.use("Agg")
SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared with the real data sets, which is not here")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache."""
    os.environ["MEDGRAFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """A test that would open a connection elsewhere from its own process finds no network."""
    connect = socket.socket.connect

    def near(self: socket.socket, address: Any) -> None:
        stream = self.type == socket.SOCK_STREAM and self.family != socket.AF_UNIX
        if stream and str(address[0]) not in own_addresses():
            raise OSError(errno.ENETUNREACH, f"a test connects to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", near)
        yield


@functools.cache
def own_addresses() -> frozenset[str]:
    found = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}
    with suppress(OSError):
        found |= {str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None)}
    return frozenset(found)


@pytest.fixture(scope="session", autouse=True)
def _one_network() -> Iterator[None]:
    """Studies of tests compare the default network alone, whatever extras are installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgraft.studies.second_network._installed", lambda backbone: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_for_similarity() -> Iterator[None]:
    """Studies of tests hold few images to ImageNet: each is a pass of the network more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgraft.profile.similarity.MOST", 8)
        yield


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted graphs, shared by all caches of a session: converting one takes seconds."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def cache(tmp_path: Path, graphs: Path) -> Cache:
    """An empty cache that knows the session's graphs."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "graphs").symlink_to(graphs)
    return Cache(folder)


@pytest.fixture(scope="session")
def canvases() -> list[Canvas]:
    """Twelve canvases, 64 px: smooth random fields, four of them grey."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(12):
        coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
        pixels = pixels[..., 0] if index % 3 == 0 else pixels
        made.append(Canvas(f"{index}", pixels, Geometry.identity(64, 64)))
    return made
