"""Hold the built wheel to the source: every file of the package is in it, and nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def main() -> None:
    """Exit with the names of files that are missing or too many."""
    [wheel] = Path(sys.argv[1]).glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if ".dist-info/" not in name}
    files = (path for path in SOURCE.rglob("*") if path.is_file())
    source = {
        path.relative_to(SOURCE).as_posix()
        for path in files
        if "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }
    if packed != source:
        sys.exit(f"missing: {sorted(source - packed)}; too many: {sorted(packed - source)}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        sys.exit("the licence is missing")


if __name__ == "__main__":
    main()
