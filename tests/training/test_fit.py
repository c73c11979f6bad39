"""What the trainings share."""

import copy
import resource
import signal

import pytest
import torch
from torch import nn

from t2i.data.cache import cache, kept
from t2i.training.fit import Learning, State


def test_what_is_kept_is_made_once_for_each_source():
    asked = []

    def made(source):
        return kept("made", source, lambda: asked.append(source) or torch.full((2,), len(asked)))

    assert made("one").tolist() == made("one").tolist() == [1, 1]
    assert made("another").tolist() == [2, 2]
    assert asked == ["one", "another"]


@pytest.mark.parametrize("content", [b"", b"half a"])
def test_what_is_broken_is_made_anew(content):
    kept("made", "one", lambda: torch.ones(2))
    [file] = cache().iterdir()
    file.write_bytes(content)
    for _ in range(2):
        assert kept("made", "one", lambda: torch.zeros(2)).tolist() == [0, 0]


def test_learning_is_one_cycle_of_the_rate_and_an_average_of_the_weights():
    """Beside the same written out, whose arithmetic a state of an earlier version goes on with."""
    torch.manual_seed(0)
    network, x, longest = nn.Linear(3, 1), torch.randn(20, 4, 3), 0.1
    plain, average = copy.deepcopy(network), copy.deepcopy(network.state_dict())
    adam = torch.optim.Adam(plain.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, 20, pct_start=0.1)
    learning = Learning(network, torch.optim.Adam(network.parameters(), 1e-2), 20, 0.9, {})
    for step in range(20):
        learning.step(network(x[step]).square().mean(), step, longest)
        adam.zero_grad()
        plain(x[step]).square().mean().backward()
        nn.utils.clip_grad_norm_(plain.parameters(), longest)
        adam.step()
        schedule.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = {name: average[name].lerp(value, 1 - decay) for name, value in plain.state_dict().items()}
        if step == 10:  # goes on in another process
            parts, network = copy.deepcopy(learning.parts()), nn.Linear(3, 1)
            learning = Learning(network, torch.optim.Adam(network.parameters(), 1e-2), 20, 0.9, parts)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in learning.average.state.items())


def test_a_full_disk_is_told_as_such_and_the_last_state_is_kept(tmp_path):
    state = State(tmp_path / "state.pt", {}, {}, ())
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
    assert State(tmp_path / "state.pt", {}, {}, ()).step == 1 and len(list(tmp_path.iterdir())) == 1
