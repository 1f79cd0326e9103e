"""What /openapi.json says is what is done, by a tester that knows nothing else of the server.

schemathesis brings a plug-in that pytest would load for all tests, so that it is a program of its
own: `pipx install schemathesis`.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from serving import running

from medgraft.serve.limits import Limits

PROGRAM = shutil.which("schemathesis")


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs the program schemathesis")
def test_schemathesis_finds_nothing() -> None:
    assert PROGRAM is not None
    # That bytes of any kind are an image is what a schema cannot deny.
    without = ["--exclude-checks", "positive_data_acceptance"]
    with running(Limits()) as server:
        address = f"http://127.0.0.1:{server.port}/openapi.json"
        words = [PROGRAM, "run", address, "--max-examples", "50", *without]
        found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
        assert server.ask("/v1/predict?", b"").status == 422  # it is still there
    assert found.returncode == 0, found.stdout
    assert "No issues found" in found.stdout
