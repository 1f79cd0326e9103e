"""A thing to double-click that starts the page: written whole or not at all, and named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from medgraft.files import explained, flush

START = ("-m", "medgraft.cli", "app")


def install_launcher(home: Path, python: str = sys.executable, system: str = sys.platform) -> Path:
    """Write the launcher of this system, and say where it lies.

    On Linux an entry of the menu (`.desktop`), which has no terminal and ends by Quit on the page;
    on macOS and Windows a file on the desktop that opens a terminal window, which ends it when
    closed.

    Parameters
    ----------
    home : where the page keeps what it makes.

    Raises
    ------
    StorageError
        It cannot be written; nothing is then left of it.
    """
    words = (python, *START, "--home", str(home))
    path, text = {"win32": _bat, "darwin": _command}.get(system, _desktop)(words)
    mode = 0o644 if system == "win32" else 0o755
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", newline="")
            temporary.chmod(mode)
            flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _desktop(words: tuple[str, ...]) -> tuple[Path, str]:
    """As the Desktop Entry Specification has it: in quotes, with %, quotes, $ and ` escaped.

    >>> print(_desktop(("/a b/python", "--home", "/50%"))[1].splitlines()[4])
    Exec="/a b/python" "--home" "/50%%"
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    quoted = []
    for word in words:
        for letter in '\\"`$':
            word = word.replace(letter, f"\\{letter}")
        # A string value's own escape comes on top of that of the argument.
        quoted.append(f'"{word}"'.replace("\\", "\\\\").replace("%", "%%"))
    lines = [
        "[Desktop Entry]", "Type=Application", "Name=medgraft",
        "Comment=Choose images, study them, try the model; on this machine alone",
        f"Exec={' '.join(quoted)}", "Terminal=false", "Categories=Science;MedicalSoftware;", "",
    ]  # fmt: skip
    return data / "applications" / "medgraft.desktop", "\n".join(lines)


def _command(words: tuple[str, ...]) -> tuple[Path, str]:
    import shlex

    return Path.home() / "Desktop" / "medgraft.command", f"#!/bin/sh\nexec {shlex.join(words)}\n"


def _bat(words: tuple[str, ...]) -> tuple[Path, str]:
    """Percent signs are doubled, for a batch file would take them for variables.

    >>> print(_bat(("C:/a b/python.exe", "--home", "C:/50%"))[1].splitlines()[2])
    "C:/a b/python.exe" "--home" "C:/50%%"
    """
    line = " ".join(f'"{word}"' for word in words).replace("%", "%%")
    return (
        Path.home() / "Desktop" / "medgraft.bat",
        f"@echo off\r\nchcp 65001 >nul\r\n{line}\r\nif errorlevel 1 pause\r\n",
    )
