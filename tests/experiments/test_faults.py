"""The experiment that kills and breaks: it sees what is half-written, and nothing is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fault_injection.commands import NAMES
from fault_injection.whole import half_written, hidden
from faults import Cell, cells, one_of_each_kind

# A process of one thread, that it may fork: each child writes a file and a folder, both there
# already, and has harm done to it at one event.
WRITER = """
import errno, json, os, sys
from pathlib import Path
sys.path[:] = json.loads(sys.argv[2])
from fault_injection.hook import Events, fails_with, kill
from medgraft.files import StorageError, write_json, written_folder

root = Path(sys.argv[1])

def write(number):
    write_json(root / "a.json", {"n": number})
    with written_folder(root / "model") as folder:
        (folder / "b.json").write_text(json.dumps({"n": number}))

def seen():
    files = [root / "a.json", root / "model" / "b.json"]
    return [json.loads(f.read_text())["n"] if f.exists() else None for f in files]

found = []
for name, harm in (("kill", kill), ("ENOSPC", fails_with(errno.ENOSPC))):
    for at in range(1, 30):
        write(0)
        child = os.fork()
        if not child:
            code = 0
            try:
                Events((root,), Path(sys.argv[3]), at, harm).begin()
                write(1)
            except StorageError as error:
                code = 2 if "No space left" in str(error) and "free some space" in str(error) else 3
            os._exit(code)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append([name, at, ended, seen()])
print(json.dumps(found))
"""


def test_a_file_and_a_folder_are_the_old_or_the_new_at_every_event(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITER, str(tmp_path / "out"), json.dumps(sys.path)]
    (tmp_path / "out").mkdir()
    done = subprocess.run([*words, str(tmp_path / "log")], capture_output=True, text=True)
    assert not done.stderr
    found = json.loads(done.stdout)
    for name in ("kill", "ENOSPC"):
        mine = [one for one in found if one[0] == name]
        assert sum(one[2] != 0 for one in mine) > 7
        for _, _, ended, (file, folder) in mine:
            assert ended in {"kill": (0, -9), "ENOSPC": (0, 2)}[name]
            assert file in (0, 1)
            # Between two renames an older folder is away: `remove_abandoned` puts it back.
            assert folder in (0, 1) or (name == "kill" and folder is None)
        assert sum(one[3][1] is None for one in mine) == (name == "kill")
        assert mine[-1][2:] == [0, [1, 1]]


def test_what_is_half_written_is_seen(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", a=np.arange(9))
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "run.jsonl").write_text('{"a": 1}\n{"cut sho')
    (tmp_path / ".a.json.1-0123abcd").touch()
    assert half_written(tmp_path) == []
    assert [path.name for path in hidden(tmp_path)] == [".a.json.1-0123abcd"]
    for name in ("a.png", "a.npz", "a.json"):
        os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    (tmp_path / "run.jsonl").write_text('{"cut sho\n{"a": 1}\n')
    assert sorted(line.partition(":")[0] for line in half_written(tmp_path)) == [
        "a.json", "a.npz", "a.png", "run.jsonl",
    ]  # fmt: skip


def test_kills_are_two_hundred_and_spread_over_all_events() -> None:
    heard = {name: [f"open {i}" for i in range(100)] for name in NAMES}
    every = cells(heard)
    assert len({cell.name for cell in every}) == len(every)
    assert sum(cell.kind in ("kill", "time") for cell in every) == 200
    at = sorted(cell.at for cell in every if (cell.kind, cell.command) == ("kill", "study"))
    assert at[0] == 1
    assert np.diff(at).max() <= 2
    assert at[-1] > 97
    assert every == cells(heard)
    assert Cell("EIO", "study", 1) in every


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (["open a/1", "open b", "open a/2", "open a/0123abcd"], [1, 2, 4]),
        (["fsync x", "open x"], [1, 2]),
    ],
)
def test_of_events_that_differ_in_numbers_the_first_and_last_are_taken(
    heard: list[str], expected: list[int]
) -> None:
    assert one_of_each_kind(heard) == expected
