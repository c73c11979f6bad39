"""Training by the processes that `torchrun` starts; without it there is one, and nothing here has an effect."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..device import Network, best_device
from ..errors import InputError

TIMEOUT = timedelta(hours=12)  # the first process may embed all captions before the others go on

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a training, and which of them this one is."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def prepare(self, work: Callable[[], T]) -> T:
        """The result of `work()`, which the first process calls before the others: they find its results in the cache.

        An `InputError` of one process is raised in all of them.
        """
        result, error = None, None
        for is_turn in (self.is_first, not self.is_first):
            if is_turn and not error:
                try:
                    result = work()
                except InputError as problem:
                    error = str(problem)
            error = next(filter(None, self.gather(error)), None)
        if error:
            raise InputError(error)
        return cast(T, result)

    def check_alike(self, values: dict[str, object]) -> None:
        """`InputError` if these values, by name, differ among the processes."""
        first, *others = self.gather(values)
        for rank, other in enumerate(others, 1):
            if differ := [name for name in first if other[name] != first[name]]:
                name = differ[0]
                raise InputError(f"process {rank} has another {name}: {other[name]!r}, process 0 has {first[name]!r}")

    def gather(self, value: T) -> list[T]:
        """The value of each process."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value)
        return values

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The means of these values, by name, over the processes."""
        if self.count == 1:
            return values
        means = torch.tensor(list(values.values()), dtype=torch.float64, device=best_device())
        dist.all_reduce(means)  # a tensor, not pickled objects as in `gather`: each step does it
        return dict(zip(values, (means / self.count).tolist()))

    def average_gradients(self, network: Network) -> Network:
        """The network, so that its gradients are the means over all processes.

        Batch norm and spectral norm stay as each process has them.
        """
        if self.count == 1:
            return network
        return cast(Network, DistributedDataParallel(network, forward_sync_buffers=False))

    def generator(self, g: torch.Generator) -> torch.Generator:
        """A random generator for this process, drawn from one that all have; that one itself for a single process."""
        if self.count == 1:
            return g
        seeds = torch.randint(2**63 - 1, (self.count,), generator=g)
        return torch.Generator().manual_seed(int(seeds[self.rank]))


@contextmanager
def process_group() -> Iterator[Processes]:
    """The processes that torchrun has started, joined by gloo on CPUs and by nccl with a GPU for each."""
    if not dist.is_torchelastic_launched():
        yield Processes()
        return
    has_gpu = best_device() == "cuda"
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if has_gpu else "gloo", timeout=TIMEOUT)
    try:
        with told_end_of_others():
            yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


@contextmanager
def told_end_of_others() -> Iterator[None]:
    """What fails because another process has ended becomes an `InputError`: that one has said why, or was killed."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistBackendError) or "/gloo/" in str(
            error
        ):  # gloo's errors have no class of their own
            raise InputError("another process of this training has ended") from error
        raise
