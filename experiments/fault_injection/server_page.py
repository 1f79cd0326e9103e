"""docs/results/server-faults.md: of faults of servers, and of read-only homes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraft.files import write_text
from page import lines

HEAD = """# What faults do to a server

Written by `make results-server-faults`; do not edit. `medgraft serve` of a probe on 40 chest
X-rays, in a process of its own with its decode workers, is asked about those images by four
clients, each on a connection that it keeps, while something is done to it. Every answer that comes
whole is held to what `medgraft predict` says of the image (label, set, `unlike`; probabilities
within 1e-6).

**{failures} of {found} faults broke a promise.** {found} of {planned} are done.

"""
TEXTS = """
- server killed: `kill -9` up to two seconds after the first request, one of six before it answers.
  Wanted: what was not answered is a connection that ends; no worker goes on; no file is left or
  changed in the run, the cache, the home folder and that of temporary files; the next server, on
  the same port at once, answers right.
- worker killed: 20 times a server, any of its decode workers, at a random moment after there are
  all of them again and eight images were answered. Wanted: the image that it had is decoded by
  another one, so that nobody is refused.
- full disk: home, cache and temporary files lie on a disk without a free byte (a tmpfs);
  read-only disk: on one that is read-only. Wanted: right answers, or one line with fault and
  remedy.
- cache cleared: another process removes the cache's folder, ten times while images are answered.

## A home folder that cannot be written

`HOME`, `XDG_CACHE_HOME` and the default cache lie on a read-only file system, `--out` does not.
Wanted: the command's result, or one line that names fault and remedy, and nothing half-written.

"""
KINDS = ("server killed", "worker killed", "full disk", "read-only disk", "cache cleared")


def write_page(path: Path, found: Sequence[Mapping[str, Any]], planned: Mapping[str, int]) -> None:
    """Write the page of all outcomes so far; planned : cells by kind."""
    failed = [one for one in found if one["failure"]]
    text = HEAD.format(failures=len(failed), found=len(found), planned=sum(planned.values()))
    head = ("fault", "done", "answered", "wrong", "refused", "cut off", "promises broken")
    text += "\n".join(lines(head, [_row(kind, found, planned[kind]) for kind in KINDS]))
    text += TEXTS
    text += "\n".join(lines(("command", "read-only", "what came"), map(_told, _commands(found))))
    for one in _ended(found):
        text += f"\n- `{one['name']}` ended at its start: {one['text']}\n"
    if failed:
        text += "\n## Promises broken\n\n"
        text += "\n".join(f"- `{one['name']}`: {one['failure']}" for one in failed) + "\n"
    write_text(path, text)


def _row(kind: str, found: Sequence[Mapping[str, Any]], planned: int) -> list[str]:
    mine = [one for one in found if one["name"].startswith(f"{kind}/")]
    sums = [sum(one[name] for one in mine) for name in ("answered", "wrong", "refused", "cut")]
    broken = sum(bool(one["failure"]) for one in mine)
    return [kind, f"{len(mine)} of {planned}", *(f"{n:,}" for n in sums), str(broken)]


def _commands(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in found if one["name"].startswith("read-only/")]


def _ended(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    servers = [one for one in found if one["name"].startswith(("full disk/", "read-only disk/"))]
    return [one for one in servers if one["text"]]


def _told(one: Mapping[str, Any]) -> list[str]:
    _, command, where = one["name"].split("/", 2)
    return [command, where, one["text"]]
