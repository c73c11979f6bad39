import functools

import pytest
from torch import nn

from t2i.engine.graphs import CAPTURE_BY_DEVICE, CapturedGraph
from tests.generators import tiny_cbn


@pytest.fixture(scope="module", params=["dcgan", "cbn"])
def networks(request, tiny_networks) -> dict[str, nn.Module]:
    """The tiny networks with a generator of either type."""
    return tiny_networks if request.param == "dcgan" else tiny_networks | {"generator": tiny_cbn()}


@pytest.fixture
def replayed_sizes(monkeypatch) -> list[int]:
    """The batch size of each replay of a graph. There are graphs on the CPU, too: a replay calls the function again."""
    sizes = []

    def capture(function, batches):
        def replay(inputs, output):
            sizes.append(len(output))
            output.copy_(function(*inputs))

        outputs = [function(*inputs) for inputs in batches]
        return [CapturedGraph(x, functools.partial(replay, x, y), y) for x, y in zip(batches, outputs)]

    monkeypatch.setitem(CAPTURE_BY_DEVICE, "cpu", capture)
    return sizes
