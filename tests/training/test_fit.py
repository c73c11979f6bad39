import copy
import json
import resource
import signal

import pytest
import torch
from torch import nn

from t2i.training.fit import Learner, Log, RunState, run_steps, step_generator


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
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5, 6, 7]  # the fourth was logged twice
    assert {line["training"] for line in log} == {"test"}
    assert [line["epoch"] for line in log if "score" in line] == [3, 6, 7]
    state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
    assert state.step == 14 and state.parts.keys() == {"weights", "seconds", "hardware"}


@pytest.fixture
def handlers():
    """SIGINT and SIGTERM raise exceptions, wherever the tests run; a function that sets other handlers."""

    def terminate(number, frame):
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    yield signal.signal
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
@pytest.mark.parametrize("stop_at", [3, 5, 9])
def test_a_signal_stops_after_the_step_with_its_state_saved(tmp_path, handlers, number, error, stop_at):
    """Step 5 is the last before a save, step 9 the last of all."""
    done_steps = []

    def run(stop_at=None):
        def step(i, g):
            if i == stop_at:
                signal.raise_signal(number)
            done_steps.append(i)
            return {"loss": float(i)}

        state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
        run_steps(state, "test", 10, 6, step, lambda done, cost: {}, lambda: {}, epoch=2)

    with pytest.raises(error):
        run(stop_at)
    assert RunState(tmp_path / "state.pt", {"seed": 0}, {}, ()).step == stop_at + 1
    run()
    assert done_steps == [*range(10)]  # none is done twice
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_signal_stops_at_once(tmp_path, handlers):
    def step(i, g):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the step goes on")

    state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
    with pytest.raises(KeyboardInterrupt):
        run_steps(state, "test", 10, 6, step, lambda done, cost: {}, lambda: {})
    assert not (tmp_path / "state.pt").exists()


def test_a_signal_that_is_ignored_stays_ignored(tmp_path, handlers):
    """As SIGINT is in a job in the background."""
    handlers(signal.SIGINT, signal.SIG_IGN)
    state = RunState(tmp_path / "state.pt", {"seed": 0}, {}, ())
    step = lambda i, g: signal.raise_signal(signal.SIGINT) or {}  # noqa: E731
    run_steps(state, "test", 10, 6, step, lambda done, cost: {}, lambda: {})
    assert RunState(tmp_path / "state.pt", {"seed": 0}, {}, ()).step == 10
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_log_keeps_the_lines_of_other_trainings_and_drops_a_cut_one(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        {"epoch": 9},  # of an earlier version
        {"training": "gan", "epoch": 1},
        {"training": "style encoder", "step": 900},
        {"training": "gan", "epoch": 2},
        {"training": "gan", "epoch": 3},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"training": "gan", "epo')
    log = Log(path, "gan", {"epoch": 10}, 25)
    log.append(30, {"loss": 0.5})
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept == [*lines[:4], {"training": "gan", "epoch": 3, "loss": 0.5}]
    Log(path, "gan", {"epoch": 10}, 0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [lines[0], lines[2]]
