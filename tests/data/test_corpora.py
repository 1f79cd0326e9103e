"""Files that once broke decoders: each gives an image or a `DecodeError`, soon, in little memory.

They are decoded in a process of its own, so that a crash of a C library, a hang or an exception
that is not ours is seen as a failure of the file that caused it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
SECONDS = 5.0
START = 60.0  # seconds that a busy machine may take to start Python and import what decodes
MEGABYTES = 1000

WATCHED = """
import sys, time
from pathlib import Path
from medgraft.data.pixels.decode import decode
from medgraft.errors import DecodeError
from medgraft.types import Source

STATUS = Path("/proc/self/status")
for path in sys.argv[1:]:
    print("begin", path, flush=True)
    start = time.perf_counter()
    try:
        decoded = decode(Source(path), (224, 224))
    except DecodeError as error:
        assert "\\n" not in str(error) and path not in str(error), str(error)
    else:
        assert decoded.pixels.dtype == "uint8" and min(decoded.pixels.shape) > 0, path
    # Not `ru_maxrss`: a child inherits the peak of the process that started it.
    status = STATUS.read_text(encoding="ascii") if STATUS.exists() else "VmHWM: 0 kB"  # Linux only
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    print("end", f"{time.perf_counter() - start:.3f}", peak, flush=True)
"""


def decode_all(files: list[Path]) -> None:
    assert files
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED, *map(str, files)],
        capture_output=True,
        timeout=START + SECONDS * len(files),
        check=False,
    )
    lines = run.stdout.decode(errors="surrogateescape").splitlines()
    assert run.returncode == 0, f"{lines[-1]}: {run.stderr.decode()[-2000:]}"
    begun, ended = lines[::2], [line.split() for line in lines[1::2]]
    assert len(begun) == len(ended) == len(files)
    for name, (_, seconds, megabytes) in zip(begun, ended, strict=True):
        assert float(seconds) < SECONDS, name
        assert int(megabytes) < MEGABYTES, name


@pytest.mark.skipif(not CORPORA.is_dir(), reason="no ../shared/corpora beside the checkout")
@pytest.mark.parametrize("corpus", ["pillow", "libjpeg-turbo"])
def test_every_file_gives_an_image_or_a_decode_error(corpus: str) -> None:
    decode_all(sorted((CORPORA / corpus).iterdir()))


def test_a_crash_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    decode_all([file])
    crashing = WATCHED.replace("decoded = decode(", "__import__('os').abort(")
    monkeypatch.setattr(sys.modules[__name__], "WATCHED", crashing)
    with pytest.raises(AssertionError, match="begin"):
        decode_all([file])


def test_memory_is_the_decoders_and_not_that_of_these_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    np.ones(400 << 20, np.uint8)  # once held is enough
    monkeypatch.setattr(sys.modules[__name__], "MEGABYTES", 300)
    decode_all([file])
    greedy = WATCHED.replace("decoded = decode(", "b'1' * (400 << 20); decode(")
    monkeypatch.setattr(sys.modules[__name__], "WATCHED", greedy)
    with pytest.raises(AssertionError, match="begin"):
        decode_all([file])
