"""A command that reads image files and prints a line of JSON for each."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraft.errors import ForeignModelError
from medgraft.foreign.image_files import as_png, check_files
from medgraft.foreign.json_answers import FORM, read_rows
from medgraft.foreign.options import ForeignOptions
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels

BYTES = 64 * 1024**2  # of the images of one run, which costs a start of the program
LEAST, MOST = 32, 1024  # images of one run
FILES = "{files}"  # in the command, where the paths go; else they come on its standard input


@dataclass(frozen=True, slots=True)
class ModelCommand:
    """The words of a command, as typed; run without a shell, once for up to a thousand images.

    It gets the paths of PNG files, one a line on its standard input or, where it holds `{files}`,
    as arguments; prints a line of JSON for each, in their order, and ends with exit code 0.
    """

    line: str


class CommandAnswerer:
    """Writes a batch of canvases into a folder of its own, which goes when they are answered.

    Raises
    ------
    ForeignModelError
        There is no such program, or the size of its images was not said.
    """

    kind: ForeignKind = "command"
    normalize = output = network = ""

    def __init__(
        self, command: ModelCommand, options: ForeignOptions, classes: Sequence[str]
    ) -> None:
        self.words = shlex.split(command.line)
        if not self.words or shutil.which(self.words[0]) is None:
            raise ForeignModelError(
                f"--model-command {command.line!r}: no program {(self.words or [''])[0]!r} is "
                "found; give its path"
            )
        self.name = f"the command {Path(self.words[0]).name}"
        self.side = options.side(f"{self.name} reads files")
        self.batch = min(MOST, max(LEAST, BYTES // (3 * self.side**2)))
        self.channels = check_files(options, self.name)
        self.classes, self.seconds = classes, options.timeout
        self.named, self.outputs = False, ""

    outputs: OutputKind | str

    def __call__(self, images: Pixels) -> Floats:
        with tempfile.TemporaryDirectory(prefix="medgraft-") as folder:
            paths = [str(Path(folder) / f"{number:06}.png") for number in range(len(images))]
            for path, image in zip(paths, images, strict=True):
                Path(path).write_bytes(as_png(image, self.channels))
            lines = self._run(paths)
        if len(lines) != len(paths):
            raise ForeignModelError(
                f"{self.name} printed {len(lines)} lines for {len(paths)} files; it should print "
                "one for each, in their order"
            )
        rows = read_rows([self._parsed(line) for line in lines], self.classes, self.name)
        self.named, self.outputs = rows.named, rows.outputs
        return rows.numbers

    def _run(self, paths: Sequence[str]) -> list[str]:
        """The lines that it prints, without empty ones."""
        words = list(self.words)
        if FILES in words:
            place = words.index(FILES)
            words[place : place + 1] = paths
        typed = "" if FILES in self.words else "".join(f"{path}\n" for path in paths)
        pipe = subprocess.PIPE
        process = subprocess.Popen(  # in a group of its own, so that what it starts ends with it
            words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            out, errors = process.communicate(typed.encode(), timeout=self.seconds)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            raise ForeignModelError(
                f"{self.name} had not answered for {len(paths)} files after {self.seconds:g} "
                "seconds and was stopped; pass --model-timeout if it takes longer"
            ) from error
        finally:
            if process.poll() is None:  # stopped by Ctrl-C, say
                _kill(process)
        if process.returncode:
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            raise ForeignModelError(
                f"{self.name} ended with exit code {process.returncode} for {len(paths)} files"
                f"{': ' + last[0][:200] if last else ''}; run it by hand on one image"
            )
        return [line for line in out.decode(errors="replace").splitlines() if line.strip()]

    def _parsed(self, line: str) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ForeignModelError(
                f"{self.name} printed a line that is no JSON: {line[:80]!r}; {FORM}, and write "
                "everything else to standard error"
            ) from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command and what it started."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.communicate()
