"""Training by several processes, as torchrun starts them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch

from t2i.__main__ import main
from t2i.errors import InputError
from t2i.training import projected
from t2i.training.distributed import Processes
from tests.screen import ROOT
from tests.training import torchrun_worker as worker
from tests.training.test_projected import config, small_networks, text  # noqa: F401

WORKER = ROOT / "tests" / "training" / "torchrun_worker.py"


def torchrun(*arguments, restarts: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.run(
        [*command, f"--max-restarts={restarts}", str(WORKER), *map(str, arguments)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.timeout(400)  # on a busy machine; otherwise 20 s
def test_a_killed_process_costs_the_steps_since_the_last_state_and_one_process_goes_on(config):  # noqa: F811
    options = ["--data", config.data, "--text", config.text, "--out", config.out, "--batch", 8, "--size", 32]
    done = torchrun("train", *options, "--steps", 4, restarts=1)
    assert done.returncode == 0 and done.stdout.count("\n") == 3 and done.stdout.endswith(f"\n{config.out}\n")
    folder = projected.Path(config.out)

    def steps_of_log() -> list[int]:
        return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]

    assert done.stderr.count("the second process is killed") == 1 and steps_of_log() == [2, 4]
    assert not [path.name for path in folder.rglob("*") if path.name.endswith(".part")]
    run = json.loads((folder / "config.json").read_text())["training"]["gan"]
    assert (run["steps_done"], run["processes"], run["batch"]) == (4, 2, 8)
    projected.train(replace(config, steps=6))  # in one process
    assert steps_of_log()[:2] == [2, 4] and steps_of_log()[-1] == 6


def test_the_gradients_of_two_processes_are_those_of_one(config, tmp_path, monkeypatch):  # noqa: F811
    done = torchrun("gradients", config.data, config.text, tmp_path / "gradients.pt")
    assert done.returncode == 0, done.stderr
    averaged = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for name in ("diff_augment", "mutual_information_loss", "computes_bfloat16"):
        monkeypatch.setattr(projected, name, getattr(projected, name))  # restored after the test
    monkeypatch.setattr("t2i.device.computes_bfloat16", lambda device: False)
    joined = worker.gradients(config.data, config.text, Processes())
    assert averaged.keys() == joined.keys() and len(joined) > 50
    for name, gradient in joined.items():
        # G's come through the feature network, in whose kinks single roundings of float32 grow.
        allowed = 1e-6 + (5e-3 if name.startswith("g.") else 1e-4) * gradient.abs().max()
        assert (averaged[name] - gradient).abs().max() <= allowed, name


@dataclass(frozen=True)
class OthersDiffer(Processes):
    """Processes of which all but the first have other values."""

    other: object = None

    def gather(self, value):
        return [value, *[self.other if self.other is not None else value] * (self.count - 1)]


@pytest.mark.parametrize("batch, count", [(10, 4), (64, 3), (8, 4)])
def test_a_batch_that_does_not_divide_is_refused(batch, count):
    message = f"--batch {batch} cannot be divided among {count} processes: it must be a multiple of their number, with"
    with pytest.raises(InputError, match=message):
        projected.share_of(batch, count)


def test_more_processes_than_photos_are_refused(config):  # noqa: F811
    with pytest.raises(InputError, match="squares: has 24 training pictures, fewer than the 32 processes"):
        projected._train(replace(config, batch=128), OthersDiffer(0, 32))


def test_options_and_data_that_differ_are_named():
    processes = OthersDiffer(0, 2, {"--seed": 1, "--data": "abc"})
    with pytest.raises(InputError, match="process 1 has another --seed: 1, process 0 has 0"):
        processes.check_alike({"--seed": 0, "--data": "abc"})
    with pytest.raises(InputError, match="process 1 has another --data: 'abc', process 0 has 'xyz'"):
        processes.check_alike({"--seed": 1, "--data": "xyz"})


def test_an_error_of_one_process_is_raised_in_all():
    with pytest.raises(InputError, match="no such folder"):
        OthersDiffer(0, 2, "no such folder").prepare(lambda: 1)
    assert OthersDiffer(0, 2).prepare(lambda: 1) == OthersDiffer(1, 2).prepare(lambda: 1) == 1


def test_each_process_draws_its_own_numbers():
    draws = [torch.rand(3, generator=Processes(i, 3).generator(torch.Generator().manual_seed(5))) for i in range(3)]
    assert len({tuple(row.tolist()) for row in draws}) == 3
    one = torch.Generator().manual_seed(5)
    assert Processes().generator(one) is one


def test_the_other_trainings_refuse_several_processes(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = ["train", "gan", "--data", "d", "--text", "t", "--out", "o"]
    assert main(arguments) == 2
    assert "only `train projected` takes several processes" in capsys.readouterr().err
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("RANK", "1")
    assert main(arguments) == 2 and capsys.readouterr().err == ""  # the first process says it
