"""Training by several processes, as torchrun starts them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from t2i import __main__
from t2i.__main__ import main
from t2i.errors import InputError
from t2i.training import projected
from t2i.training.distributed import Processes, told_end_of_others
from tests.datasets import write_dataset
from tests.screen import ROOT
from tests.training import torchrun_worker as worker
from tests.training.test_projected import config, small_networks, text, write_text_encoder  # noqa: F401

WORKER = ROOT / "tests" / "training" / "torchrun_worker.py"


@dataclass(frozen=True)
class Run:
    """What the worker has done under torchrun, in two processes of which the second one was killed once."""

    data: Path
    text: Path
    out: Path
    gradients: Path
    finished: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("torchrun")
    data, text = write_dataset(folder / "squares"), write_text_encoder(folder / "text")  # noqa: F811
    options = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.05"]
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    variables["XDG_CACHE_HOME"] = str(folder / "cache")
    paths = [folder / "gradients.pt", data, text, folder / "out"]
    finished = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, WORKER, *paths],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    return Run(data, text, folder / "out", folder / "gradients.pt", finished)


@pytest.mark.timeout(400)  # on a busy machine; otherwise 20 s
def test_a_killed_process_costs_the_steps_since_the_last_state_and_one_process_goes_on(run):
    def steps_of_log() -> list[int]:
        return [json.loads(line)["step"] for line in (run.out / "log.jsonl").read_text().splitlines()]

    assert run.finished.stdout.endswith(f"\n{run.out}\n") and run.finished.stdout.count("\n") == 3
    assert run.finished.stderr.count("the second process is killed") == 1 and steps_of_log() == [2, 4]
    assert run.finished.stderr.count("Traceback") == 1, "torchrun's own, at the end"
    assert not [path.name for path in run.out.rglob("*") if path.name.endswith(".part")]
    record = json.loads((run.out / "config.json").read_text())["training"]["gan"]
    assert (record["steps_done"], record["processes"], record["batch"]) == (4, 2, 8)
    projected.train(projected.ProjectedTraining(str(run.data), str(run.text), str(run.out), steps=6, batch=8, size=32))
    assert steps_of_log()[:2] == [2, 4] and steps_of_log()[-1] == 6


@pytest.mark.timeout(400)
def test_a_batch_that_does_not_divide_ends_all_processes_with_one_sentence_of_the_first(run):
    assert run.finished.returncode == 1, "that of torchrun"
    said = [line for line in run.finished.stderr.splitlines() if "t2i:" in line]
    assert said[-1].endswith(
        "t2i: --batch 19 cannot be divided among 2 processes: it must be a multiple of their number,"
        " with at least 4 for each"
    )
    assert sum("cannot be divided" in line for line in said) == 1


@pytest.mark.timeout(400)
def test_the_gradients_of_two_processes_are_those_of_one(run):
    averaged = torch.load(run.gradients, weights_only=True)
    joined = worker.gradients(str(run.data), str(run.text), Processes())
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


def test_the_end_of_another_process_is_told_apart_from_other_errors():
    gloo = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]: Connection reset by peer"
    for error, raised in ((gloo, InputError), ("shapes do not fit", RuntimeError)):
        with pytest.raises(raised), told_end_of_others():
            raise RuntimeError(error)


def test_each_process_draws_its_own_numbers():
    draws = [torch.rand(3, generator=Processes(i, 3).generator(torch.Generator().manual_seed(5))) for i in range(3)]
    assert len({tuple(row.tolist()) for row in draws}) == 3
    one = torch.Generator().manual_seed(5)
    assert Processes().generator(one) is one


def test_the_other_trainings_refuse_several_processes(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "gan", "--data", "d", "--text", "t", "--out", "o"]) == 2
    assert "only `train projected` takes several processes" in capsys.readouterr().err


def test_another_process_leaves_the_first_one_time_to_say_what_is_wrong(capsys, monkeypatch):
    """torchrun then ends it; what the first process does not know, it says itself."""
    events = []
    monkeypatch.setattr(__main__.time, "sleep", lambda seconds: events.append((seconds, capsys.readouterr().err)))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    for rank, waited in (("0", []), ("1", [(__main__.WAIT_FOR_FIRST_PROCESS, "")])):
        monkeypatch.setenv("RANK", rank)
        events.clear()
        assert main(["draw", "a red flower", "--count", "0"]) == 2
        assert events == waited and capsys.readouterr().err.startswith("t2i: --count must be")
