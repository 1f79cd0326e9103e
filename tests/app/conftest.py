"""A server that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opened import Opened, opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("home")) as found:
        yield found
