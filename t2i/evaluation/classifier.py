"""A classifier trained from scratch on a data set's own photos, to judge pictures without ImageNet features.

A generator trained against ImageNet features comes close to photos in such features without equally better pictures
(Kynkäänniemi et al., arXiv 2203.06026). Therefore `evaluate` measures distances in this classifier's features, too.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from tqdm import tqdm

from ..data import imagefolder
from ..data.augment import VIEW_SIZE, recolour
from ..data.cache import cached, digest
from ..data.corpus import random_crops
from ..device import best_device, half_precision, to_channels_last

INPUT_SIZE = VIEW_SIZE  # pixels along a side of its input
PHOTO_SIZE = INPUT_SIZE * 9 // 8  # pixels along a side of the photos from which crops are taken in training
HELD_OUT_SHARE = 0.15  # of the photos of each class
EPOCHS, BATCH_SIZE, LR, WEIGHT_DECAY = 30, 64, 3e-3, 0.05
LABEL_SMOOTHING = 0.1
CHANNELS = (32, 64, 128, 256)  # at 32×32, 16×16, 8×8 and 4×4


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016): (B, C, S, S) to (B, D, S, S), or to half of S if C is not D."""

    def __init__(self, c: int, d: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(c, d, 3, 1 if c == d else 2, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU(),
            nn.Conv2d(d, d, 3, 1, 1, bias=False), nn.BatchNorm2d(d),
        )  # fmt: skip
        downsample = nn.AvgPool2d(2), nn.Conv2d(c, d, 1, bias=False), nn.BatchNorm2d(d)
        self.shortcut = nn.Identity() if c == d else nn.Sequential(*downsample)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.convolutions(x) + self.shortcut(x))


class Classifier(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 to logits (B, C) of classes; `features` maps them to features (B, 256)."""

    def __init__(self, num_classes: int, channels: tuple[int, int, int, int] = CHANNELS):
        super().__init__()
        a, b, c, d = channels
        self.features = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, a, 4, 2, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU(),  # 32×32×32
            ResidualBlock(a, a),  # 32×32×32
            ResidualBlock(a, b), ResidualBlock(b, b),  # 16×16×64
            ResidualBlock(b, c), ResidualBlock(c, c),  # 8×8×128
            ResidualBlock(c, d), ResidualBlock(d, d),  # 4×4×256
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),  # 256
        )  # fmt: skip
        self.head = nn.Linear(d, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained classifier, and its accuracy on photos held out from its training."""

    network: Classifier
    class_ids: Tensor  # (C,) the `class_id` of each logit
    feature_scale: float  # root mean square of the features of training photos, by which features are divided
    held_out: Tensor  # (M,) rows of the photos that were held out
    accuracy: float  # on them

    @torch.inference_mode()
    def predict(self, images: np.ndarray, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pictures (N, 64, 64, 3) uint8 to features (N, 256), of root mean square near 1, and `class_id`s (N,).

        `allowed`: the `class_id`s to choose from; all if it is None.
        """
        device, features, predictions = best_device(), [], []
        network = to_channels_last(self.network, device).eval()
        mask = torch.ones(len(self.class_ids)).bool() if allowed is None else torch.isin(self.class_ids, allowed)
        for start in range(0, len(images), 128):
            batch = torch.from_numpy(np.array(images[start : start + 128])).to(device)
            with half_precision(device):
                x = network.features(batch.permute(0, 3, 1, 2).float() / 127.5 - 1).float()
            features.append(x.cpu() / self.feature_scale)
            predictions.append(self.class_ids[mask][network.head(x).cpu()[:, mask].argmax(1)])
        return torch.cat(features), torch.cat(predictions)


def load_or_train(path: str, seed: int = 0) -> TrainedClassifier:
    """The classifier of a data set, for its training and test classes together; trained once, then cached."""
    small, large = imagefolder.read(path, INPUT_SIZE), imagefolder.read(path, PHOTO_SIZE)
    class_ids, labels = torch.from_numpy(small.classes).unique(return_inverse=True)
    held_out = _held_out(labels, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Classifier(len(class_ids), CHANNELS)
    hyperparameters = (seed, EPOCHS, BATCH_SIZE, LR, WEIGHT_DECAY, LABEL_SMOOTHING, PHOTO_SIZE, HELD_OUT_SHARE)
    pixels = sha256(np.ascontiguousarray(small.images).data).hexdigest()
    source = digest(small.classes.tolist(), pixels, (*hyperparameters, str(network), torch.__version__))
    training_rows = torch.ones(len(labels)).bool().index_fill(0, held_out, False).nonzero()[:, 0]

    def train() -> dict[str, Tensor]:
        return _train(network, torch.from_numpy(np.array(large.images)), labels, training_rows, seed)

    network.load_state_dict(cached("classifier", source, train))
    trained = TrainedClassifier(network, class_ids, 1.0, held_out, 0.0)
    features, _ = trained.predict(small.images[training_rows[::8]])
    _, predictions = trained.predict(small.images[held_out])
    accuracy = (predictions == class_ids[labels[held_out]]).float().mean().item()
    return replace(trained, feature_scale=features.square().mean().sqrt().item(), accuracy=accuracy)


def _held_out(labels: Tensor, seed: int) -> Tensor:
    """Rows (M,) of a share of each class of the labels (N,): at least one photo of a class of two or more."""
    g, held_out = torch.Generator().manual_seed(seed), []
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        count = max(1, round(HELD_OUT_SHARE * len(rows))) if len(rows) > 1 else 0
        held_out.append(rows[torch.randperm(len(rows), generator=g)[:count]])
    return torch.cat(held_out).sort().values


def _train(network: Classifier, images: Tensor, labels: Tensor, rows: Tensor, seed: int) -> dict[str, Tensor]:
    """Weights of a network, trained on these rows of images (N, 72, 72, 3) and labels (N,)."""
    device, g = best_device(), torch.Generator().manual_seed(seed)
    to_channels_last(network, device).train()
    optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=WEIGHT_DECAY, fused=True)
    steps = EPOCHS * -(-len(rows) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps + 1, pct_start=0.2)
    batches = (batch for _ in range(EPOCHS) for batch in rows[torch.randperm(len(rows), generator=g)].split(BATCH_SIZE))
    bar = tqdm(batches, desc="classifier", unit="step", total=steps)
    for batch in bar:
        x = _random_recolour(random_crops(images, batch, INPUT_SIZE, g), g).to(device)
        with half_precision(device):
            loss = cross_entropy(network(x), labels[batch].to(device), label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    return {name: value.cpu() for name, value in network.eval().state_dict().items()}


def _random_recolour(x: Tensor, g: torch.Generator) -> Tensor:
    saturation, contrast, brightness = torch.rand(3, len(x), 1, 1, 1, generator=g) - 0.5
    return recolour(x, 1 + 0.8 * saturation, 1 + 0.6 * contrast, 0.4 * brightness)
