"""Dynamic batching: many threads share engines, and calls that wait at the same time are computed together."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .engine import MAX_BATCH, Engine

T = TypeVar("T")
Rows = TypeVar("Rows", list, Tensor, np.ndarray)


@dataclass(eq=False)
class _Call:
    function: Callable
    rows: tuple
    result: Future = field(default_factory=Future)


class DynamicBatcher:
    """Runs functions of rows for many threads on one worker thread; waiting calls of the same function become one.

    Nothing waits for a batch to fill: calls that arrive during a computation form the next batch, and a call that
    comes alone runs at once. There is one worker because torch keeps a pool of threads for each thread that calls it.
    A batch has at most `MAX_BATCH` rows, unless a single call has more: larger ones are no faster.
    """

    def __init__(self):
        self._worker = ThreadPoolExecutor(1, "drawing")
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []

    def __call__(self, function: Callable[..., Rows], *rows: list | Tensor | np.ndarray) -> Rows:
        """`function(*rows)`, from any thread; all arguments and the result have the same number of rows."""
        call = _Call(function, rows)
        with self._lock:
            self._waiting.append(call)
        self._worker.submit(self._run_next)
        return call.result.result()

    def run_alone(self, function: Callable[..., T], *arguments: object) -> T:
        """`function(*arguments)` on the worker thread, not batched."""
        return self(lambda _: [function(*arguments)], [None])[0]

    def _run_next(self) -> None:
        if batch := self._next_batch():  # an earlier batch may have included the call that this was submitted for
            _run(batch)

    def _next_batch(self) -> list[_Call]:
        """The oldest call, and those that can be computed with it."""
        batch: list[_Call] = []
        left: list[_Call] = []
        room = MAX_BATCH
        with self._lock:
            for call in self._waiting:
                size = len(call.rows[0])
                fits = not batch or (call.function == batch[0].function and size <= room)
                (batch if fits else left).append(call)
                room -= size if fits else 0
            self._waiting = left
        return batch


class BatchedEngine:
    """An `Engine` that any number of threads may call; engines that share a batcher take turns on its worker thread.

    `text_engine`: the engine that embeds captions: engines with the same text encoder share one, and so its cache.
    """

    def __init__(self, engine: Engine, batcher: DynamicBatcher, text_engine: Engine | None = None):
        self._engine, self._batcher, self._text_engine = engine, batcher, text_engine or engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)  # sizes and other attributes, which need no computation

    def embed(self, captions: list[str]) -> Tensor:
        return self._batcher(self._text_engine.embed, captions)

    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        return self._batcher(self._engine.render, z, h)

    def invert(self, pixels: np.ndarray) -> Tensor:
        return self._batcher(self._engine.invert, pixels)

    def embed_photos(self, pixels: np.ndarray) -> Tensor:
        return self._batcher(self._engine.embed_photos, pixels)

    def match(self, pixels: np.ndarray, h: Tensor) -> Tensor:
        return self._batcher.run_alone(self._engine.match, pixels, h)


def _run(batch: list[_Call]) -> None:
    try:
        rows = batch[0].function(*(_concatenate(parts) for parts in zip(*(call.rows for call in batch))))
    except BaseException as error:
        if len(batch) == 1:
            batch[0].result.set_exception(error)
            return
        for call in batch:  # one caller's error is not the others'
            _run([call])
        return
    start = 0
    for call in batch:
        end = start + len(call.rows[0])
        call.result.set_result(rows[start:end])
        start = end


def _concatenate(parts: tuple[Rows, ...]) -> Rows:
    if isinstance(parts[0], list):
        return sum(parts, [])
    return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)
