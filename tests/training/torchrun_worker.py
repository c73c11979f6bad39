"""What torchrun starts in `test_distributed.py`: one step whose gradients are saved, then trainings of small networks.

Arguments: the file for the gradients, data, text encoder and folder of the training.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch

from t2i.__main__ import main
from t2i.data import imagefolder
from t2i.data.augment import to_view
from t2i.data.corpus import load_corpus
from t2i.locate import Checkpoint
from t2i.models import CBNGeneratorConfig
from t2i.training import projected
from t2i.training.distributed import Processes, process_group, told_end_of_others
from t2i.training.fit import step_generator

SAVE_EVERY, KILLED_AT, STEPS = 2, 3, 4  # steps
NARROW = (8,) * 8  # channels of G
PAIRS = projected.Corpus.pairs


def make_small() -> None:
    projected.CBNGeneratorConfig = lambda **sizes: CBNGeneratorConfig(channels=NARROW, **sizes)
    projected.Corpus.pairs = lambda corpus, count=0: PAIRS(corpus, 32)
    projected.SAVE_EVERY, projected.STATISTICS_BATCHES = SAVE_EVERY, 2


def train(data: str, text: str, out: str, batch: int) -> int:
    """A training whose second process is killed once, in a step after the first state was saved."""
    step = projected.Trainer.step

    def step_or_die(trainer, batch, i):
        if i == KILLED_AT and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            print("the second process is killed", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer, batch, i)

    options = ["--data", data, "--text", text, "--out", out, "--size", "32", "--steps", str(STEPS)]
    with patch.object(projected.Trainer, "step", step_or_die):
        return main(["train", "projected", *options, "--batch", str(batch)])


@patch("t2i.device.computes_bfloat16", lambda device: False)
@patch.multiple(
    projected,
    computes_bfloat16=lambda device: False,
    diff_augment=lambda pictures, pairs=0: (to_view(pictures), to_view(pictures)),
    mutual_information_loss=lambda estimate, *_: 0 * estimate.sum(),
)
def gradients(data: str, text: str, processes: Processes) -> dict[str, torch.Tensor]:
    """The gradients of all weights in the first step, on this process's part of a batch.

    Batch norm is in evaluation mode, and nothing is drawn at random. In the loss of Q, the statistics are those of each
    process's own part: it is left out.
    """
    config = projected.ProjectedTraining(data, text, "", objective="gan-cls", batch=16, size=32, lr_d=0.0)
    encoder = Checkpoint(text).read("text_encoder")["text_encoder"]
    corpus = load_corpus(imagefolder.read(data, 36), encoder, 32, 1, "cpu")
    trainer = projected.Trainer(config, corpus, "cpu", processes)
    trainer.generator.eval()
    whole = projected.Batch.sample(corpus, config, 100, step_generator(0, 0))
    trainer.step(part_of(whole, processes), 0)
    networks = {"g": trainer.generator, "d": trainer.discriminator, "pixels": trainer.pixels}
    return {
        f"{name}.{key}": weight.grad
        for name, network in networks.items()
        for key, weight in network.named_parameters()
        if weight.grad is not None
    }


def part_of(batch: projected.Batch, processes: Processes) -> projected.Batch:
    """Every n-th photo, fake without a caption, and pair."""

    def own(x: torch.Tensor) -> torch.Tensor:
        return x[processes.rank :: processes.count]

    def own_fakes(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([own(part) for part in x.split([batch.uncaptioned, batch.pairs, batch.pairs])])

    photos = (own(x) for x in (batch.photos, batch.matching, batch.mismatching))
    return projected.Batch(*photos, own_fakes(batch.h), own_fakes(batch.z), batch.pairs // processes.count, 0)


def run(file: str, data: str, text: str, out: str) -> int:
    """One start of torchrun serves all tests, because a process takes seconds to start.

    Returns the exit code of a training whose batch does not divide, the last of what is run.
    """

    @contextmanager
    def joined() -> Iterator[Processes]:
        with told_end_of_others():
            yield group

    with process_group() as group, patch.object(projected, "process_group", joined):
        if not os.path.exists(file):
            result = gradients(data, text, group)
            if group.is_first:
                torch.save(result, file)
        return train(data, text, out, batch=8) or train(data, text, out, batch=10 * group.count - 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_small()
    sys.exit(run(*sys.argv[1:]))
