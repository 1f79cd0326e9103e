"""`make screenshots`: docs/pictures/report.png and start-*.png, of a real run of the demo.

Chromium takes them (Debian: apt install chromium; or CHROMIUM names it). What the terminal shows
is what the command printed, coloured as it was.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from sample_report import demo

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS = 96
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1b1f24; color: #e6e6e6; padding: 18px 24px;
font: 15px/1.35 "DejaVu Sans Mono", monospace; }} pre {{ margin: 0; font: inherit }}</style>
<pre>{code}</pre>"""


def chromium() -> str:
    """Where Chromium is.

    Raises
    ------
    FileNotFoundError
        Nowhere.
    """
    named = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    for name in named:
        if name and (found := shutil.which(name)):
            return found
    raise FileNotFoundError("no Chromium here: apt install chromium, or set CHROMIUM to one")


def photograph(address: str, target: Path, width: int, height: int, scale: float = 1) -> None:
    """The first `height` pixels of a page, as PNG of 256 colours."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", f"--force-device-scale-factor={scale}",
             f"--window-size={width},{height}", f"--screenshot={shot}", address],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        with Image.open(shot) as image:
            small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            small.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size:,} bytes")


def section(report: Path, name: str, target: Path, height: int) -> None:
    """One section of a report alone."""
    hidden = f"main > :not([aria-labelledby={name}]), body > :not(main) {{ display: none }}"
    text = report.read_text(encoding="utf-8").replace("</head>", f"<style>{hidden}</style></head>")
    page = report.parent / f"{name}.html"
    page.write_text(text, encoding="utf-8")
    photograph(page.as_uri(), target, 1000, height)


def terminal(command: list[str], folder: Path, target: Path) -> None:
    """What a command prints, below the line that was typed; * is for files, as in a shell."""
    words = [name for word in command for name in _files(word, folder)]
    env = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "medgraft.cli", *words],
        cwd=folder, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text(f"$ medgraft {' '.join(command)}", style="bold"))
    console.print(Text.from_ansi(done.stdout))
    lines = console.export_text(clear=False).count("\n")
    text = console.export_html(theme=MONOKAI, code_format=PAGE, inline_styles=True)
    page = folder / "terminal.html"
    page.write_text(text, encoding="utf-8")
    photograph(page.as_uri(), target, 940, round(20.25 * lines) + 36)


def _files(word: str, folder: Path) -> list[str]:
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(word))
    return found if "*" in word else [word]


def main() -> None:
    """Take all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = demo(folder / "medgraft-demo")
        photograph(report.as_uri(), PICTURES / "report.png", 1100, 1490)
        section(report, "tried", PICTURES / "start-tried.png", 710)
        terminal(["profile", "medgraft-demo/images"], folder, PICTURES / "start-profile.png")
        images = "medgraft-demo/images/lesion/patient000*.png"
        terminal(["predict", "medgraft-demo/run", images], folder, PICTURES / "start-predict.png")


if __name__ == "__main__":
    main()
