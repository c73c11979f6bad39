"""The device, the cores and the precision to compute with."""

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

import torch
from torch import nn

from .errors import InputError, abbreviated

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROCESS_CGROUPS = Path("/proc/self/cgroup")

Network = TypeVar("Network", bound=nn.Module)


def best_device() -> str:
    """The device to compute on: "cuda" if there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(device: str | None) -> str:
    """The device, by default the best one; `InputError` if this machine has none of this name."""
    device = device or best_device()
    try:
        torch.zeros(0, device=device)
        return device
    except (RuntimeError, AssertionError, TypeError):  # torch has no common base class for them
        reason = "must be cpu, or a device that torch finds on this machine, such as cuda"
        raise InputError(f"device {reason}, not {abbreviated(device)}") from None


def usable_cores() -> int:
    """The number of cores that this process may use; in a container, fewer than the host has."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_cpu_quotas()]))


def _cpu_quotas() -> Iterator[int]:
    """The CPU quotas of this process's control group and of all groups around it, in whole cores."""
    try:
        memberships = re.findall(r"^\d+:(.*?):(/.*)$", PROCESS_CGROUPS.read_text(), re.M)
    except OSError:
        memberships = []
    paths = {controllers: PurePosixPath(path) for controllers, path in memberships}
    own_v1 = next((path for names, path in paths.items() if "cpu" in names.split(",")), PurePosixPath("/"))
    for root, own, files in (
        (CGROUP_ROOT, paths.get("", PurePosixPath("/")), ["cpu.max"]),  # version 2
        (CGROUP_ROOT / "cpu", own_v1, ["cpu.cfs_quota_us", "cpu.cfs_period_us"]),  # version 1
    ):
        for group in (own, *own.parents):
            try:
                folder = root / group.relative_to("/")
                quota, period = " ".join((folder / file).read_text() for file in files).split()
                if int(quota) > 0:
                    yield int(quota) // int(period)
            except (OSError, ValueError):  # another version, or the quota is "max"
                pass


def processor() -> str:
    """The processor's name, or its architecture if the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hardware() -> str:
    """GPU or processor, threads and torch version, to record with a measurement or a training."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


def is_first_process() -> bool:
    """Whether this process is the only one of its program, or the first of those that torchrun has started."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def use_cores() -> None:
    """Let torch use one thread for each usable core, unless OMP_NUM_THREADS is a positive number (or a list of them).

    Only programs call this, because they own their process; the library never sets the number of threads.
    """
    if not re.match(r"\s*0*[1-9]\d*\s*(,|$)", os.environ.get("OMP_NUM_THREADS", "")):
        torch.set_num_threads(usable_cores())


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16; emulation would be far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    is_supported = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return is_supported and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # ONEDNN_MAX_CPU_ISA may forbid it


def half_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 if the hardware computes in it, else a no-op.

    On CUDA, torch runs recurrent layers in float16 nevertheless; at most 2 % of φ's gradients are too small for it.
    """
    return torch.autocast(device, torch.bfloat16, enabled=computes_bfloat16(torch.device(device)))


def to_channels_last(network: Network, device: str | torch.device, dtype: torch.dtype | None = None) -> Network:
    """The network itself, on the device, its convolutions in channels-last memory."""
    return network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
