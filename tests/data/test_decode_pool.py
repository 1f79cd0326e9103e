"""Where images are decoded: the same pixels everywhere, and no file that outlives its limits.

Guards are seen to work by planted decoders: a worker's program is exchanged for one whose `decode`
hangs, grows or crashes.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_files import data_set, written
from medgraft.data.pixels.decode import Decoded, decode
from medgraft.data.pool import worker_process
from medgraft.data.pool.pool import DecodePool
from medgraft.data.pool.processes import STARTS, DecodeProcesses
from medgraft.data.pool.worker import Answer, Job
from medgraft.data.preprocess import CanvasRecipe, Clahe, make_canvas
from medgraft.errors import DataError, DecodeError, TooManyPixelsError, UnknownKindError
from medgraft.types import PLAIN, Canvas, PixelRule, Skipped, Source

LINUX = sys.platform == "linux"
RECIPE = CanvasRecipe((20, 30), "pad", (Clahe(2.0, 2),))

PLANTED = """
import json, os, sys, time
sys.path[:] = json.loads(sys.argv[1])
import numpy as np
from medgraft.data.pool import worker as decode_worker
from medgraft.data.pixels.formats import Decoded

def hang():
    while True:
        pass

def grow():
    held = []
    while True:
        held.append(np.empty(10_000_000, np.uint8))

def wait(): time.sleep(1000)

def crash():
    import ctypes
    ctypes.string_at(0)

def leave(): os._exit(3)

def suicide(): os.kill(os.getpid(), 9)

def lie():
    os.write(stdout, b"x" * 1000)
    time.sleep(1000)

left = []

def planted(source, at_least=None, rule=None):
    data = open(source.path, "rb").read() if not isinstance(source, bytes) else source
    word = data[8:].decode()
    if word.startswith("after"):  # the first that a worker gets is all right
        left.append(word)
        word = word[6:] if len(left) > 1 else "fine"
    getattr(sys.modules["__main__"], word, int)()
    return Decoded(np.full((4, 4), 7, np.uint8), (4, 4))

stdout = os.dup(1)
decode_worker.decode = planted
decode_worker.SECONDS = 2
decode_worker.main()
"""


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folder_of_all_kinds(folder: Path) -> list[Path]:
    """Good files of many kinds, and bad ones."""
    files = {
        "a.jpg": encoded(picture(60, 80, 3), "JPEG"),
        "b.png": encoded(picture(60, 80), "PNG"),
        "c.tif": encoded(picture(60, 80, 3), "TIFF"),
        "d.tif": encoded(picture(60, 80).astype(np.uint16) * 200, "TIFF"),
        "e.bmp": encoded(picture(60, 80, 3), "BMP"),
        "f.webp": encoded(picture(60, 80, 3), "WEBP", lossless=True),
        "g.gif": encoded(picture(60, 80), "GIF"),
        "h.pgm": encoded(picture(60, 80), "PPM"),
        "i.jpg": encoded(picture(60, 80, 3), "JPEG")[:-400],
        "j.tif": encoded(picture(60, 80, 3), "TIFF")[:-400],
        "k.png": b"no picture",
        "l.png": b"",
        "\udcff \n.tif": encoded(picture(20, 20), "TIFF"),
    }
    if not LINUX:
        files.popitem()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [*(folder / name for name in files), folder / "missing.tif", folder]


def alone(source: Source | bytes) -> Canvas | str:
    try:
        return make_canvas("", decode(source, RECIPE.shape), RECIPE)
    except DecodeError as error:
        return str(error)


def outcome(how: Callable[[Source], Decoded], source: Source) -> Decoded | str:
    try:
        return how(source)
    except DecodeError as error:
        return str(error)


def same(found: Canvas | Skipped, expected: Canvas | str) -> bool:
    if isinstance(found, Skipped):
        return found.reason == expected
    assert isinstance(expected, Canvas)
    assert found.pixels.flags.writeable
    assert (found.geometry, found.remark) == (expected.geometry, expected.remark)
    return bool((found.pixels == expected.pixels).all())


def processes() -> set[int]:
    """Ids of this process's children that are alive."""
    own = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = [
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return {int(pid) for pid in (*own, *threads)}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the workers that are started, as they are."""
    found: list[int] = []
    popen = subprocess.Popen

    def noted(*args: object, **kwargs: object) -> subprocess.Popen[bytes]:
        process = popen(*args, **kwargs)  # type: ignore[call-overload]
        found.append(process.pid)
        return process

    monkeypatch.setattr(worker_process.subprocess, "Popen", noted)
    return found


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "PROGRAM", PLANTED)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


# ------------------------------------------------------------------------ the same everywhere


@pytest.mark.parametrize("safe", [False, True])
def test_workers_give_what_one_image_at_a_time_gives(safe: bool, tmp_path: Path) -> None:
    """In order, pixel for pixel, word for word; of files and of bytes."""
    files = folder_of_all_kinds(tmp_path)
    sources: list[Source | bytes] = [Source(str(file)) for file in files]
    sources += [file.read_bytes() for file in files if file.is_file()]
    ids = [str(k) for k in range(4 * len(sources))]
    with DecodePool(2, safe=safe) as pool:
        found = list(pool.canvases(ids, sources * 4, RECIPE))
    expected = [alone(source) for source in sources]
    assert [one.source if isinstance(one, Skipped) else one.id for one in found] == ids
    for k, one in enumerate(found):
        assert same(one, expected[k % len(sources)]), (k, one)


@pytest.mark.parametrize("safe", [False, True])
def test_one_image_with_all_its_pixels(safe: bool, tmp_path: Path) -> None:
    with DecodePool(1, safe=safe) as pool:
        for file in folder_of_all_kinds(tmp_path):
            source = Source(str(file))
            expected, image = outcome(decode, source), outcome(pool.decode, source)
            if isinstance(expected, str) or isinstance(image, str):
                assert image == expected
                continue
            np.testing.assert_array_equal(image.pixels, expected.pixels)
            assert image.remark == expected.remark
            assert image.source_size == expected.source_size
            assert image.orientation == expected.orientation


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "900", "WindowWidth": "500"}])
def test_one_dicom_image_is_its_picture_by_the_rule(window: dict[str, str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (12, 20)).astype(np.uint16)
    file = tmp_path / "a.dcm"
    file.write_bytes(written(data_set(pixels, 12, **window)))
    with DecodePool(1) as pool:
        for rule in (PixelRule(0, 4095), PixelRule(window=(1000, 2000))):
            source = Source(str(file), rule=rule)
            image = pool.decode(source)
            assert image.pixels.shape == (12, 20)
            np.testing.assert_array_equal(image.pixels, decode(source).pixels)


def test_one_canvas_while_the_caller_waits(tmp_path: Path) -> None:
    """The same of bytes, in a thread or a worker; refusals keep their kind on the way."""
    size = b"\0\1\0\0"  # 65536 pixels
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + size + size + b"\x08\0\0\0\0"
    data = [path.read_bytes() for path in folder_of_all_kinds(tmp_path) if path.is_file()]
    kinds = {b"no picture": UnknownKindError, huge: TooManyPixelsError}
    for safe in (False, True):
        with DecodePool(1, safe=safe) as pool:
            for one in (*data, huge):
                expected = alone(one)
                if isinstance(expected, Canvas):
                    assert same(pool.canvas(one, RECIPE, PLAIN), expected)
                    continue
                with pytest.raises(DecodeError) as refused:
                    pool.canvas(one, RECIPE, PLAIN)
                assert str(refused.value) == expected
                assert refused.type is kinds.get(one, DecodeError)


def test_frames_and_scales(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(9, 9 + k)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "b.jpg").write_bytes(encoded(picture(400, 400), "JPEG"))
    with DecodePool(1, safe=True) as pool:
        assert pool.decode(Source(str(tmp_path / "a.tif"), 2)).pixels.shape == (9, 11)
        assert pool.decode(Source(str(tmp_path / "b.jpg")), (90, 90)).pixels.shape == (100, 100)
        with pytest.raises(DecodeError, match="no frame 3"):
            pool.decode(Source(str(tmp_path / "a.tif"), 3))


def test_a_folder_of_jpeg_and_png_starts_no_worker(started: list[int]) -> None:
    sources = [encoded(picture(60, 80), kind) for kind in ("JPEG", "PNG")] * 20
    sources += [b"", sources[0][:300], sources[1][:300]]
    with DecodePool(2) as pool:
        list(pool.canvases(map(str, range(len(sources))), sources, RECIPE))
        assert not started
        list(pool.canvases("ab", [encoded(picture(9, 9), "BMP")] * 2, RECIPE))
        assert len(started) == 1


SCAN = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
UNUSUAL: dict[str, Callable[[], bytes]] = {
    "CMYK": lambda: encoded(Image.new("CMYK", (80, 60), (9, 99, 0, 5)), "JPEG"),
    "many pixels": lambda: encoded(np.zeros((4000, 4001), np.uint8), "JPEG"),
    "many pixels of a PNG": lambda: encoded(np.zeros((5000, 4300, 3), np.uint8), "PNG"),
    "many bytes": lambda: encoded(picture(60, 80), "JPEG") + bytes(33 << 20),
    "many scans": lambda: encoded(picture(2000, 2000), "JPEG")[:-2] + 30 * SCAN + b"\xff\xd9",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_jpeg_or_png_that_may_cost_much_goes_to_a_worker(
    name: str, started: list[int], tmp_path: Path
) -> None:
    data = UNUSUAL[name]()
    (tmp_path / "a").write_bytes(data)
    with DecodePool(1) as pool:
        found = list(pool.canvases("ab", [data, Source(str(tmp_path / "a"))], RECIPE))
    assert len(started) == 1
    assert all(same(one, alone(data)) for one in found)


# ------------------------------------------------------------------------ limits


def reasons(words: list[str]) -> list[str]:
    """What comes of files that do so in a worker; '' for a picture."""
    with DecodePool(1, safe=True) as pool:
        found = list(pool.canvases(words, [f"planted {w}".encode() for w in words], RECIPE))
        assert [one.source if isinstance(one, Skipped) else one.id for one in found] == words
    return [one.reason if isinstance(one, Skipped) else "" for one in found]


@pytest.mark.usefixtures("planted")
@pytest.mark.skipif(not LINUX, reason="other systems lack some of these limits")
def test_what_hangs_grows_or_crashes_is_named_and_the_others_are_read(
    started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "CLOCK_SECONDS", 60.0)  # what hangs is ended before
    found = reasons(["fine", "hang", "fine", "grow", "crash", "fine", "leave", "fine"])
    assert (
        found[1] == "decoding it takes more than 5 seconds; save it again as PNG or JPEG, or "
        "leave it out"
    )
    assert found[3] == "decoding it takes more than 1,000 MB of memory; store a smaller image"
    assert found[4].startswith("it makes the decoder crash; save it again")
    assert found[6] == found[4]
    assert [found[k] for k in (0, 2, 5, 7)] == [""] * 4
    assert not any(is_alive(pid) for pid in started)


@pytest.mark.usefixtures("planted")
def test_a_decoder_that_waits_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "CLOCK_SECONDS", 1.0)
    assert [bool(reason) for reason in reasons(["fine", "wait", "fine"])] == [False, True, False]


@pytest.mark.usefixtures("planted")
def test_no_file_suffers_from_those_before_it(started: list[int]) -> None:
    """One that crashes only in a worker that was used before is read in one of its own."""
    assert reasons(["after crash", "after crash", "after leave", "after grow"]) == [""] * 4
    assert len(started) == 4


@pytest.mark.usefixtures("planted")
def test_an_image_whose_worker_somebody_kills_is_decoded_by_another(started: list[int]) -> None:
    """While it starts, while it waits, and while it decodes; one that ends three is refused."""
    with DecodePool(1, safe=True) as pool:
        worker = pool._processes._take(fresh=False)
        assert worker is not None
        os.kill(started[0], signal.SIGKILL)
        pool._processes._give_back(worker)
        assert pool.canvas(b"fine", RECIPE, PLAIN).pixels.shape[:2] == RECIPE.shape
        os.kill(started[1], signal.SIGKILL)
        assert pool.canvas(b"fine", RECIPE, PLAIN).pixels.shape[:2] == RECIPE.shape
        assert len(started) == 3
        with pytest.raises(DecodeError, match="memory"):
            pool.canvas(b"12345678suicide", RECIPE, PLAIN)
        assert len(started) == 5


@pytest.mark.usefixtures("planted")
def test_a_worker_that_is_killed_each_time_it_starts_is_said(
    started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "PROGRAM", "import os; os.kill(os.getpid(), 9)")
    with DecodePool(1, safe=True) as pool, pytest.raises(DataError, match="cannot be started"):
        pool.canvas(b"fine", RECIPE, PLAIN)
    assert len(started) == STARTS


@pytest.mark.usefixtures("planted")
def test_an_answer_of_a_wrong_form_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "CLOCK_SECONDS", 5.0)
    [reason, fine] = reasons(["lie", "fine"])
    assert (reason[:28], fine) == ("it makes the decoder crash; ", "")


def test_a_worker_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "PROGRAM", "raise SystemExit(1)")
    with DecodePool(1, safe=True) as pool, pytest.raises(DataError, match="cannot be started"):
        list(pool.canvases(["a"], [b"x"], RECIPE))
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    with DecodePool(1, safe=True) as pool, pytest.raises(DataError, match="cannot be started"):
        list(pool.canvases(["a"], [b"x"], RECIPE))


# ------------------------------------------------------------------------ how it ends


@pytest.mark.skipif(not LINUX, reason="reads /proc")
class Ready:
    """A worker that answers at once."""

    ready = True

    def work(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        yield from (Answer("refused", "no") for _ in jobs)

    def close(self) -> None:
        pass


def test_an_iterator_may_end_while_its_own_thread_holds_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the garbage collector ends one that was left, in a thread that takes a worker."""
    monkeypatch.setattr("medgraft.data.pool.processes.WorkerProcess", Ready)
    workers = DecodeProcesses()
    job = Job(Source("x.png"))
    left = workers.answers([job, job])
    assert isinstance(left, Generator)
    next(left)

    def collect() -> None:
        with workers._lock:
            left.close()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(workers._idle) == 1
    workers.close()


def test_nothing_is_left_of_a_pool(started: list[int]) -> None:
    running, open_files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    with DecodePool(2, safe=True) as pool:
        stream = pool.canvases(map(str, range(99)), [encoded(picture(9, 9), "PNG")] * 99, RECIPE)
        next(stream)
        stream.close()
        assert len(list(pool.canvases("abc", [encoded(picture(9, 9), "PNG")] * 3, RECIPE))) == 3
    assert started
    assert not any(is_alive(pid) for pid in started)
    assert threading.active_count() <= running
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files  # others' may go meanwhile


@pytest.mark.usefixtures("planted")
def test_a_pool_that_is_left_does_not_wait_for_its_workers(started: list[int]) -> None:
    def interrupted() -> None:
        words = [b"planted fine"] * 8 + [b"planted wait"] * 91
        with DecodePool(2, safe=True) as pool:
            for _ in pool.canvases(map(str, range(99)), words, RECIPE):
                raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.perf_counter() - start < 10
    assert not any(is_alive(pid) for pid in started)


PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from medgraft.data.pool import worker_process
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
worker_process.PROGRAM = sys.argv[1]
popen = worker_process.subprocess.Popen
def noted(*args, **kwargs):
    process = popen(*args, **kwargs)
    sys.stdout.write(f"{process.pid}\\n")  # at once: threads start workers beside each other
    sys.stdout.flush()
    return process
worker_process.subprocess.Popen = noted
with DecodePool(2, safe=True) as pool:
    words = [b"planted fine"] * 8 + [b"planted wait"] * 90
    for _ in pool.canvases(map(str, range(98)), words, CanvasRecipe(4)):
        print("began", flush=True)
"""


def segments() -> set[Path]:
    """Shared memory, but for what scikit-learn's own workers hold in other tests."""
    return {path for path in Path("/dev/shm").iterdir() if "joblib" not in path.name}


@pytest.mark.skipif(not LINUX, reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_their_parent_however_that_ends(how: signal.Signals) -> None:
    shared = segments()
    words = [sys.executable, "-c", PARENT, PLANTED]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = []
    for line in parent.stdout:
        if line.strip() == "began":
            break
        workers.append(int(line))
    time.sleep(0.3)  # until what waits is decoded
    assert workers
    assert all(is_alive(pid) for pid in workers)
    parent.send_signal(how)
    parent.communicate(timeout=120)
    end = time.monotonic() + 5
    while any(is_alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in workers)
    assert segments() <= shared
