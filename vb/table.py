"""Things by id, in the order of their creation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from vb.errors import NotFound

T = TypeVar("T")


class Table(Generic[T]):
    """Things by id, in the order of their creation.

    Args:
        kind: what one of them is called in errors.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._items: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._items.values()))

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def add(self, item_id: str, item: T) -> None:
        """Enter an item under a free id."""
        self._items[item_id] = item

    def find(self, item_id: str) -> T | None:
        """Return the item, or None."""
        return self._items.get(item_id)

    def get(self, item_id: str) -> T:
        """Return the item.

        Raises:
            NotFound: there is none.
        """
        item = self._items.get(item_id)
        if item is None:
            raise NotFound(f"{self._kind} not found")
        return item

    def pop(self, item_id: str) -> T | None:
        """Take the item out, if it is there."""
        return self._items.pop(item_id, None)
