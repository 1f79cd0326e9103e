"""`medgraft app`: how soon it can be used, answers a dropped image, and what it adds to a study.

    python bench/page_speed.py [--patients 160] [--rounds 3]

On the demo's made radiographs, with the page open in Chromium throughout. A study from the page and
one from the terminal run in turn, each with a cache of its own, and are held to each other by the
processor time of all their processes, the page's server included: so a busy machine tells the
same. Of an image, Chromium's own clock counts from the drop to the answer on the page, beside
`medgraft predict` once it is warm. Needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Spread, save
from medgraft.bundle.predict import predict_files
from medgraft.data.phantom import write_phantoms
from medgraft.serve.model import ModelOptions, ServedModel

# What the page aims at: see docs/app.md.
INTERACTIVE, PREDICT, STUDY, HELP = 0.5, 2.0, 1.03, 0.3
DROPPED, HELPED, OPENED = 30, 7, 7
COMMAND = (sys.executable, "-m", "medgraft.cli")
DROP = """async ([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer: data, bubbles: true });
  const answered = () => [...document.querySelectorAll("#list li")].some((one) =>
    one.querySelector(".name").textContent === name
    && !["", "waits"].includes(one.querySelector(".answer").textContent));
  const began = performance.now();
  const seen = new Promise((done) => {
    const look = () => answered() && done(performance.now() - began);
    const changes = { childList: true, subtree: true, characterData: true };
    new MutationObserver(look).observe(document.querySelector("#main"), changes);
  });
  document.querySelector("#choose").dispatchEvent(event);
  return seen;
}"""


def children_seconds() -> float:
    """Processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Server:
    """`medgraft app` in a process of its own."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """Of its own, and of those that it has waited for (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(home: Path, cache: Path) -> Iterator[Server]:
    """The server of a home; what it starts keeps its cache there."""
    words = [*COMMAND, "app", "--no-browser", "--home", str(home)]
    env = {**os.environ, "MEDGRAFT_CACHE": str(cache)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield Server(found[0], process.pid)
    finally:
        process.terminate()
        process.wait()


def helped() -> tuple[Spread, Spread]:
    """Seconds of `medgraft --help`: by the clock, and of processor time."""
    walls, used = [], []
    for _ in range(HELPED + 1):
        before, began = children_seconds(), time.perf_counter()
        subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        used.append(children_seconds() - before)
    return Spread.of(walls[1:]), Spread.of(used[1:])


def interactive(browser: Any, address: str) -> Spread:
    """Seconds from opening the address to buttons that work, in a window without a cache."""
    found = []
    for _ in range(OPENED):
        context = browser.new_context()
        page = context.new_page()
        began = time.perf_counter()
        page.goto(address)
        page.get_by_role("button", name="Choose a folder or table").wait_for()
        found.append(time.perf_counter() - began)
        context.close()
    return Spread.of(found[1:])


def from_page(browser: Any, server: Server, data: Path) -> float:
    """Processor seconds of a study that is started on the page and looked at until it ends."""
    page = browser.new_page()
    page.goto(server.address)
    page.fill("#path", str(data))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Start the study").wait_for(timeout=300_000)
    # The check of the data is a command of its own, which a terminal's user types as well.
    page.get_by_role("link", name="All of it, with the pictures").wait_for(timeout=3_600_000)
    before = server.cpu_seconds()
    page.get_by_role("button", name="Start the study").click()
    page.get_by_role("link", name="Read the report").wait_for(timeout=7_200_000)
    used = server.cpu_seconds() - before
    page.close()
    return used


def from_terminal(data: Path, out: Path, cache: Path) -> float:
    """Processor seconds of the same study, typed, after the check that a page makes."""
    env = {**os.environ, "MEDGRAFT_CACHE": str(cache)}
    check = [*COMMAND, "profile", str(data), "--json"]
    subprocess.run(check, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = children_seconds()
    words = [*COMMAND, "study", str(data), "--out", str(out)]
    subprocess.run(words, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return children_seconds() - before


def dropped(page: Any, files: Sequence[Path], run: Path) -> tuple[Spread, Spread, Spread]:
    """Milliseconds of an image on the page and by `predict`, in turn, and the ratio of each two."""
    model = ServedModel.load(run, ModelOptions())
    shown, said = [], []
    for k, file in enumerate(files):
        content = base64.b64encode(file.read_bytes()).decode()
        shown.append(page.evaluate(DROP, [content, f"{k}-{file.name}"]))
        began = time.perf_counter()
        predict_files(model.fitted, [str(file)], model.unlike)
        said.append(1000 * (time.perf_counter() - began))
    shown, said = shown[5:], said[5:]  # until both are warm
    ratio = statistics.median(shown) / statistics.median(said)
    each = sorted(a / b for a, b in zip(shown, said, strict=True))
    return Spread.of(shown), Spread.of(said), Spread(ratio, each[0], each[-1])


def tried(browser: Any, server: Server) -> Any:
    """*Try it* of the run that was made, ready."""
    page = browser.new_page()
    page.goto(server.address)
    page.locator(".runs a").first.click()
    with page.context.expect_page() as found:
        page.get_by_role("link", name="Try it on new images").click()
    found.value.locator("#verdict-word:visible").wait_for(timeout=300_000)
    return found.value


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--patients", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3, help="studies of each kind")
    asked = parser.parse_args()
    load_average = os.getloadavg()[0]
    print(f"load average before {load_average:.1f}")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    by_clock, by_processor = helped()
    print(f"medgraft --help: {by_clock} s by the clock, {by_processor} s of processor time "
          f"(aim {HELP})", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        write_phantoms(folder / "images", n_patients=asked.patients, seed=0)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages, typed = [], []
        for k in range(asked.rounds):
            with served(folder / f"home{k}", folder / f"cache{k}") as server:
                if not k:
                    opened = interactive(browser, server.address)
                    print(f"interactive: {opened} s (aim {INTERACTIVE})", flush=True)
                pages.append(from_page(browser, server, folder / "images"))
                if not k:
                    run = folder / "home0" / "runs" / "images"
                    files = sorted((folder / "images").rglob("*.png"))[: DROPPED + 5]
                    shown, said, ratio = dropped(tried(browser, server), files, run)
                    print(f"a dropped image: {shown} ms, by predict {said} ms: "
                          f"ratio {ratio} (aim {PREDICT})", flush=True)  # fmt: skip
            typed.append(from_terminal(folder / "images", folder / f"run{k}", folder / f"typed{k}"))
            print(f"a study: {pages[-1]:.1f} s of processor time from the page, "
                  f"{typed[-1]:.1f} s typed", flush=True)  # fmt: skip
        browser.close()
    more = Spread.of([a / b for a, b in zip(pages, typed, strict=True)])
    print(f"a study from the page over one typed: {more} (aim {STUDY})")
    save("page_speed", {
        "help": by_clock, "help cpu": by_processor, "interactive": opened, "dropped": shown,
        "predict": said, "dropped ratio": ratio, "study page": Spread.of(pages),
        "study typed": Spread.of(typed), "study ratio": more, "patients": asked.patients,
        "load_average_before": load_average,
    })  # fmt: skip


if __name__ == "__main__":
    main()
