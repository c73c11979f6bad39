"""What the server keeps of its answers, so that it does not draw the same twice."""

import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """The values last used, by the SHA-256 of what each is made from: no caption and no photo is kept.

    `size`: of a value; those kept have at most `max_size` together.
    """

    def __init__(self, max_size: int, size: Callable[[T], int] = lambda _: 1) -> None:
        self._max_size, self._size = max_size, size
        self._lock = threading.Lock()
        self._values: dict[bytes, T] = {}  # the most recently used are last
        self._total = 0

    def __call__(self, source: object, make: Callable[[], T]) -> T:
        """The value made from a source, whose `repr` says all of it."""
        key = sha256(repr(source).encode()).digest()
        value = self._values.get(key)
        if value is None:
            value = make()
        with self._lock:
            self._remove(key)
            self._values[key] = value
            self._total += self._size(value)
            while self._total > self._max_size:
                self._remove(next(iter(self._values)))
        return value

    def _remove(self, key: bytes) -> None:
        if key in self._values:
            self._total -= self._size(self._values.pop(key))
