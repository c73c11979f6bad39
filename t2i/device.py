"""The machine that this process runs on."""

import os
import platform
from pathlib import Path

import torch

GROUPS = Path("/sys/fs/cgroup")


def best_device() -> str:
    """Where to compute: "cuda" if there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_cores() -> int:
    """The cores this process may use: in a container the host's count is too many."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # control groups, version 2 and 1
        try:
            quota, period = " ".join((GROUPS / file).read_text() for file in files).split()
            if int(quota) > 0:
                return max(1, min(cores, int(quota) // int(period)))
        except (OSError, ValueError):  # not that version, or the quota reads "max"
            pass
    return cores


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hardware() -> str:
    """What computes here, as a measurement or a training records it."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


def use_cores() -> None:
    """Compute in as many threads as there are cores to use, unless OMP_NUM_THREADS says otherwise.

    For programs, which own their process; the library never sets threads.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself computes in bfloat16, and may; emulated, it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return able and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # ONEDNN_MAX_CPU_ISA may forbid it


def half_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 where the hardware computes in it, a no-op elsewhere (emulated, it is far slower).

    On CUDA torch runs a recurrent layer in float16 even so; of φ's gradients 2 % at most are too small for it.
    """
    return torch.autocast(device, torch.bfloat16, enabled=computes_bfloat16(torch.device(device)))
