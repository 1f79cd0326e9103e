"""How a folder is read, as a sentence: `split/class/group/image`.

A sentence has a level for each folder below the root, and the last for the file. A level is

- a word: `split`, `class`, `group` (what must not be torn apart: a patient), `image`, `mask`;
- `*`, which says nothing, or `**`, any number of levels that say nothing;
- two words with a comma, `class,group`: the level is both;
- a name with words in braces, which take a part of it: `{group}_{*}.png`, `study*_{class}`;
- any other name, which is meant literally (capitals do not matter).

Several sentences are joined with ` + `; the first that fits a file reads it, those of masks before
the others. Several `group` levels make one key together. A mask belongs to the image of the same
name (`{image}` and `{mask}`, or the file's name without suffix), whose class, group and split are
the same where both say them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from medgraft.data.names import short_split_of, stem_of
from medgraft.errors import DataError
from medgraft.types import Split

WORDS = ("split", "class", "group", "image", "mask")
EXAMPLE = "such as 'class/image', 'split/class/group/image' or 'class/{group}_{*}.png'"

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a path says of its file; '' where it says nothing. name : by which masks find images."""

    split: Split = ""
    label: str = ""
    group: str = ""
    name: str = ""
    is_mask: bool = False


@dataclass(frozen=True)
class Sentence:
    """One sentence: its levels as they are written."""

    levels: Parts

    def __str__(self) -> str:
        return "/".join(self.levels)

    @cached_property
    def words(self) -> frozenset[str]:
        """The words it uses."""
        return frozenset(word for level in self.levels for word in _words_of(level))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(_joined(list(self.levels)), re.DOTALL)

    @cached_property
    def _words(self) -> tuple[str, ...]:
        """The word that each group of the pattern is of."""
        return tuple(name.split("_", 1)[0] for name in self._pattern.groupindex)

    def read(self, parts: Parts) -> Meaning | None:
        """What the path says, or None where it does not fit the sentence."""
        match = self._pattern.fullmatch("/".join(parts))
        if match is None:
            return None
        said: dict[str, list[str]] = {}
        for word, value in zip(self._words, match.groups(), strict=True):
            said.setdefault(word, []).append(value)
        split = short_split_of(said["split"][0]) if "split" in said else ""
        if "split" in said and not split:
            return None
        names = said.get("mask") or said.get("image")
        return Meaning(
            split,
            said.get("class", [""])[0],
            "/".join(said.get("group", [])),
            stem_of(names[0]) if names else stem_of(parts[-1]),
            "mask" in said,
        )

    def fits(self, parts: Parts) -> int:
        """How many of the path's levels fit, from the top."""
        for n in range(min(len(parts), len(self.levels)), 0, -1):
            if re.fullmatch(_joined(list(self.levels[:n])), "/".join(parts[:n]), re.DOTALL):
                return n
        return 0


@dataclass(frozen=True)
class Layout:
    """A layout: one or more sentences, those of masks first."""

    sentences: tuple[Sentence, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.sentences))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a layout as a user types it.

        Raises
        ------
        DataError
            An empty level, braces that do not close or hold no word, a sentence that does not end
            with the file, no class, or masks without images.

        Examples
        --------
        >>> str(Layout.parse("split / class/{group}_{*}.png"))
        'split/class/{group}_{*}.png'
        """
        sentences = tuple(_sentence(part, text) for part in re.split(r"\s\+\s", text.strip()))
        of_images = [one for one in sentences if "mask" not in one.words]
        if not of_images:
            raise DataError(
                f"--layout '{text}' has masks and no images; say where they lie, {EXAMPLE}"
            )
        return cls(tuple(sorted(sentences, key=lambda one: "mask" not in one.words)))

    @property
    def words(self) -> frozenset[str]:
        """The words that its sentences use."""
        return frozenset().union(*(one.words for one in self.sentences))

    def read(self, parts: Parts) -> Meaning | None:
        """What the path says by the first sentence that fits, or None."""
        return next((said for one in self.sentences if (said := one.read(parts))), None)

    def nearest(self, paths: Iterable[Parts]) -> tuple[Parts, str]:
        """Of paths of which none fits, the nearest, and why it does not fit."""
        path, one = max(
            ((path, one) for path in paths for one in self.sentences), key=lambda p: p[1].fits(p[0])
        )
        fits, n, wanted = one.fits(path), len(path), len(one.levels)
        if "**" not in one.levels and n != wanted:
            return path, f"it has {n} levels, and the layout {wanted}"
        if fits == n:
            return path, "its split folder is named neither train, val nor test"
        return path, f"'{path[fits]}' does not fit '{one.levels[min(fits, wanted - 1)]}'"


def _sentence(text: str, whole: str) -> Sentence:
    levels = tuple(level.strip() for level in text.strip().strip("/").split("/"))
    wrong = f"--layout '{whole}'"
    for level in levels:
        if not level:
            raise DataError(f"{wrong} has an empty level; write it {EXAMPLE}")
        if re.sub(r"\{[^{}]*\}", "", level).count("{") or re.sub(r"\{[^{}]*\}", "", level).count(
            "}"
        ):
            raise DataError(f"{wrong}: the braces of '{level}' do not close; write it {EXAMPLE}")
        for word in re.findall(r"\{([^{}]*)\}", level):
            if word not in (*WORDS, "*"):
                raise DataError(
                    f"{wrong}: there is no word '{word}'; braces hold {', '.join(WORDS)} or *"
                )
    if levels[-1] in ("**", "split", "class", "group", "class,group", "group,class"):
        raise DataError(
            f"{wrong} ends with '{levels[-1]}', and the last level is the file: 'image', 'mask' or "
            f"a pattern of its name, {EXAMPLE}"
        )
    sentence = Sentence(levels)
    if "class" not in sentence.words and "mask" not in sentence.words:
        raise DataError(f"{wrong} says nowhere what the class is; use the word 'class', {EXAMPLE}")
    return sentence


def _words_of(level: str) -> list[str]:
    if level in WORDS:
        return [level]
    if all(word in WORDS for word in level.split(",")):
        return level.split(",")
    return [word for word in re.findall(r"\{([^{}]*)\}", level) if word != "*"]


def _joined(levels: list[str]) -> str:
    """A regular expression of whole paths; each word is a named group `word_N`."""
    counter = iter(range(1000))
    text = ""
    for i, level in enumerate(levels):
        last = i == len(levels) - 1
        if level == "**":
            text += r"(?:[^/]+/)*"
            continue
        text += _level(level, counter, last) + ("" if last else "/")
    return text


def _level(level: str, counter: Iterable[int], last: bool) -> str:
    numbers = iter(counter)
    if level == "*":
        return r"[^/]+"
    if "{" not in level and all(word in WORDS for word in level.split(",")):
        text = r"[^/]+"
        for word in level.split(","):
            text = f"(?P<{word}_{next(numbers)}>{text})"
        return text
    text = ""
    for piece in re.split(r"(\{[^{}]*\}|\*)", level):
        if piece in ("*", "{*}"):
            text += r"[^/]*"
        elif piece.startswith("{"):
            text += f"(?P<{piece[1:-1]}_{next(numbers)}>[^/]+?)"
        else:
            text += f"(?i:{re.escape(piece)})"
    ending = level.rsplit("}", 1)[-1]
    # a pattern without a suffix is of the name without it
    return text + (r"(?:\.[A-Za-z]\w{0,7})?" if last and "{" in level and "." not in ending else "")
