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
    assert usable_cores(tmp_path, monkeypatch, "", files) == cores


def usable_cores(tmp_path, monkeypatch, groups: str, files: dict[str, str]) -> int:
    """The usable ones of eight cores for a process in these control groups, with these files."""
    monkeypatch.setattr(device, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(device, "PROCESS_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    for name, text in (files | {"groups": groups}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return device.usable_cores()


V2, V1 = "0::/a/b\n", "5:memory:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/y\n"


@pytest.mark.parametrize(
    "groups, files, cores",
    [
        (V2, {"a/b/cpu.max": "300000 100000\n"}, 3),
        (V2, {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        (V2, {"cpu.max": "500000 100000\n", "a/cpu.max": "200000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 2),
        (V2, {"cpu.max": "200000 100000\n"}, 2),  # the group's path is the host's: its folder is not here
        (V2, {"a/c/cpu.max": "100000 100000\n"}, 8),  # another group's
        ("0::/../a\n", {"cpu.max": "200000 100000\n"}, 2),
        ("no such line\n", {"cpu.max": "200000 100000\n"}, 2),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "300000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 3),
        (V1, {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_usable_cores_respect_the_limits_of_nested_control_groups(tmp_path, monkeypatch, groups, files, cores):
    assert usable_cores(tmp_path, monkeypatch, groups, files) == cores


def test_usable_cores_respect_the_affinity_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(device, "PROCESS_CGROUPS", tmp_path / "groups")
    if hasattr(os, "sched_getaffinity"):
        assert device.usable_cores() == len(os.sched_getaffinity(0))


def test_programs_use_all_cores_unless_omp_num_threads_is_a_positive_number(monkeypatch):
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
        for value, threads in (("", 3), ("0", 3), ("-2", 3), ("many", 3), ("2.5", 3), ("1,1", 1), (" 1 ", 1)):
            torch.set_num_threads(1)
            monkeypatch.setenv("OMP_NUM_THREADS", value)
            device.use_cores()
            assert torch.get_num_threads() == threads, value
    finally:
        torch.set_num_threads(before)


def test_the_processor_has_a_name():
    assert device.processor()
