"""CUDA graphs of a function of rows."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class CapturedGraph(NamedTuple):
    """A function captured for one batch size: where it reads, what runs it, and where its result then is."""

    inputs: list[Tensor]
    replay: Callable[[], None]
    output: Tensor


class GraphedFunction:
    """A function of rows, captured for a few batch sizes and called with any number of rows, on the CPU.

    Rows are copied into the inputs of the smallest graph that has room for them, whose other rows stay from earlier
    calls; more rows than the largest graph takes are split. Calls and captures, from any thread, run one at a time.
    """

    _lock = threading.Lock()

    @torch.no_grad()
    def __init__(self, device: torch.device, function: Callable[..., Tensor], sizes: tuple[int, ...], *rows: Tensor):
        """`rows`: an example of each argument, (1, …)."""
        batches = [[torch.cat([row] * size).to(device) for row in rows] for size in sizes]
        with self._lock:
            self.graphs = CAPTURE_BY_DEVICE[device.type](function, batches)

    @torch.no_grad()
    def __call__(self, *rows: Tensor) -> Tensor:
        """Rows (B, …) to the function's result (B, …), in pinned memory."""
        largest = self.graphs[-1].output
        result = torch.empty(len(rows[0]), *largest.shape[1:], dtype=largest.dtype, pin_memory=largest.is_cuda)
        with self._lock:
            for part, *part_rows in zip(*(x.split(len(largest)) for x in (result, *rows))):
                graph = next(graph for graph in self.graphs if len(graph.output) >= len(part))
                for buffer, x in zip(graph.inputs, part_rows):
                    buffer[: len(x)].copy_(x, non_blocking=True)
                graph.replay()
                part.copy_(graph.output[: len(part)])  # waits for the device
        return result


def _capture_cuda(function: Callable[..., Tensor], batches: list[list[Tensor]]) -> list[CapturedGraph]:
    """A CUDA graph for each batch of arguments."""
    stream, graphs = torch.cuda.Stream(batches[0][0].device), []
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    deterministic = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.cuda.stream(stream):
            for inputs in batches:
                for _ in range(3):  # libraries choose algorithms and allocate memory, which a capture does not allow
                    function(*inputs)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    output = function(*inputs)
                graphs.append(CapturedGraph(inputs, graph.replay, output))
    finally:
        torch.backends.cudnn.deterministic = deterministic
    return graphs


CAPTURE_BY_DEVICE = {"cuda": _capture_cuda}
