"""The content hash of every file, and what its bytes say before they are decoded."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from medgraft.data.dicom.headers import read_header
from medgraft.data.listing import EMPTY, DicomHeader, Row, bar
from medgraft.data.pixels.dicom_file import HEAD, is_dicom
from medgraft.data.pixels.stored_header import StoredHeader, hash_and_look, sniff, sniff_array
from medgraft.types import Progress, Skipped

BATCH = 64  # files hashed by one thread at a go, so that handing over costs nothing


def hash_rows(
    rows: Sequence[Row], progress: Progress | None
) -> tuple[list[Row], list[Skipped], dict[str, StoredHeader]]:
    """Fill in each row's content hash; a file that is empty or cannot be read is skipped.

    With it, by that hash, what the files store that is more than a picture of eight bits.
    """
    headers: dict[str, StoredHeader] = {}
    kept: list[Row] = []
    skipped: list[Skipped] = []
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    pool = ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1)))  # slow disks like a queue
    try:
        with bar(progress, "Reading images", len(rows)) as advance:
            for batch, hashes in zip(batches, pool.map(_of_batch, batches), strict=True):
                for row, (name, problem, found) in zip(batch, hashes, strict=True):
                    if name and found.stored is not None:
                        headers[name] = found.stored
                    if problem:
                        skipped.append(Skipped(row.id, problem))
                    else:
                        kept.append(row.with_content(name, found.dicom))
                advance(len(batch))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the files still queued
    return kept, skipped, headers


@dataclass(frozen=True, slots=True)
class Found:
    """What the bytes of a file say before they are decoded.

    stored : where it is more than a picture of eight bits; dicom : of a DICOM file.
    """

    stored: StoredHeader | None = None
    dicom: DicomHeader | None = None


_NOTHING = Found()


def _of_batch(rows: Sequence[Row]) -> list[tuple[str, str, Found]]:
    return [_of_row(row) for row in rows]


def _of_row(row: Row) -> tuple[str, str, Found]:
    """(hash of the bytes, '', what they say) or ('', why there is none, nothing)."""
    if row.content_hash:
        member = row.source.member
        stored = sniff_array(row.source.path, member) if member else None
        return row.content_hash, "", Found(stored)
    try:
        name, found = hash_and_look(row.source.path, look)
    except OSError as error:
        return "", f"cannot be read ({error.strerror})", _NOTHING
    return ("", "empty file", _NOTHING) if name == EMPTY else (name, "", found)


def look(content: bytes | mmap.mmap) -> Found:
    """What the bytes of a file say before they are decoded, DICOM or not."""
    if not is_dicom(content[:HEAD]):
        stored = sniff(content)
        return _NOTHING if stored is None else Found(stored)
    header = read_header(content)
    return Found(None if header.shown else StoredHeader("uint16"), header)
