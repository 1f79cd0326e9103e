"""Commands that answer as they should, and all the ways in which they do not."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.foreign.command import CommandAnswerer, ModelCommand
from medgraft.foreign.options import ForeignOptions

READS = """
import json, sys
from PIL import Image, ImageStat
paths = sys.argv[1:] or sys.stdin.read().splitlines()
for path in paths:
    image = Image.open(path)
    row = ImageStat.Stat(image).mean
"""


def some_images() -> Any:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def asked(
    folder: Path, code: str, words: str = "", classes: tuple[str, ...] = ("a", "b", "c"), **how: Any
) -> CommandAnswerer:
    (folder / "m.py").write_text(code)
    line = f"'{sys.executable}' '{folder / 'm.py'}' {words}"
    return CommandAnswerer(ModelCommand(line), ForeignOptions(**{"input_size": 16} | how), classes)


@pytest.mark.parametrize(
    ("words", "printed", "named", "outputs"),
    [
        ("", "row", False, ""),
        ("{files}", "{'file': path, 'logits': row}", False, "logits"),
        ("", "{'probabilities': dict(c=row[2], a=row[0], b=row[1])}", True, "probabilities"),
    ],
)
def test_each_image_gets_the_numbers_that_were_printed_for_it(
    words: str, printed: str, named: bool, outputs: str, tmp_path: Path
) -> None:
    command = asked(tmp_path, f"{READS}    print(json.dumps({printed}))\n", words)
    images = some_images()
    np.testing.assert_allclose(command(images), images.mean(axis=(1, 2)))  # in RGB
    assert (command.named, command.outputs) == (named, outputs)


def test_one_number_an_image_and_grey_files(tmp_path: Path) -> None:
    code, images = f"{READS}    print(row[0] if image.mode == 'L' else -1)\n", some_images()
    grey = images @ np.array([0.299, 0.587, 0.114])
    found = asked(tmp_path, code, channels="grey")(images)
    np.testing.assert_allclose(found[:, 0], grey.mean(axis=(1, 2)), atol=0.1)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import sys; sys.exit('no GPU here')", "exit code 1 for 3 files: no GPU here"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("print('Loading'); [print('[1, 2, 3]') for _ in range(2)]", "is no JSON: 'Loading'"),
        ("print('[1, 2, 3]')", "printed 1 lines for 3 files"),
        ("", "printed 0 lines for 3 files"),
        ("for _ in range(3): print('[1, \"x\", 3]')", "answered x where numbers"),
        ("for _ in range(3): print('[true, 2, 3]')", "answered True where numbers"),
        ('for _ in range(3): print(\'{"a": 1, "z": 2}\')', "answers for a, z, and the classes"),
        ('for _ in range(3): print(\'{"error": "too dark"}\')', "an image: too dark"),
        ("for n in range(3): print([1] * (n + 1))", "1 numbers for one image and 3"),
        ("for _ in range(3): print('[]')", "answered nothing"),
        ("for _ in range(3): print('[' * 100000)", "is no JSON"),
    ],
)
def test_what_is_no_answer_says_what_came(code: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ForeignModelError, match=text.replace("[", r"\[")):
        asked(tmp_path, code)(some_images())


def test_what_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    late = tmp_path / "late"
    code = f"""
import subprocess, sys, time
later = "import time; time.sleep(1.5); open({str(late)!r}, 'w')"
subprocess.Popen([sys.executable, "-c", later])
time.sleep({{}})
"""
    for seconds in ("60", "0"):  # itself, or what it leaves behind with its output open
        began = time.monotonic()
        with pytest.raises(ForeignModelError, match=r"after 0\.5 seconds.*--model-timeout"):
            asked(tmp_path, code.format(seconds), timeout=0.5)(some_images())
        assert time.monotonic() - began < 1.4
    time.sleep(1.6)
    assert not late.exists()


def test_no_image_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for code in (f"{READS}    print(row)", "raise SystemExit(2)"):
        try:
            asked(tmp_path, code)(some_images())
        except ForeignModelError:
            assert code != f"{READS}    print(row)"
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "options", "kind", "text"),
    [
        ("", {}, ForeignModelError, "no program ''"),
        ("no-such-program --x", {}, ForeignModelError, "no program 'no-such-program'"),
        (sys.executable, {"input_size": 0}, AmbiguousModelError, "pass --input-size"),
        (sys.executable, {"normalize": "0..1"}, ForeignModelError, "gets PNG files"),
        (sys.executable, {"channels": "bgr"}, ForeignModelError, "gets PNG files"),
    ],
)
def test_what_cannot_be_run(
    line: str, options: dict[str, Any], kind: type[ForeignModelError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        CommandAnswerer(ModelCommand(line), ForeignOptions(**{"input_size": 16} | options), ("a",))
