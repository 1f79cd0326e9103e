"""The documentation is true: commands parse, links lead somewhere, and what is to be typed runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import DOCS, PAGES, ROOT, RUN, blocks, commands, links
from typer.main import get_command

from medgraft import cli

SHORT = {page: page.relative_to(ROOT).as_posix() for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=SHORT.get)
def test_every_command_is_one_that_the_program_takes(page: Path) -> None:
    program = get_command(cli.app)
    for words in commands(page):
        context = typer.Context(program)
        group, name, rest = program, "", words
        while hasattr(group, "commands"):  # `runs list` is a command in a group
            name, group, rest = group.resolve_command(context, rest)
        group.make_context(name, rest, parent=context)  # raises what a user would see


@pytest.mark.parametrize("page", PAGES, ids=SHORT.get)
def test_every_link_leads_to_a_file(page: Path) -> None:
    missing = [target for target in links(page) if not (page.parent / target).exists()]
    assert missing == []


def test_the_menu_names_every_page_and_none_that_is_not_there() -> None:
    import yaml

    def named(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [one for part in parts for one in named(part)]  # type: ignore[union-attr]

    menu = named(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert [one for one in menu if not (DOCS / one).is_file()] == []
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {one for one in pages if not one.startswith("decisions/0")} <= set(menu)
    assert len(menu) == len(set(menu))


# --------------------------------------------------------------------------- typed as it stands


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=SHORT.get)
def test_what_a_page_tells_to_type_runs(page: Path, here: Path, type_in: Any) -> None:
    for words in commands(page, shown_to_run=True):
        type_in(words)
    names: dict[str, object] = {}
    for code in blocks(page, "python"):
        exec(compile(code, SHORT[page], "exec"), names)  # the page's own example


def test_the_architecture_names_what_is_there() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+)\.py: (\w+)`", text)
    assert len(named) > 30
    for path, name in named:
        module = importlib.import_module(f"medgraft.{path.replace('/', '.')}")
        assert hasattr(module, name), f"{path}.py: {name}"


def test_the_api_page_names_what_is_there() -> None:
    named = re.findall(r"^::: (\S+)\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
    assert named
    for module, name in named:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
