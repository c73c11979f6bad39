"""A classifier taught from scratch on a data set's own photos: a judge of pictures that has never seen ImageNet.

A generator taught by heads on ImageNet features comes close to photos in such features without equally better
pictures (Kynkäänniemi et al., arXiv 2203.06026), so distances are measured in the features of this one, too.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from tqdm import tqdm

from ..data import imagefolder
from ..data.augment import recolour
from ..data.cache import digest, kept
from ..data.corpus import crops
from ..device import best_device, half_precision

SIZE = 64  # pixels along a side of what it sees
LARGE = 72  # of the photos that crops are taken from
HELD_OUT = 0.15  # of each class
EPOCHS, BATCH, LR, DECAY = 30, 64, 3e-3, 0.05
SMOOTHING = 0.1  # of the labels
CHANNELS = (32, 64, 128, 256)  # at 32×32, 16×16, 8×8 and 4×4


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016): (B, A, S, S) to (B, C, S, S), or half of S if A is not C."""

    def __init__(self, a: int, c: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(a, c, 3, 1 if a == c else 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c),
        )  # fmt: skip
        shorter = nn.AvgPool2d(2), nn.Conv2d(a, c, 1, bias=False), nn.BatchNorm2d(c)
        self.shortcut = nn.Identity() if a == c else nn.Sequential(*shorter)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.convolutions(x) + self.shortcut(x))


class Classifier(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 to scores (B, C) of classes; `look` are the features (B, 256) before them."""

    def __init__(self, classes: int, channels: tuple[int, int, int, int] = CHANNELS):
        super().__init__()
        a, b, c, d = channels
        self.look = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, a, 4, 2, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU(),  # 32×32×32
            Block(a, a),  # 32×32×32
            Block(a, b), Block(b, b),  # 16×16×64
            Block(b, c), Block(c, c),  # 8×8×128
            Block(c, d), Block(d, d),  # 4×4×256
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),  # 256
        )  # fmt: skip
        self.classify = nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.look(x))


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained classifier, and what is known of it."""

    network: Classifier
    names: Tensor  # (C,) the `class_id` of each score
    scale: float  # root mean square of the features of training photos: KID is of features divided by it
    held_out: Tensor  # (M,) rows of the photos that it has not seen
    accuracy: float  # on them

    @torch.inference_mode()
    def see(self, images: np.ndarray, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pictures (N, 64, 64, 3) uint8 to features (N, 256), of root mean square near 1, and `class_id`s (N,).

        `among`: the `class_id`s to choose from, if not all.
        """
        device, features, classes = best_device(), [], []
        network = self.network.to(device, memory_format=torch.channels_last).eval()
        allowed = torch.ones(len(self.names), dtype=bool) if among is None else torch.isin(self.names, among)
        for start in range(0, len(images), 128):
            part = torch.from_numpy(np.array(images[start : start + 128])).to(device)
            with half_precision(device):
                seen = network.look(part.permute(0, 3, 1, 2).float() / 127.5 - 1).float()
            features.append(seen.cpu() / self.scale)
            classes.append(self.names[allowed][network.classify(seen).cpu()[:, allowed].argmax(1)])
        return torch.cat(features), torch.cat(classes)


def trained_on(path: str, seed: int = 0) -> TrainedClassifier:
    """The classifier of a data set, of its training and test classes together; trained once and kept in the cache."""
    small, large = imagefolder.read(path, SIZE), imagefolder.read(path, LARGE)
    names, classes = torch.from_numpy(small.classes).unique(return_inverse=True)
    held_out = _held_out(classes, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Classifier(len(names), CHANNELS)
    recipe = (seed, EPOCHS, BATCH, LR, DECAY, SMOOTHING, LARGE, HELD_OUT, str(network), torch.__version__)
    source = digest(small.classes.tolist(), sha256(np.ascontiguousarray(small.images)).hexdigest(), recipe)
    known = torch.ones(len(classes), dtype=bool).index_fill(0, held_out, False).nonzero()[:, 0]

    def train() -> dict[str, Tensor]:
        return _train(network, torch.from_numpy(np.array(large.images)), classes, known, seed)

    network.load_state_dict(kept("classifier", source, train))
    trained = TrainedClassifier(network, names, 1.0, held_out, 0.0)
    features, _ = trained.see(small.images[known[::8]])
    _, guesses = trained.see(small.images[held_out])
    accuracy = (guesses == names[classes[held_out]]).float().mean().item()
    return replace(trained, scale=features.square().mean().sqrt().item(), accuracy=accuracy)


def _held_out(classes: Tensor, seed: int) -> Tensor:
    """Rows (M,) of a share of each of the classes (N,), of at least one photo where there are two or more."""
    g, found = torch.Generator().manual_seed(seed), []
    for one in classes.unique():
        rows = (classes == one).nonzero()[:, 0]
        count = max(1, round(HELD_OUT * len(rows))) if len(rows) > 1 else 0
        found.append(rows[torch.randperm(len(rows), generator=g)[:count]])
    return torch.cat(found).sort().values


def _train(network: Classifier, images: Tensor, classes: Tensor, rows: Tensor, seed: int) -> dict[str, Tensor]:
    """Weights of a network, learnt from these rows of images (N, 72, 72, 3) and classes (N,)."""
    device, g = best_device(), torch.Generator().manual_seed(seed)
    network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=DECAY, fused=True)
    steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps + 1, pct_start=0.2)
    order = (part for _ in range(EPOCHS) for part in rows[torch.randperm(len(rows), generator=g)].split(BATCH))
    bar = tqdm(order, desc="classifier", unit="step", total=steps)
    for part in bar:
        x = _recolour(crops(images, part, SIZE, g), g).to(device)
        with half_precision(device):
            loss = cross_entropy(network(x), classes[part].to(device), label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    return {name: value.cpu() for name, value in network.eval().state_dict().items()}


def _recolour(x: Tensor, g: torch.Generator) -> Tensor:
    saturation, contrast, brightness = torch.rand(3, len(x), 1, 1, 1, generator=g) - 0.5
    return recolour(x, 1 + 0.8 * saturation, 1 + 0.6 * contrast, 0.4 * brightness)
