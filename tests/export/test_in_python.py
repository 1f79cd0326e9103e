"""A classifier leaves by the Python calls as docs/api.md shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from medgraft.types import FittedScenario, ImageTable

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_example_of_the_page_runs(
    fitted: dict[str, FittedScenario], table: ImageTable, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("run/model").mkdir(parents=True)
    probe: Any = fitted["probe"]
    probe.save(Path("run/model"))
    Path("images").symlink_to(Path(table.sources[0].path).parents[1])
    example, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["file"] == Path("model.medgraft")
    assert names["file"].is_file()
    assert names["graph"].parity.n == len(table)
    assert {one.name for one in Path("graph").iterdir()} >= {"model.xml", "export.json"}
