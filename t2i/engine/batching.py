"""One engine for many people: calls from any thread, computed together on one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .engine import CHUNK, Engine

T = TypeVar("T")
Rows = list | Tensor | np.ndarray

MOST = CHUNK  # rows computed together: more are not faster, and the first would wait for the last


@dataclass(eq=False)
class _Call:
    function: Callable[..., Rows]
    rows: tuple[Rows, ...]
    answer: Future = field(default_factory=Future)


class Gatherer:
    """Calls functions of rows for many threads on one thread; calls of one function that wait together become one.

    Nobody is waited for: what comes while others are computed is gathered, and a person alone is served at once.
    One thread for all, because torch keeps a pool of helpers for each thread that calls it.
    """

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, "drawing")
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []

    def __call__(self, function: Callable[..., Rows], *rows: Rows) -> Rows:
        """`function(*rows)`, from any thread; all of `rows` and the answer are as long, row by row."""
        call = _Call(function, rows)
        with self._lock:
            self._waiting.append(call)
        self._thread.submit(self._turn)
        return call.answer.result()

    def alone(self, function: Callable[..., T], *arguments: object) -> T:
        """`function(*arguments)` on that thread, by itself."""
        return self(lambda _: [function(*arguments)], [None])[0]

    def _turn(self) -> None:
        if group := self._take():  # an earlier turn may have answered the call that this one was meant for
            _answer(group)

    def _take(self) -> list[_Call]:
        """The oldest call, and what can be computed with it."""
        group, left, room = [], [], MOST
        with self._lock:
            for call in self._waiting:
                size = len(call.rows[0])
                fits = not group or (call.function == group[0].function and size <= room)
                (group if fits else left).append(call)
                room -= size if fits else 0
            self._waiting = left
        return group


class SharedEngine:
    """An `Engine` that any number of threads may call; all that share a gatherer take turns on its thread.

    `reader`: the engine that embeds captions for it: of all that share a text encoder, one, which remembers for them.
    """

    def __init__(self, engine: Engine, gather: Gatherer, reader: Engine | None = None):
        self._engine, self._gather, self._reader = engine, gather, reader or engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)  # what is known without computing

    def embed(self, captions: list[str]) -> Tensor:
        return self._gather(self._reader.embed, captions)

    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        return self._gather(self._engine.render, z, h)

    def invert(self, pixels: np.ndarray) -> Tensor:
        return self._gather(self._engine.invert, pixels)

    def embed_photos(self, pixels: np.ndarray) -> Tensor:
        return self._gather(self._engine.embed_photos, pixels)

    def match(self, pixels: np.ndarray, h: Tensor) -> Tensor:
        return self._gather.alone(self._engine.match, pixels, h)


def _answer(group: list[_Call]) -> None:
    try:
        rows = group[0].function(*(_join(parts) for parts in zip(*(call.rows for call in group))))
    except BaseException as error:
        if len(group) == 1:
            group[0].answer.set_exception(error)
            return
        for call in group:  # one person's mistake is not the others'
            _answer([call])
        return
    start = 0
    for call in group:
        end = start + len(call.rows[0])
        call.answer.set_result(rows[start:end])
        start = end


def _join(parts: tuple[Rows, ...]) -> Rows:
    if isinstance(parts[0], list):
        return sum(parts, [])
    return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)
