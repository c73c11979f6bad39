"""What the trainings share."""

import copy

import pytest
import torch
from torch import nn

from t2i.training.run import Learning, kept


def test_what_is_kept_is_made_once_for_each_source(tmp_path):
    asked, file = [], tmp_path / "kept.pt"

    def made(source):
        return kept(file, source, lambda: asked.append(source) or torch.full((2,), len(asked)))

    assert made("one").tolist() == made("one").tolist() == [1, 1]
    assert made("another").tolist() == [2, 2]
    assert asked == ["one", "another"]


@pytest.mark.parametrize("content", [b"", b"half a"])
def test_what_is_broken_is_made_anew(tmp_path, content):
    file = tmp_path / "kept.pt"
    file.write_bytes(content)
    for _ in range(2):
        assert kept(file, "one", lambda: torch.zeros(2)).tolist() == [0, 0]


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
