"""A sample of the broken files of `make fuzz`; and does it see what it looks for?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fuzz
from fuzzing.mutations import mutated
from fuzzing.page import kind_of, write_page
from fuzzing.seeds import seeds
from medgraft.data.pixels.decode import decode
from medgraft.data.pool import worker_process

DATA_SETS = ("npz", "csv")


@pytest.fixture(autouse=True)
def _program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `fuzz.run` makes workers run is put back."""
    monkeypatch.setattr(worker_process, "PROGRAM", worker_process.PROGRAM)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_good_files_are_pictures(tmp_path: Path) -> None:
    good = seeds()
    assert {name.partition("/")[0] for name in good} == {
        "jpg", "png", "tif", "bmp", "webp", "gif", "pgm", "npz", "csv", "dcm",
    }  # fmt: skip
    for name, data in good.items():
        if not name.startswith(DATA_SETS):
            assert min(decode(data).pixels.shape[:2]) >= 8, name
    items = ((name, "." + name.partition("/")[0], data) for name, data in good.items())
    found = fuzz.run(items, tmp_path, 2, None)
    assert [each.name for each in found if each.result != "picture" or each.failure] == []


def test_three_hundred_broken_files_give_a_picture_or_a_reason(tmp_path: Path) -> None:
    found = fuzz.run(fuzz.broken(range(7, fuzz.COUNT, 49)[:300]), tmp_path, 2, None)
    assert len(found) == 300
    assert [(each.name, each.failure, each.text) for each in found if each.failure] == []
    assert {kind_of(each.name) for each in found} == {name.partition("/")[0] for name in seeds()}
    refused = sum(each.result == "refused" for each in found)
    assert 100 < refused < 280  # neither all nor none are broken
    page = tmp_path / "page.md"
    write_page(page, found, fuzz.COUNT)
    assert "**0 of 300 files broke this promise.**" in page.read_text()


def test_a_number_is_always_the_same_file() -> None:
    good, again = seeds(), seeds()
    one = [mutated(good, k, 1) for k in range(60)]
    assert one == [mutated(again, k, 1) for k in range(60)]
    assert one != [mutated(good, k, 2) for k in range(60)]
    assert sum(data != good[name] for name, data in one) > 50


FAULTS = {
    "an exception": ("raise ZeroDivisionError", "an exception that is not explained"),
    "a long reason": (
        "return Answer('refused', 'x' * 2000)",
        "a reason that is empty, long, of several lines, or with a path",
    ),
    "a path": (
        "return Answer('refused', job.source.path)",
        "a reason that is empty, long, of several lines, or with a path",
    ),
    "a crash": ("__import__('os').abort()", "it would have been decoded without a worker"),
    "much memory": (
        "__import__('numpy').ones(900_000_000, 'u1'); return Answer('refused', 'no')",
        "too much time or memory",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_looked_for_is_seen(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, failure = FAULTS[name]
    planted = f"""
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fuzzing import child
from medgraft.data.pool.worker import Answer
def planted(job):
    {what}
child.decode_alone = planted
child.main()
"""
    monkeypatch.setattr(fuzz, "PROGRAM", planted)
    monkeypatch.setattr(fuzz, "MEGABYTES", 800)
    [found] = fuzz.run(iter([("a", ".png", seeds()["png/grey"])]), tmp_path, 1, None)
    assert found.failure == failure
    assert [path.name for path in (tmp_path / "failures").iterdir()] == ["a.png"]


def test_a_run_goes_on_where_it_stopped_and_files_are_replayed(tmp_path: Path) -> None:
    script = Path(fuzz.__file__)
    words = [sys.executable, str(script), "--count", "99", "--out", str(tmp_path), "--to"]
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import fuzz; from pathlib "
    code += f"import Path; fuzz.PAGE = Path({str(tmp_path / 'page.md')!r}); fuzz.main()"
    for last, many in (("20", 20), ("30", 30)):
        line = [sys.executable, "-c", code, *words[2:], last]
        run = subprocess.run(line, capture_output=True, text=True, check=True)
        assert run.stdout.startswith(f"{many} files, 0 failures")
    logged = [path.read_text().count("\n") for path in sorted(tmp_path.glob("*.jsonl"))]
    assert logged == [20, 10]
    image = tmp_path / "a.png"
    image.write_bytes(seeds()["png/grey"])
    line = [sys.executable, str(script), "--out", str(tmp_path), "--replay", str(image)]
    run = subprocess.run(line, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[0].startswith("a: picture, ")
