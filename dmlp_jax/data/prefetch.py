"""Starts background work a few items ahead of its use (prefetching)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], start: Callable[[Item], Any], depth: int = 3) -> Iterator[tuple[Item, Any]]:
    """Yields each item with the result of `start(item)`, which is called `depth` items in advance.

    Args:
        items: the items in order of use.
        start: begins the work on an item and returns at once, for example with a future.
        depth: number of items started ahead; bounds the memory in use.
    """
    waiting: deque = deque()
    for item in items:
        waiting.append((item, start(item)))
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting
