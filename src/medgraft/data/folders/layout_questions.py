"""What is asked, and shown, where a folder can be read in several ways or in none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from medgraft.data.folders.layout import Layout
from medgraft.data.folders.recognise import recognise
from medgraft.data.names import says_part, stem_of
from medgraft.data.scan import IMAGE_SUFFIXES, Parts, Scan
from medgraft.data.tables.files import LISTS
from medgraft.data.tables.reading import TableReading

SHOWN = 6  # classes of a reading that an error lists
NAMED_BY_CLASS = (
    (r".*\d.*_(\d|[A-Za-z]+)", "{*}_{class}"),
    (r".*\d.*-(\d|[A-Za-z]+)", "{*}-{class}"),
    (r"([A-Za-z]+)\..*\d.*", "{class}.{*}"),
    (r"([A-Za-z]+)_.*\d.*", "{class}_{*}"),
    (r"([A-Za-z]+)-.*\d.*", "{class}-{*}"),
    (r"([A-Za-z]+) ?\(?\d+\)?", "{class}{*}"),
)


def classes_shown(classes: Mapping[str, int]) -> str:
    """Classes with their images, as an error shows them."""
    named = [f"{name} {n:,}" for name, n in sorted(classes.items())][:SHOWN]
    return f"{len(classes)} classes: {', '.join([*named, *['…'] * (len(classes) > SHOWN)])}"


def layout_shown(layout: Layout, images: Sequence[Parts]) -> str:
    """The classes of a reading, and how many groups it makes, as an error shows them."""
    said = [meaning for path in images if (meaning := layout.read(path))]
    groups = {meaning.group for meaning in said if meaning.group}
    text = classes_shown(Counter(meaning.label for meaning in said))
    return text + (f"; {len(groups):,} groups" if groups else "")


def would_fit(images: Sequence[Parts]) -> str:
    """The only layout that fits, to be named where the one given does not."""
    layouts = recognise(images).layouts
    return f"; --layout '{layouts[0]}' would fit" if len(layouts) == 1 else ""


def in_file_names(images: Sequence[Parts]) -> str:
    """Where files, not folders, are named by class, the flag that reads them so."""
    stems = [stem_of(path[-1]) for path in images]
    for pattern, written in NAMED_BY_CLASS:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        classes = Counter(match[1] for match in matches if match)
        if all(map(says_part, classes)):
            continue
        if all(matches) and 1 < len(classes) <= max(2, min(20, len(images) // 5)):
            layout = "/".join(["*"] * (len(images[0]) - 1) + [written])
            counts = ", ".join(f"{name} {n:,}" for name, n in sorted(classes.items())[:SHOWN])
            return f"; the file names may say it: --layout '{layout}' ({counts})"
    return ""


def remedy(found: Scan, tables: Sequence[TableReading]) -> str:
    """What to do where nothing says which class each image has."""
    if any(one.n_images for one in tables):
        most = max(tables, key=lambda one: one.n_images)
        if most.sure:
            return (
                f"{most.path.name} labels {most.n_images:,} of its images; to study those, pass it "
                f"as DATA: {most.path}"
            )
        return f"{most.path} names {most.n_images:,} of its images, but: {most.why_not}"
    if found.tables:
        paths = [str(found.root.joinpath(*table)) for table in found.tables]
        more = f" (or {', '.join(paths[1:4])})" if len(paths) > 1 else ""
        return f"if a table gives the labels, pass it as DATA: {paths[0]}{more}"
    lists = " or ".join(sorted(LISTS & found.others.keys()))
    return (
        "put each class into a folder of its own (class/image), say how the folders are meant "
        "(--layout 'split/class/group/image'), or give a table with the columns path,label"
        + (f" (a {lists} file is one, passed as DATA)" if lists else "")
    )


def no_image(found: Scan) -> str:
    """That a folder has no image, and what it has instead."""
    problems = found.problems
    why = f"; {len(problems)} skipped, the first: {problems[0][1]}" if problems else ""
    others = f"; there are {by_kind(found.others)}" if found.others else ""
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    read = f"read are {kinds}, DICOM, and any of them without a suffix"
    return f"no image in {found.root} ({read}){others}{why}; expected class/image"


def by_kind(kinds: Mapping[str, int]) -> str:
    """How many files there are of each suffix, the most first."""
    return ", ".join(
        f"{n:,} {kind or 'without a suffix'}"
        for kind, n in sorted(kinds.items(), key=lambda p: -p[1])
    )
