"""What is shipped says the same everywhere, and the Dockerfile does nothing that CI does not do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from medgraft.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    assert cited["license"] == PROJECT["license"]
    assert set(cited) >= {"cff-version", "message", "title", "authors"}


def test_every_step_of_the_dockerfile_is_run_without_docker() -> None:
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    check = (ROOT / "packaging" / "check.sh").read_text(encoding="utf-8")
    for step in re.findall(r"^RUN (\S+\.sh)", docker, re.MULTILINE):
        assert step in check
        assert (ROOT / step).stat().st_mode & 0o100, f"{step} cannot be run"
    own = [line for line in re.findall(r"^RUN (.+)$", docker, re.MULTILINE) if ".sh" not in line]
    assert own == ["mkdir /runs /cache && chown 65532:65532 /runs /cache"]
    assert "ENV PIP_CONSTRAINT=/src/constraints.txt\nRUN packaging/build.sh" in docker
    assert "PIP_CONSTRAINT" in check
    assert "USER 65532" in docker
    assert "--reuid=65532" in (ROOT / "packaging" / "confined.sh").read_text(encoding="utf-8")
    assert "packaging/confined.sh" in check


def test_the_lowest_versions_are_those_that_are_promised() -> None:
    """Each `>=` of a dependency is tested at just that version (`make test-lowest`)."""
    pins = dict(
        line.split("==")
        for line in (ROOT / "packaging" / "lowest.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.lstrip().startswith("#")
    )
    for wanted in PROJECT["dependencies"]:
        name, lowest = re.split(r">=|==", wanted)
        found = pins.get(name, "")
        assert f"{found}.".startswith(f"{lowest}."), f"{wanted}: resolve packaging/lowest.txt anew"


@pytest.mark.parametrize("form", ["bug.yml", "figure.yml"])
def test_issues_ask_for_the_doctor(form: str) -> None:
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / form
    body = yaml.safe_load(path.read_text(encoding="utf-8"))["body"]
    asked = {one["attributes"]["label"]: one.get("validations", {}) for one in body}
    assert asked["medgraft doctor --json"]["required"]
