"""CUDA graphs of a function of rows."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor


class Graphs:
    """A function of rows, captured for a few sizes of batch and called with any number of rows, on the CPU.

    They are copied to where the graph of the next size reads, and others' rows may lie behind them; more than the
    largest size go in chunks of it. Calls and captures, from any thread, take turns, each to its end.
    """

    _turn = threading.Lock()

    @torch.no_grad()
    def __init__(self, device: torch.device, function: Callable[..., Tensor], sizes: tuple[int, ...], *rows: Tensor):
        """`rows`: an example of each argument, (1, …)."""
        batches = [[torch.cat([row] * size).to(device) for row in rows] for size in sizes]
        with self._turn:
            self.captured = CAPTURE[device.type](function, batches)

    @torch.no_grad()
    def __call__(self, *rows: Tensor) -> Tensor:
        """Rows (B, …) to what the function makes of them, (B, …), in pinned memory."""
        most = self.captured[-1][2]
        answer = torch.empty(len(rows[0]), *most.shape[1:], dtype=most.dtype, pin_memory=most.is_cuda)
        with self._turn:
            for part, *part_rows in zip(*(x.split(len(most)) for x in (answer, *rows))):
                inputs, replay, made = next(one for one in self.captured if len(one[2]) >= len(part))
                for place, x in zip(inputs, part_rows):
                    place[: len(x)].copy_(x, non_blocking=True)
                replay()
                part.copy_(made[: len(part)])  # waits
        return answer


def _capture(function: Callable[..., Tensor], batches: list[list[Tensor]]) -> list[tuple]:
    """For each batch of arguments, a CUDA graph: where it reads them, what runs it, where its answer then is."""
    stream, captured = torch.cuda.Stream(batches[0][0].device), []
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    deterministic = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.cuda.stream(stream):
            for inputs in batches:
                for _ in range(3):  # libraries choose algorithms and take memory, which a capture may not see
                    function(*inputs)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    made = function(*inputs)
                captured.append((inputs, graph.replay, made))
    finally:
        torch.backends.cudnn.deterministic = deterministic
    return captured


CAPTURE = {"cuda": _capture}  # by the type of device
