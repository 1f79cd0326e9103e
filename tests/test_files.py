"""Files written whole or not at all: what a killed writer leaves, and what a disk says."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medgraft.errors import MedgraftError
from medgraft.features.cache import Cache
from medgraft.files import (
    StorageError,
    check_writable,
    explained,
    folder_beside,
    remove_abandoned,
    write_text,
    written_file,
    written_folder,
)
from medgraft.profile.kept import keep, kept
from medgraft.studies.run_lock import locked
from medgraft.studies.store import RunStore, was_killed
from medgraft.terminal.output import show_json

GONE = 2**22 + 1  # above the greatest number of a process that Linux gives


def half(path: Path, pid: int = GONE, age: float = 3600) -> Path:
    """What a process of that number had begun to write in place of `path`, so long ago."""
    begun = path.with_name(f".{path.name}.{pid}-0123abcd")
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_text("half")
    os.utime(begun, (time.time() - age,) * 2)
    return begun


def test_what_a_killed_writer_left_goes_when_its_place_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("older")
    gone = [half(path), tmp_path / f".a.csv.{GONE}-89abcdef-older"]
    gone[1].mkdir()
    (gone[1] / "inside").touch()
    os.utime(gone[1], (0, 0))
    stays = [
        half(path, age=0.5),  # somebody elsewhere may be writing
        half(tmp_path / "b.csv"),
        half(path, os.getppid()),  # runs here
        tmp_path / ".a.csv.hidden-by-a-person",
    ]
    stays[0] = stays[0].rename(stays[0].with_name(stays[0].name.replace("0123abcd", "01234567")))
    stays[3].touch()
    os.utime(stays[3], (0, 0))
    write_text(path, "whole")
    assert not any(one.exists() for one in gone)
    assert all(one.exists() for one in stays)
    assert path.read_text() == "whole"


def test_a_folder_makes_the_same_of_it(tmp_path: Path) -> None:
    left = half(tmp_path / "model")
    with written_folder(tmp_path / "model") as folder:
        assert folder.stat().st_mode & 0o077 == 0  # private until it is whole
    assert not left.exists()
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_so_does_a_folder_whose_files_are_put_in_place_one_by_one(tmp_path: Path) -> None:
    left = half(tmp_path / "graph.xml")
    with folder_beside(tmp_path / "graph.xml") as folder:
        (folder / "graph.xml").write_text("whole")
        (folder / "graph.xml").replace(tmp_path / "graph.xml")
    assert not left.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["graph.xml"]


def test_a_folder_that_made_way_for_one_that_never_came_is_put_back(tmp_path: Path) -> None:
    older = half(tmp_path / "model")
    older = older.rename(older.with_name(older.name + "-older"))
    remove_abandoned(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "half"


def test_a_full_cache_is_told_from_a_bug_and_the_remedy_is_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"k\.npz: No space left on device; free .* --cache DIR"):
        Cache(tmp_path).put("kind", "k", {"a": np.zeros(3)})
    assert list((tmp_path / "kind").iterdir()) == []
    with pytest.raises(ZeroDivisionError), explained(tmp_path):
        1 / 0  # noqa: B018


def test_what_libraries_say_of_the_disk_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rust's safetensors raises errors of its own; numpy's lack the number; torch's say nothing."""
    with pytest.raises(StorageError, match="w: No such file"), explained(tmp_path / "w"):
        save_file({"a": np.zeros(3)}, tmp_path / "none" / "w")
    for error in (OSError("9 requested and 4 written"), RuntimeError("file write failed")):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
            with pytest.raises(StorageError, match="No space left"), explained(tmp_path):
                raise error
    with pytest.raises(RuntimeError, match="write failed"), explained(tmp_path):
        raise RuntimeError("file write failed")


def test_an_error_is_told_though_cleaning_up_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "unlink", broken)
    with pytest.raises(StorageError, match="No space left"), written_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "")


def test_a_run_killed_before_its_first_file_was_whole_can_begin_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    left = half(run / "config.json", os.getppid(), age=0)
    with locked(run):
        RunStore(run, {"seed": 1}).event("one")
    assert not left.exists()
    left = half(run / "report.html", age=0)
    with locked(run):  # it judged nothing: taken over without being told to
        RunStore(run, {"seed": 2})
    assert not left.exists()


def test_an_event_that_was_cut_short_takes_no_other_with_it(tmp_path: Path) -> None:
    store = RunStore(tmp_path, {"seed": 1})
    with (tmp_path / "run.jsonl").open("a") as file:
        file.write('{"time": 1, "eve')
    store.event("next", number=7)
    store.event("last")
    assert [one["number"] for one in store.events("next")] == [7]
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 4


def test_a_training_that_was_killed_is_gone_on_with_and_no_other(tmp_path: Path) -> None:
    store = RunStore(tmp_path, {"seed": 1})
    left = half(tmp_path / "training.json", age=0)
    assert was_killed(tmp_path, {"seed": 1})
    assert not left.exists()
    assert not was_killed(tmp_path, {"seed": 2})
    store.event("finished")
    assert not was_killed(tmp_path, {"seed": 1})
    assert not was_killed(tmp_path / "none", {"seed": 1})


def test_a_run_takes_what_killed_ones_left_out_of_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    gone = [half(tmp_path / "predictions" / "k.npz"), half(tmp_path / "features" / "s" / "segment")]
    stays = half(tmp_path / "weights" / "w", os.getppid())
    assert cache.prune() == 8
    assert [one.exists() for one in (*gone, stays)] == [False, False, True]


def test_what_is_kept_beside_a_model_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    words = {f"{n}": f'ü"{n}' for n in range(8)}
    arrays: dict[str, NDArray[Any]] = {
        "b": np.arange(5, dtype=np.float32),
        "a": np.zeros((2, 0), np.int64),
    }
    found = []
    for number in range(2):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "bundle.json").write_text('{"sha256": {}}')
        keep(folder, "x.safetensors", arrays, dict(reversed(words.items()) if number else words))
        found.append((folder / "x.safetensors").read_bytes())
    assert found[0] == found[1]
    back = kept(tmp_path / "0", "x.safetensors", lambda mine, said: (dict(mine), dict(said)))
    assert back is not None
    assert back[1] == words
    for name, values in arrays.items():
        np.testing.assert_array_equal(back[0][name], values)


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)]
)
def test_what_a_library_writes_privately_gets_the_permissions_that_the_umask_leaves(
    tmp_path: Path, umask: int, file: int, folder: int
) -> None:
    before = os.umask(umask)
    try:
        with written_file(tmp_path / "alone") as temporary:
            save_file({"a": np.zeros(1)}, temporary)
        with written_folder(tmp_path / "model") as inside:
            save_file({"a": np.zeros(1)}, inside / "head")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"alone": file, "head": file, "model": folder}


def test_errors_of_ours_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(MedgraftError, match=r"^mine$"), explained(tmp_path):
        raise MedgraftError("mine")


def test_a_pipe_stays_one_and_a_link_leads_where_it_led(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match="it is no file"):
        check_writable(pipe)
    with pytest.raises(StorageError, match="it is no file"), written_file(pipe):
        pass
    assert pipe.is_fifo()
    with pytest.raises(StorageError, match="it is no file"):
        check_writable(Path("/dev/stdout"))
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "a.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with written_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.csv", "pipe", "there"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_json_loses_no_letter_where_the_stream_has_not_all(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, errors="replace")
    monkeypatch.setattr(sys, "stdout", stream)
    show_json({"source": "患者/ü.png"})
    stream.flush()
    assert json.loads(buffer.getvalue().decode("utf-8")) == {"source": "患者/ü.png"}
