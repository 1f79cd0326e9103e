"""A server of medgraft's, asked as the audit asks any server on this machine."""

from __future__ import annotations

import numpy as np
import pytest
from serving import PLACE, Running

from medgraft.errors import ForeignModelError
from medgraft.foreign.loopback import LoopbackServer
from medgraft.foreign.options import ForeignOptions
from medgraft.types import Canvas, Geometry
from numpy_model import SIDE, ByBrightness


def asked(server: Running) -> LoopbackServer:
    url = f"http://127.0.0.1:{server.port}"
    return LoopbackServer(url, ForeignOptions(input_size=SIDE), ("1", "0"))


def test_it_gives_the_probabilities_of_its_model(server: Running) -> None:
    server.gate.set()
    grey = np.random.default_rng(0).integers(90, 111, (4, SIDE, SIDE, 1), dtype=np.uint8)
    images = grey.repeat(3, axis=3)
    geometry = Geometry.identity(SIDE, SIDE)
    canvases = [Canvas(str(row), image, geometry) for row, image in enumerate(images)]
    expected = ByBrightness(PLACE).probabilities(canvases)
    found = asked(server)
    np.testing.assert_allclose(found(images), expected[:, ::-1], atol=1e-6)  # by name, not place
    assert (found.named, found.outputs) == (True, "probabilities")


def test_what_it_refuses_is_told_in_its_words(server: Running) -> None:
    server.gate.set()
    with pytest.raises(ForeignModelError, match=r"answered 413 .*files"):  # it takes four
        asked(server)(np.zeros((5, SIDE, SIDE, 3), np.uint8))
