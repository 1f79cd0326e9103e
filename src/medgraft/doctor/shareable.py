"""An installation as a bug report may show it: no name of a person, a machine or a folder.

What is told holds none by its making (`findings.py`), but for the texts of errors, which may name
any file. So every text is gone through, and what could tell who or where is taken out.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgraft.doctor.findings import Installation
from medgraft.files import cache_folder, json_value

SHORTEST = 3  # letters of a name that is looked for: shorter ones stand in every text
# A path of either kind of system, which may hold spaces, and the file at its end if it is one.
PATH = re.compile(
    r"(?:\b[A-Za-z]:|\\|(?<!\w))(?:[/\\][^/\\:;,*?\"<>|'\n]+)*[/\\]"
    r"(?:(?P<file>[\w.-]+\.\w+)|[^/\\:;,*?\"<>|'\s]*)"
)
COMMON = {"root", "user", "admin", "localhost", "python", "torch", "linux", "medgraft"}


def shareable(found: Installation) -> dict[str, Any]:
    """All facts and problems as JSON values, nothing personal in them."""
    content = {"schema": 1, "works": found.works, **json_value(found)}
    return {key: _withheld(value) for key, value in content.items()}


def without_names(text: str) -> str:
    r"""Take paths, the user's and the machine's name out of a text.

    Examples
    --------
    >>> without_names("cannot open '/mnt/ward 7/jane/libfoo.so': no such file")
    "cannot open '…/libfoo.so': no such file"
    >>> without_names(r"C:\Users\jane\model.pth is cut short")
    '…/model.pth is cut short'
    >>> without_names("permission denied: '/home/jane', 8 images/s")
    "permission denied: '…/', 8 images/s"
    """
    for folder in _folders():
        text = text.replace(folder, "…")
    text = PATH.sub(lambda match: f"…/{match['file'] or ''}", text)
    for name in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text, flags=re.IGNORECASE)
    return text


def _withheld(value: Any) -> Any:
    """Every text below a value gone through; keys are ours."""
    if isinstance(value, dict):
        return {key: _withheld(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_withheld(inner) for inner in value]
    return without_names(value) if isinstance(value, str) else value


def _folders() -> list[str]:
    """Folders whose names may tell who works here, the longest first."""
    known = {str(Path.home()), str(Path.cwd()), str(cache_folder()), tempfile.gettempdir()}
    return sorted((one for one in known if len(one) > SHORTEST), key=len, reverse=True)


def _names() -> list[str]:
    """What the user and the machine are called."""
    machine = {platform.node(), socket.gethostname()}
    found = {Path.home().name, *machine, *(one.partition(".")[0] for one in machine)}
    found |= {os.environ.get(word, "") for word in ("USER", "LOGNAME", "USERNAME", "HOSTNAME")}
    with suppress(OSError, KeyError, ImportError):  # an account without a name
        found.add(getpass.getuser())
    return sorted(one for one in found if len(one) >= SHORTEST and one.lower() not in COMMON)
