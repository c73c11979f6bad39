"""Train the image encoder: frozen features in the joint space, distilled into a network that the app can carry.

The teacher is `train text`'s image side: EfficientNet-lite0 and its projection, on the large photo. The student sees
64×64 pixels and learns the same embedding; both sides of the joint space then need this package alone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from .. import store
from ..data import imagefolder
from ..data.cache import digest
from ..data.corpus import SCALED_SIZE, crops
from ..data.features import view_features
from ..device import best_device, half_precision
from ..locate import Checkpoint
from ..metrics.retrieval import by_captions
from ..models import ImageEncoder, ImageEncoderConfig, TextEncoder, encode
from ..models.text_encoder import embed
from .fit import Learning, State, keep_memory, log, random, shown

SAVE_EVERY = 5  # epochs
CALIBRATED = 2000  # training pictures that `match` is fitted to


@dataclass(frozen=True)
class ImageTraining:
    """Everything that decides a run of `train image`."""

    data: str
    text: str  # the folder of a run of `train text`: text encoder and image projection
    out: str  # the model's own folder will do
    epochs: int = 60
    batch: int = 64
    rate: float = 2e-3
    width: int = 48
    size: int = 144  # of the photos that the teacher sees
    decay: float = 0.99  # of the averaged weights
    seed: int = 0


def train(config: ImageTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, with `image_encoder.safetensors` in it."""
    out, device = Path(config.out), best_device()
    keep_memory()
    text, projection = Checkpoint(config.text).read("text_encoder", "image_projection").values()
    corpus = imagefolder.read(config.data, SCALED_SIZE)
    rows = torch.from_numpy(corpus.training(least=2))
    sources = {"data": corpus.digest(), "text": digest(text, projection)}
    state = State(out / "image-state.pt", asdict(config), sources, ("data", "text", "out"))
    images = torch.from_numpy(np.array(corpus.images)).to(device)
    with torch.inference_mode():
        views = view_features(imagefolder.read(config.data, config.size).images).float()
        taught = projection(views).mean(0).to(device)  # (N, 1024)

    torch.manual_seed(config.seed)
    network = ImageEncoder(ImageEncoderConfig(width=config.width)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=1e-2, fused=True)
    per_epoch = max(1, len(rows) // config.batch)
    first, total = state.step, config.epochs * per_epoch
    learning = Learning(network, optimizer, total, config.decay, state.parts)

    bar = tqdm(range(first, total), desc="image encoder", unit="step", initial=first, total=total)
    for step in bar:
        g = random(config.seed, step)
        picked = rows[torch.randperm(len(rows), generator=g)[: config.batch]]
        with half_precision(device):
            seen = network(crops(images, picked, network.config.size, g))
        loss = (1 - cosine_similarity(seen.float(), taught[picked])).mean()
        learning.step(loss, step)
        bar.set_postfix(loss=f"{loss.item():.3f}")
        epoch, place = divmod(step + 1, per_epoch)
        if place == 0 and (epoch % SAVE_EVERY == 0 or epoch == config.epochs):
            figures = _export(config, learning.average.state, images, taught, text, corpus)
            log(out, epoch=epoch, loss=loss.item(), **figures)
            state.save(step + 1, learning.parts())
            bar.write(f"epoch {epoch}: {figures}")
    return out


@torch.inference_mode()
def _export(
    config: ImageTraining,
    average: dict[str, Tensor],
    images: Tensor,
    taught: Tensor,
    text: TextEncoder,
    corpus: imagefolder.Captioned,
) -> dict[str, float]:
    """Write the averaged network; returns its zero-shot retrieval beside its teacher's, on the test split."""
    network = ImageEncoder(ImageEncoderConfig(width=config.width)).to(images.device).eval()
    network.load_state_dict(average)
    classes, side = torch.from_numpy(corpus.classes), network.config.size
    start = (SCALED_SIZE - side) // 2

    def see(rows: Tensor) -> Tensor:
        x = images[rows, start : start + side, start : start + side].permute(0, 3, 1, 2)
        return torch.cat([network(part / 127.5 - 1) for part in x.split(256)]).cpu()

    def hear(captions: list[str]) -> Tensor:
        return embed(text, encode(captions, text.config.length), 128)

    known = torch.from_numpy(corpus.rows("train", "val"))
    known = known[:: max(1, len(known) // CALIBRATED)]
    _calibrate(network, see(known), hear([corpus.captions[i][0] for i in known]), classes[known])
    rows, figures = torch.from_numpy(corpus.rows("test")), {}
    if len(rows):
        seen, texts = see(rows), hear([c for i in rows for c in corpus.captions[i]])
        counts = [len(corpus.captions[i]) for i in rows]
        for name, embeddings in (("", seen), ("teacher_", taught[rows].cpu())):
            found = by_captions(embeddings, classes[rows], texts, counts)
            figures |= {f"{name}{measure}": round(value, 4) for measure, value in found.items()}
    record = {"training": {"image_encoder": shown(config) | figures}}
    store.save(Path(config.out), {"image_encoder": network}, record)
    return figures


def _calibrate(network: ImageEncoder, seen: Tensor, h: Tensor, classes: Tensor) -> None:
    """Fit `match` to pictures' embeddings (N, 1024) with their captions' and with captions of another class."""
    other = torch.arange(len(classes)).roll(len(classes) // 2)
    wrong = classes != classes[other]
    if not wrong.any():
        return
    cosines = torch.cat([cosine_similarity(seen, h), cosine_similarity(seen, h[other])[wrong]])
    right = torch.arange(len(cosines)) < len(seen)
    fitted = LogisticRegression(class_weight="balanced", C=1e6).fit(cosines[:, None].numpy(), right.numpy())
    network.calibrate.weight.data.fill_(fitted.coef_[0, 0])
    network.calibrate.bias.data.fill_(fitted.intercept_[0])
