from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import medgraft
from medgraft.data.ingest import LoadOptions

HEAVY = ("torch", "sklearn", "numpy", "openvino", "pandas", "scipy", "matplotlib", "cv2", "PIL")


def test_all_is_what_can_be_imported() -> None:
    assert len(set(medgraft.__all__)) == len(medgraft.__all__)
    for name in medgraft.__all__:
        assert getattr(medgraft, name) is not None
    assert set(medgraft.__all__) <= set(dir(medgraft))
    with pytest.raises(AttributeError, match="no attribute 'ladle'"):
        medgraft.ladle  # noqa: B018


def test_every_name_comes_from_where_type_checkers_look() -> None:
    """The imports that mypy sees and those that happen are written twice; they must agree."""
    tree = ast.parse(Path(medgraft.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("medgraft.")
        for alias in node.names
    }
    assert {*imported, "__version__"} == set(medgraft.__all__)
    for name, home in imported.items():
        assert getattr(medgraft, name) is getattr(sys.modules[str(home)], name)


def test_the_calls_are_functions_and_not_rooms() -> None:
    assert callable(medgraft.load)
    assert callable(medgraft.study)
    # `medgraft.audit` is a room, so that the call has another name, whatever was imported first.
    for name in ("audit_model", "bundle_model", "evaluate_model", "export_model"):
        assert callable(getattr(medgraft, name))


def _child(code: str) -> dict[str, object]:
    """What `code` leaves in `said`, from an interpreter of its own."""
    tail = f"\nimport json, sys, time\nheavy = [n for n in {HEAVY!r} if n in sys.modules]\n"
    tail += "print(json.dumps({'heavy': heavy, 'seconds': time.process_time()}))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_importing_medgraft_imports_nothing_heavy() -> None:
    assert _child("import medgraft; medgraft.__version__; medgraft.MedgraftError")["heavy"] == []
    assert "numpy" in _child("import medgraft; medgraft.ImageTable")["heavy"]  # type: ignore[operator]


def test_help_comes_at_once() -> None:
    found = _child(
        "import sys\n"
        "sys.argv = ['medgraft', '--help']\n"
        "from medgraft.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    assert found["heavy"] == []
    assert found["seconds"] < 2  # type: ignore[operator]  # of processor time: 0.3 s is usual


def test_load_takes_what_the_command_line_takes(tmp_path: Path) -> None:
    """Every option about reading, by the same name."""
    others = {"one_class", "finding_columns", "several"}  # of one class, and of several findings
    asked = set(inspect.signature(medgraft.load).parameters) - {"data"}
    assert asked == {field.name for field in dataclasses.fields(LoadOptions)} - others
    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / f"x{i}.png")
    rows = "".join(f"x{i};{i % 2};u\n" for i in range(4))
    table = tmp_path / "tables" / "t.psv"
    table.parent.mkdir()
    table.write_text(f"who;what;dx\n{rows}", encoding="utf-16")
    read = medgraft.load(
        table, images=tmp_path, path_column="who", label_column="what", encoding="utf-16",
        class_names={0: "well", 1: "ill"},
    )  # fmt: skip
    assert read.classes == ("ill", "well")
    assert read.metadata.keys() == {"dx"}
