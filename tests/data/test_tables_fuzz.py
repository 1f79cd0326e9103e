"""Damaged and made-up table files give a listing or a `DataError`, never anything else."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medgraft.data.ingest import LoadOptions
from medgraft.data.listing import Listing
from medgraft.data.npz import read_npz
from medgraft.data.tables.read_table import read_table, tables_beside
from medgraft.errors import DataError

WORDS = [
    "path", "label", "id", "x1", "x2.png", "a", "1", "0", "0.0", "nan", "", " ", "#", "sep=;",
    "Mass|Nodule", "['a']", "None", "train", "test", "-1", "1e999", "\ufeff", "é", "\x85", "../x",
    "C:\\x1", "/", "\0", '"', "'", "画像", "\u0301", "x" * 300, "=1+1", "٣", "²",
]  # fmt: skip
MARKS = [",", ";", "\t", "|", "\n", "\r\n", "\r", '"', " "]


def good_files(folder: Path) -> list[Path]:
    n = 20
    frame = pd.DataFrame({
        "image": [f"x{i}" for i in range(n)], "dx": ["a", "b"] * 10,
        "split": ["train", "test"] * 10,
        "A": [0, 1] * 10, "B": [1.0, 0.0] * 10, "note": ["größer", "x,y"] * 10,
    })  # fmt: skip
    for i in range(n):
        (folder / f"x{i}.png").write_bytes(b"x")
    frame.to_csv(folder / "a.csv")
    frame.to_csv(folder / "b.tsv", sep="\t", index=False, encoding="utf-16")
    frame.to_csv(folder / "c.txt", sep=";", index=False, encoding="cp1252")
    frame.to_excel(folder / "d.xlsx")
    frame.to_parquet(folder / "e.parquet")
    np.savez(folder / "f.npz", x_train=np.zeros((n, 4, 4, 1), np.uint8), y_train=np.eye(n)[:, :n])
    images = np.linspace(0, 1, n * 16, dtype=np.float32).reshape(n, 4, 4)
    np.savez_compressed(folder / "g.npz", images=images, labels=frame.dx.to_numpy(str))
    return sorted(p for p in folder.iterdir() if p.suffix != ".png")


def mutated(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.choice((1, 4, 100))]
        elif kind == 2:
            data[at:at] = rng.choice((*WORDS, *MARKS)).encode()
        elif kind == 3:
            data[at:at] = data[at : at + rng.choice((2, 50))]
        elif kind == 4:
            del data[at:]
        else:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(data)


def mutated_inside(content: bytes, rng: random.Random) -> bytes:
    """A zip archive of which one member is damaged before it is packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    members[name] = mutated(members[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member, inside in members.items():
            archive.writestr(member, inside)
    return packed.getvalue()


def made_up(rng: random.Random) -> bytes:
    words = rng.choices(WORDS, k=rng.randrange(1, 60))
    marks = rng.choices(MARKS, weights=[9, 3, 2, 1, 4, 1, 1, 1, 1], k=len(words))
    text = "".join(word + mark for word, mark in zip(words, marks, strict=True))
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-16", "cp1252")), "replace")


def options(rng: random.Random) -> LoadOptions:
    wild = rng.random() < 0.3
    return LoadOptions(
        label_column=rng.choice((None, "dx", "A", "nope")) if wild else None,
        binarize=rng.choice((None, "a", ">=1", "A", "")) if wild else None,
        label_columns=rng.choice(((), ("A", "B"), ("A", "A"), ("dx",))) if wild else (),
        split_column=rng.choice((None, "split", "none", "dx")) if wild else None,
        class_names=rng.choice(((), (("None", "x"),))) if wild else (),
        encoding=rng.choice((None, "cp1250", "hex", "utf-7", "")) if wild else None,
        sheet=rng.choice((None, "Sheet1", "")) if wild else None,
    )


def read_all(folder: Path, seed: int, n: int) -> dict[str, int]:
    """How many of `n` damaged files gave a listing, and how many an error."""
    rng = random.Random(seed)
    good = {path: path.read_bytes() for path in good_files(folder)}
    images = sorted(folder.glob("*.png"))
    came = {"listing": 0, "refused": 0}
    for at in range(n):
        path, content = rng.choice(list(good.items()))
        damaged = folder / f"damaged{path.suffix}"
        if made := (path.suffix in (".csv", ".txt") and rng.random() < 0.4):
            content = made_up(rng)
        inside = content.startswith(b"PK") and rng.random() < 0.8
        damage = mutated_inside if inside else mutated
        damaged.write_bytes(content if made else damage(content, rng))
        asked = options(rng)
        try:
            if path.suffix == ".npz":
                listing = read_npz(damaged)
            elif at % 3:
                listing = read_table(damaged, asked)
            else:
                (reading, *_) = tables_beside(folder, [damaged], images, asked)
                assert isinstance(reading.sentence, str)
                listing = reading.listing()
            assert isinstance(listing, Listing)
            assert len({row.id for row in listing.rows}) == len(listing.rows) > 0
            came["listing"] += 1
        except DataError:
            came["refused"] += 1
        except Exception as error:
            raise AssertionError(f"file {at} of seed {seed} ({path.name}, {asked})") from error
    return came


def test_damaged_tables(tmp_path):
    came = read_all(tmp_path, seed=14, n=300)
    assert min(came.values()) > 30, came


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_damaged_tables(tmp_path, seed):
    read_all(tmp_path, seed=seed, n=1000)
