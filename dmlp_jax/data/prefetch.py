"""Work begun before its result is needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], start: Callable[[Item], Any], depth: int = 3) -> Iterator[tuple[Item, Any]]:
    """Each item with what `start` made of it, which is called `depth` items before it is needed.

    Args:
        items: in the order they are needed.
        start: begins the work on an item and returns at once.
        depth: items begun and not yet needed, which bounds the memory they take.
    """
    waiting: deque = deque()
    for item in items:
        waiting.append((item, start(item)))
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting
