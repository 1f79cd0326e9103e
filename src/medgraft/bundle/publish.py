"""A saved classifier leaves its folder: as one `.medgraft` file, or laid out for a model hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, get_args

from medgraft.bundle.archive import CARD, SUFFIX, unpacked, write_archive
from medgraft.bundle.model import bundle_folder
from medgraft.bundle.model_card import facts_of, index_facts
from medgraft.errors import BundleError
from medgraft.features.extract import Extractor
from medgraft.files import StorageError, explained, written_folder
from medgraft.learn.fit import load
from medgraft.report.text.model_card import model_card

Layout = Literal["file", "hub"]


def bundle_model(path: Path, out: Path, extractor: Extractor, layout: str = "file") -> Path:
    """Write the classifier of a run, or a folder `model`, with its card; give what was written.

    layout : `file`, one `.medgraft` file that every command takes as MODEL; `hub`, a folder as
    huggingface.co shows it: README.md, the card, beside that file.

    Raises
    ------
    BundleError
        There is no classifier, it is damaged, or what was written does not read back.
    StorageError
        `out` cannot be written, or is taken by something else.
    """
    if layout not in get_args(Layout):
        raise BundleError(f"no layout {layout!r}; there are: {', '.join(get_args(Layout))}")
    if path.is_file():
        raise BundleError(f"{path} is a bundle already; copy it, or give the run it was made from")
    folder = bundle_folder(path)
    fitted = load(folder, extractor)
    facts = facts_of(folder, fitted)
    card, index = model_card(facts), index_facts(facts)
    if layout == "file":
        write_archive(folder, out, card, index)
        _read_back(out, extractor)
        return out
    with explained(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(f"{out} is not empty; choose another --out")
    with written_folder(out) as temporary:
        write_archive(folder, temporary / f"model{SUFFIX}", card, index)
        _read_back(temporary / f"model{SUFFIX}", extractor)
        shutil.copyfile(unpacked(temporary / f"model{SUFFIX}") / CARD, temporary / CARD)
    return out


def _read_back(written: Path, extractor: Extractor) -> None:
    """Whether a file that was just written is a whole classifier; it is taken away where not."""
    try:
        load(bundle_folder(written), extractor)
    except BundleError:
        with explained(written):
            written.unlink()
        raise
