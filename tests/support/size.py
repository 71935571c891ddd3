"""How much memory an object holds."""

import sys
from collections import deque
from typing import Any


def deep_size(root: Any, shared: Any = ()) -> int:
    """Bytes of an object and all it refers to, each once.

    Left out are classes, what is shared, and what lies in other languages' memory.
    """
    known = {id(each) for each in _reach(shared, set())}
    return sum(sys.getsizeof(each) for each in _reach(root, known))


def _reach(root: Any, seen: set[int]) -> list[Any]:
    todo, found = [root], []
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, type) or callable(each):
            continue
        seen.add(id(each))
        found.append(each)
        todo += _parts(each)
    return found


def _parts(each: Any) -> list[Any]:
    if isinstance(each, dict):
        return [*each.keys(), *each.values()]
    if isinstance(each, list | tuple | set | frozenset | deque):
        return list(each)
    names = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
    parts = [getattr(each, name) for name in names if hasattr(each, name)]
    return [*parts, each.__dict__] if hasattr(each, "__dict__") else parts
