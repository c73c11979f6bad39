"""The cores that programs use."""

import os

import pytest
import torch

from t2i import device


@pytest.mark.parametrize(
    "files, cores",
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9000000 100000\n"}, 8),
        ({"cpu.max": "no numbers at all\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_usable_cores_respect_the_limit_of_the_container(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(device, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert device.usable_cores() == cores


def test_usable_cores_respect_the_affinity_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "CGROUP_ROOT", tmp_path)
    if hasattr(os, "sched_getaffinity"):
        assert device.usable_cores() == len(os.sched_getaffinity(0))


def test_programs_use_all_cores_unless_omp_num_threads_is_set(monkeypatch):
    monkeypatch.setattr(device, "usable_cores", lambda: 3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        device.use_cores()
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        device.use_cores()
        assert torch.get_num_threads() == 3 and ", 3 threads, " in device.hardware()
    finally:
        torch.set_num_threads(before)


def test_the_processor_has_a_name():
    assert device.processor()
