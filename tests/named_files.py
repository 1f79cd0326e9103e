"""Small files at many paths, for tests of what is read of names alone."""

from __future__ import annotations

from pathlib import Path


def put(root: Path, *names: str) -> Path:
    """Write a small file, with its own name as content, at each path below `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root
