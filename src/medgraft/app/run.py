"""The page's server from its start to its end: one for a home, on this machine alone."""

from __future__ import annotations

import json
import logging
import os
import platform
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from medgraft.app.door import Guard, Key
from medgraft.app.home import Home
from medgraft.app.readings import Read
from medgraft.app.server import App
from medgraft.files import explained
from medgraft.serve.listening import LOOPBACK, Server, bind, leave_signals_to_uvicorn
from medgraft.studies.run_lock import process_lives, this_process

OPEN_FILE = "open-medgraft.html"  # no dot before it: browsers in a sandbox see no hidden files
DRAIN_SECONDS = 3


def run(
    home: Home,
    port: int,
    read: Read,
    program: tuple[str, ...],
    started: Callable[[str, Path], None],
) -> None:
    """Serve the page until somebody ends it; studies that it started go on.

    port : 0 for any that is free. started : told of the address, and of a file that only this user
    can read and that leads there. So the token is in no other process's command line.

    Raises
    ------
    DataError
        The port cannot be had.
    StorageError
        The home cannot be written.
    """
    home.make()
    file = home.folder / OPEN_FILE
    if address := _running(file):
        started(address, file)
        return
    with bind((LOOPBACK, port)) as listening:
        home.tidy()
        key = Key(listening.getsockname()[1])
        app = App(home, read, program, lambda: setattr(server, "should_exit", True))
        config = uvicorn.Config(
            Guard(app.application(), key), loop="asyncio", http="h11", ws="none", lifespan="on",
            log_config=None, access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )  # fmt: skip
        server = Server(config, lambda: started(key.address, file))
        leave_signals_to_uvicorn()
        logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler())
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        _write_private(file, _leading_to(key.address))
        try:
            server.run(sockets=[listening])
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def show(file: Path) -> bool:
    """Open the page in the user's browser; whether there is one."""
    return webbrowser.open(file.absolute().as_uri())


# --------------------------------------------------------------------------- the file that opens it


def _leading_to(address: str) -> str:
    facts = json.dumps({"address": address, **this_process()})
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>medgraft</title>\n'
        f"<!--{facts}-->\n"
        f'<meta http-equiv="refresh" content="0; url={address}">\n'
        f'<p><a href="{address}">Open medgraft</a></p></html>\n'
    )


def _running(file: Path) -> str:
    """The address of a server of this home that lives; '' where there is none."""
    try:
        text = file.read_text(encoding="utf-8")
        facts: dict[str, Any] = json.loads(text.partition("<!--")[2].partition("-->")[0])
        here = facts["host"] == platform.node()
        return str(facts["address"]) if here and process_lives(facts) else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, not even while it is written."""
    with explained(path):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
