"""What is double-clicked: it says how to start the page, in each system's own way."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from medgraft.app.launcher import install_launcher
from medgraft.files import StorageError

HOME = Path('/a "b" $c/50%/`d`/é')
WORDS = ["-m", "medgraft.cli", "app", "--home", str(HOME)]


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


def unquoted(value: str) -> list[str]:
    """The arguments of an Exec line, read as the specification says: string, then quotes."""
    string = value.replace("\\\\", "\\")
    found, word, inside, letters = [], "", False, iter(string)
    for letter in letters:
        if letter == "\\" and inside:
            word += next(letters)
        elif letter == '"':
            found += [word] if inside else []
            word, inside = "", not inside
        elif inside:
            word += letter
        else:
            assert letter == " "
    return [word.replace("%%", "%") for word in found]


def test_on_linux_the_menu_gets_an_entry(tmp_path):
    path = install_launcher(HOME, "/o p/python", "linux")
    assert path == tmp_path / ".local/share/applications/medgraft.desktop"
    lines = dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines()[1:])
    assert unquoted(lines["Exec"]) == ["/o p/python", *WORDS]
    assert lines["Type"] == "Application"


def test_on_a_mac_a_command_lies_on_the_desktop(tmp_path):
    path = install_launcher(HOME, "/o p/python", "darwin")
    assert path == tmp_path / "Desktop" / "medgraft.command"
    assert stat.S_IMODE(path.stat().st_mode) & 0o100
    first, second = path.read_text("utf-8").splitlines()
    assert first == "#!/bin/sh"
    assert shlex.split(second) == ["exec", "/o p/python", *WORDS]


def test_what_it_says_starts_the_program(tmp_path):
    path = install_launcher(tmp_path / "h ome", sys.executable, "darwin")
    text = path.read_text("utf-8").replace(" app --home", " app --help --home")
    path.write_text(text, "utf-8")
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run([path], capture_output=True, text=True, env=environment, check=True)
    assert "--install-launcher" in done.stdout


def test_on_windows_a_batch_file_lies_on_the_desktop():
    path = install_launcher(Path("C:/50%"), "C:\\py\\python.exe", "win32")
    text = path.read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == 4
    assert '"C:\\py\\python.exe" "-m" "medgraft.cli" "app" "--home" "C:/50%%"' in text


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = install_launcher(tmp_path, "/old/python", "darwin")
    before = path.read_text("utf-8")
    monkeypatch.setattr("medgraft.app.launcher.flush", _fail)
    with pytest.raises(StorageError):
        install_launcher(tmp_path, "/new/python", "darwin")
    assert path.read_text("utf-8") == before
    assert [one.name for one in path.parent.iterdir()] == ["medgraft.command"]


def _fail(path: Path) -> None:
    raise OSError(28, "No space left on device")
