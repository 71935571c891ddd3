"""async_map: calls off the worker thread, in order, within a time limit, none lost."""

from operators.async_map.limits import AsyncLimits
from operators.async_map.operator import AsyncLogic, async_map

__all__ = ["AsyncLimits", "AsyncLogic", "async_map"]
