import copy
import json
import resource
import signal

import pytest
import torch
from torch import nn

from t2i.training.fit import Learner, RunState, run_steps, step_generator


def test_a_learner_does_one_cycle_of_the_learning_rate_and_averages_the_weights():
    """Compared with the same written out, with a resumption in between."""
    torch.manual_seed(0)
    network, x, max_norm = nn.Linear(3, 1), torch.randn(20, 4, 3), 0.1
    plain, average = copy.deepcopy(network), copy.deepcopy(network.state_dict())
    adam = torch.optim.Adam(plain.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, 20, pct_start=0.1)
    learner = Learner(network, torch.optim.Adam(network.parameters(), 1e-2), 20, 0.9, {})
    for step in range(20):
        learner.step(network(x[step]).square().mean(), step, max_norm)
        adam.zero_grad()
        plain(x[step]).square().mean().backward()
        nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
        adam.step()
        schedule.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = {name: average[name].lerp(value, 1 - decay) for name, value in plain.state_dict().items()}
        if step == 10:  # resume, as another process does
            state, network = copy.deepcopy(learner.state_dict()), nn.Linear(3, 1)
            learner = Learner(network, torch.optim.Adam(network.parameters(), 1e-2), 20, 0.9, state)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in learner.ema.state.items())


def test_a_full_disk_raises_its_own_error_and_keeps_the_last_state(tmp_path):
    state = RunState(tmp_path / "state.pt", {}, {}, ())
    state.save(1, {"weights": torch.ones(4)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            state.save(2, {"weights": torch.ones(40_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert RunState(tmp_path / "state.pt", {}, {}, ()).step == 1 and len(list(tmp_path.iterdir())) == 1


def test_random_numbers_depend_on_seed_and_step_alone():
    draws = {torch.rand((), generator=step_generator(seed, step)).item() for seed in range(5) for step in range(5)}
    assert len(draws) == 25
    assert torch.rand((), generator=step_generator(3, 4)) == torch.rand((), generator=step_generator(3, 4))


def test_the_loop_saves_at_intervals_and_at_the_end_and_logs_every_epoch(tmp_path):
    """Seven epochs of two steps, saved after every third; stopped in the fifth and resumed."""
    exported, done_steps = [], []

    def step(i, g, stop_at=None):
        if i == stop_at:
            raise KeyboardInterrupt
        done_steps.append(i)
        return {"loss": float(i)}

    def export(done, cost):
        exported.append(done)
        return {"score": 0.5}

    def run(step):
        state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
        run_steps(state, "test", 14, 6, step, export, lambda: {"weights": torch.ones(1)}, epoch=2)

    with pytest.raises(KeyboardInterrupt):
        run(lambda i, g: step(i, g, stop_at=8))
    run(step)
    assert exported == [6, 12, 14] and done_steps == [*range(8), *range(6, 14)]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 4, 5, 6, 7]
    assert [line["epoch"] for line in log if "score" in line] == [3, 6, 7]
    state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
    assert state.step == 14 and state.parts.keys() == {"weights", "seconds", "hardware"}
