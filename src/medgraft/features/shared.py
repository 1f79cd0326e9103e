"""What several questions about the same images share: all that no label has a part in.

Ten findings of the same images are judged on the same codes. Standardising them, their
eigenvectors, and each image's neighbours are the same for all findings; what a label decides is
found anew for each. What is kept is what the same call would have made, so that no number depends
on whether it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from medgraft.types import ImageTable, digest

ROW_SETS = 3  # of which is kept what is shared: those to learn from, all, and others in passing

Made = TypeVar("Made")


class _Slot:
    def __init__(self) -> None:
        self.lock, self.value = threading.Lock(), list[Any]()


class Shared:
    """What was made of the images used last, by key; that of others is let go.

    Its size goes with the images and with what is made of them, not with the questions asked.

    Examples
    --------
    >>> shared = Shared()
    >>> [shared.get("images", "sum", lambda: sum([1, 2])) for _ in range(2)]
    [3, 3]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, dict[Hashable, _Slot]] = OrderedDict()

    def get(self, images: str, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once for these images (`images_key`) and this key."""
        with self._lock:
            mine = self._kept.setdefault(images, {})
            self._kept.move_to_end(images)
            while len(self._kept) > ROW_SETS:
                self._kept.popitem(last=False)
            slot = mine.setdefault(key, _Slot())
        with slot.lock:
            if not slot.value:
                slot.value.append(make())
            made: Made = slot.value[0]
            return made


def images_key(table: ImageTable) -> str:
    """Which images these are, in their order, and whose: all of a table but its labels."""
    return digest(
        table.ids.tolist(), table.content_hashes.tolist(), table.groups.tolist(), length=32
    )
