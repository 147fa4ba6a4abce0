"""Work on one part while the next is made: numpy and DuckDB compute without the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

THREADS: Final = 2
_END: Final = object()


def by_threads(compute: Callable[[_T], _R], parts: Iterable[_T]) -> Iterator[_R]:
    """Yield what is computed of parts, in their order.

    Few parts are in work at a time, as each takes memory.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[_R]] = deque()
        for part in parts:
            waiting.append(pool.submit(compute, part))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def ahead(parts: Iterable[_T]) -> Generator[_T, None, None]:
    """Yield the parts, of which a thread makes the next one meanwhile.

    An error of the parts is raised where they are asked for.
    """
    source = iter(parts)
    with ThreadPoolExecutor(1) as pool:
        coming: Future[object] = pool.submit(next, source, _END)
        while (part := coming.result()) is not _END:
            coming = pool.submit(next, source, _END)
            yield part  # type: ignore[misc]
