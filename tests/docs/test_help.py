"""What `--help` shows is complete, in order, and true: its examples parse, and run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import DOCS, FENCE, PAGES, ROOT, blocks
from typer.main import get_command
from typer.testing import CliRunner

from medgraft import cli
from medgraft.cli.help import COMMANDS, PANELS

EXAMPLES = {name: some for names in COMMANDS.values() for name, some in names.items()}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]+")
# Of other programs, which the pages tell to type, too.
OTHERS = {
    "--build-arg", "--cpus", "--flops", "--form", "--index-url", "--measure", "--network",
    "--read-only", "--rm", "--tmpfs",
}  # fmt: skip


def walk(group: Any = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its full name, `runs list` among them; no groups."""
    for name, command in (group or get_command(cli.app)).commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{before}{name} ")
        else:
            yield before + name, command


@pytest.mark.parametrize(("name", "command"), list(walk()), ids=[name for name, _ in walk()])
def test_every_command_says_what_it_is_for_and_how_it_is_typed(name: str, command: Any) -> None:
    first = command.help.split("\n\n")[0].replace("\n", " ")
    assert first.endswith(".")
    assert len(first) <= 110, "a sentence that a glance takes in"
    examples = command.epilog.split("\n\n")[1:]
    assert examples == list(EXAMPLES[name])
    assert examples
    for example in examples:
        assert len(example) < 80, "on one line of a terminal"
        program, rest = get_command(cli.app), shlex.split(example)[1:]
        context, called = typer.Context(program), ""
        while hasattr(program, "commands"):
            word, program, rest = program.resolve_command(context, rest)
            called += f" {word}"
        assert called.strip() == name
        program.make_context(name, rest, parent=context)
    for param in command.params:
        if param.param_type_name == "option":
            assert param.help, f"{name} {param.opts[0]} has no help"
            assert param.metavar, f"{name} {param.opts[0]} says no more than <str>"


def test_the_tables_name_commands_and_options_that_are_there() -> None:
    commands = dict(walk())
    groups = {name.split()[0] for name in commands if " " in name}
    assert set(EXAMPLES) == set(commands) | groups
    there = {flag for command in commands.values() for one in command.params for flag in one.opts}
    named = [f"--{option}" for options in PANELS.values() for option in options]
    assert [one for one in named if one not in there] == []
    assert len(named) == len(set(named))


def test_help_shows_what_to_install_with_its_brackets_and_advanced_options_last() -> None:
    shown = CliRunner().invoke(cli.app, ["study", "--help"], env={"COLUMNS": "300"}).output
    assert "'medgraft[mlflow]'" in shown
    headings = re.findall(r"^╭─ ([\w ]+?) ─", shown, re.MULTILINE)
    assert headings[:2] == ["Arguments", "Options"]
    assert headings[2:] == [one for one in PANELS if one in headings]
    assert headings[-1] == "Advanced"


def test_every_option_that_the_pages_mention_is_there() -> None:
    there, commands = {"--help", "--debug", "--version", *OTHERS}, dict(walk())
    for command in commands.values():
        there |= {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    gone = {}
    for page in PAGES:
        if page.is_relative_to(DOCS / "decisions") or page.is_relative_to(DOCS / "results"):
            continue  # they tell what was, on the day that they were written
        chunks = re.findall(r"`[^`]+`", FENCE.sub("", page.read_text(encoding="utf-8")))
        code = " ".join([*chunks, *blocks(page)])
        unknown = [flag for flag in FLAG.findall(code) if flag not in there]
        for chunk in chunks:  # `medgraft views … --presets`: of that command
            words = chunk.strip("`").split()
            named = commands.get(" ".join(words[1:3])) or commands.get("".join(words[1:2]))
            if words[:1] == ["medgraft"] and named:
                own = {flag for one in named.params for flag in (*one.opts, *one.secondary_opts)}
                unknown += [f"{chunk}: {flag}" for flag in FLAG.findall(chunk) if flag not in own]
        if unknown:
            gone[page.relative_to(ROOT).as_posix()] = unknown
    assert gone == {}


NOT_TYPED = {"app", "demo", "serve", "runs log", "weights add", "weights remove"}
"""Of these two wait for others to ask, one takes minutes, three need what is not here."""


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(here: Path, type_in: Any) -> None:
    for name, examples in EXAMPLES.items():
        for example in examples if name not in NOT_TYPED else ():
            type_in(shlex.split(example)[1:])
