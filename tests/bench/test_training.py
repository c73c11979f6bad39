"""The benchmark of training: that plain and fast steps do the same work, not how fast this machine is."""

import json
import os
import subprocess

import pytest
import torch

from t2i.__main__ import main
from t2i.bench import training
from t2i.training.feature_network import FeatureNetwork
from t2i.training.paper import GanTraining, Trainer


@pytest.fixture
def small(monkeypatch):
    """One quick round of each step, with few photos to measure and without pinning this process."""
    sizes = {"BATCH_SIZE": 4, "WIDTH": 4, "PICTURE_SIZE": 32, "PROCESS_STEPS": 2}
    rounds = {"ROUNDS": 1, "PROJECTED_ROUNDS": 1, "WARM_UP_ROUNDS": 0, "PROCESS_ROUNDS": 1}
    for name, value in (sizes | rounds).items():
        monkeypatch.setattr(training, name, value)
    pairs = training.Corpus.pairs
    monkeypatch.setattr(training.Corpus, "pairs", lambda corpus, count=0: pairs(corpus, 8))
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None)
    monkeypatch.setattr(training, "usable_cores", lambda: 2)


def test_bench_prints_tables_and_writes_json(small, capsys, monkeypatch, tmp_path):
    started = []

    def run_here(command, env, **options):
        started.append((any("torch.distributed.run" in part for part in command), env["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(command, 0, json.dumps(measured))

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    measured = training.measure_steps(4, 32, 2)
    assert len(measured["seconds"]) == 1 and measured["peak_memory"] > 2**25
    monkeypatch.setattr(training.subprocess, "run", run_here)
    path = tmp_path / "figures.json"
    assert main(["bench", "training", "--json", str(path)]) == 0
    output, figures = capsys.readouterr().out, json.loads(path.read_text())
    assert training.table(figures) in output
    for speeds in (figures["images_a_second"], figures["projected_images_a_second"]):
        assert len(speeds) > 1 and all(speed > 0 for speed in speeds.values())
    assert (
        started == [(False, "1"), (False, "2"), (True, "1")]
        and figures["processes"].keys() == training.PROCESSES.keys()
    )
    for row in figures["processes"].values():
        assert row["images_a_second"] == 4 / measured["seconds"][0] and row["peak_memory"] == measured["peak_memory"]


def test_the_option_model_is_refused(capsys):
    assert main(["bench", "training", "--model", "flowers"]) == 2
    assert "bench training measures the trainers: it takes no --model" in capsys.readouterr().err


def test_the_plain_features_and_their_gradients_are_those_of_the_trainer():
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = x.double().requires_grad_()
    fast = FeatureNetwork(torch.float64)
    fast.standardise([x.detach()])
    for maps in zip(fast(x), training.PlainFeatures(fast).double()(x), strict=True):
        torch.testing.assert_close(*maps, atol=1e-4, rtol=1e-4)
        gradients = [torch.autograd.grad(m.square().mean(), x, retain_graph=True)[0] for m in maps]
        torch.testing.assert_close(*gradients, atol=1e-4 * float(gradients[1].abs().max()), rtol=1e-3)


def test_the_plain_step_is_that_of_the_trainer(monkeypatch):
    """From the same weights, in float32, both make the same first update of D."""
    monkeypatch.setattr("t2i.device.computes_bfloat16", lambda device: False)
    g = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 64, 64, generator=g) * 2 - 1
    h, wrong, z = (torch.randn(*shape, generator=g) for shape in ((4, 1024), (4, 1024), (6, 100)))
    config = GanTraining("", "", "", width=4, diversity=0, information=0)
    trainer = Trainer(config, 1024, "cpu", (x, x.flip(0)))
    step, networks = training.plain_step(4, "cpu")
    networks[0].load_state_dict(trainer.generator.state_dict())
    networks[1].load_state_dict(trainer.discriminator.state_dict())
    trainer.step(x, h, wrong, z, epoch=0)
    step(x, h, wrong, z)
    pairs = zip(trainer.discriminator.parameters(), networks[1].parameters())
    differences = torch.cat([(a - b).flatten() for a, b in pairs]) / config.lr  # Adam's first step is ± lr
    assert (differences.abs() < 0.01).float().mean() > 0.99
