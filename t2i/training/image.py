"""Train the image encoder: distil frozen features and their projection into a small network for the app.

The teacher is the image side of `train text`, EfficientNet-lite0 and its projection, and gets the large photo. The
student gets 64×64 pixels and learns the same embedding, so that the app needs no ImageNet network.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from .. import store
from ..data import imagefolder
from ..data.cache import digest
from ..data.corpus import photo_size, random_crops
from ..data.features import view_features
from ..data.imagefolder import CaptionedImages
from ..device import best_device, half_precision, to_channels_last
from ..locate import Checkpoint
from ..metrics.retrieval import caption_retrieval
from ..models import ImageEncoder, ImageEncoderConfig, TextEncoder, encode
from ..models.text_encoder import embed
from .fit import Learner, RunState, keep_freed_memory, public_config, run_steps

SAVE_EVERY = 5  # epochs
CALIBRATION_PHOTOS = 2000


@dataclass(frozen=True)
class ImageTraining:
    """The configuration of `train image`."""

    data: str
    text: str  # the folder of a run of `train text`: text encoder and image projection
    out: str  # may be the model's own folder
    epochs: int = 60
    batch: int = 64
    lr: float = 2e-3
    width: int = 48
    size: int = 144  # of the photos that the teacher gets, in pixels along a side
    ema_decay: float = 0.99  # of the averaged weights, which are those that are saved
    seed: int = 0


def train(config: ImageTraining) -> Path:
    """Train, or resume the run in `config.out`; returns that folder, with `image_encoder.safetensors` in it."""
    out, device = Path(config.out), best_device()
    keep_freed_memory()
    networks = Checkpoint(config.text).read("text_encoder", "image_projection")
    text, projection = networks["text_encoder"], networks["image_projection"]
    dataset = imagefolder.read(config.data, photo_size(ImageEncoderConfig().size))
    rows = torch.from_numpy(dataset.training_rows())
    sources = {"data": dataset.digest(), "text": digest(text, projection)}
    state = RunState(out / "image-state.pt", asdict(config), sources, ("data", "text", "out"))
    images = torch.from_numpy(np.array(dataset.images)).to(device)
    with torch.inference_mode():
        features = view_features(imagefolder.read(config.data, config.size).images).float()
        targets = projection(features).mean(0).to(device)  # (N, E)

    torch.manual_seed(config.seed)
    network = to_channels_last(
        ImageEncoder(ImageEncoderConfig(width=config.width, embedding=text.config.embedding)), device
    )
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=1e-2, fused=True)
    per_epoch = max(1, len(rows) // config.batch)
    total = config.epochs * per_epoch
    learner = Learner(network, optimizer, total, config.ema_decay, state.parts)

    def step(i: int, g: torch.Generator) -> dict[str, float]:
        picked = rows[torch.randperm(len(rows), generator=g)[: config.batch]]
        with half_precision(device):
            embeddings = network(random_crops(images, picked, network.config.size, g))
        loss = (1 - cosine_similarity(embeddings.float(), targets[picked])).mean()
        return learner.step(loss, i)

    def export(done: int, cost: dict) -> dict[str, float]:
        return _export(config, cost, learner.ema.state, images, targets, text, dataset)

    run_steps(state, "image encoder", total, SAVE_EVERY * per_epoch, step, export, learner.state_dict, per_epoch)
    return out


@torch.inference_mode()
def _export(
    config: ImageTraining,
    cost: dict,
    weights: dict[str, Tensor],
    images: Tensor,
    targets: Tensor,
    text: TextEncoder,
    dataset: CaptionedImages,
) -> dict[str, float]:
    """Write the network with its averaged weights; returns zero-shot retrieval on the test split, and the teacher's."""
    network = (
        ImageEncoder(ImageEncoderConfig(width=config.width, embedding=text.config.embedding)).to(images.device).eval()
    )
    network.load_state_dict(weights)
    classes, side = torch.from_numpy(dataset.classes), network.config.size
    start = (images.shape[1] - side) // 2

    def embed_images(rows: Tensor) -> Tensor:
        x = images[rows, start : start + side, start : start + side].permute(0, 3, 1, 2)
        return torch.cat([network(part / 127.5 - 1) for part in x.split(256)]).cpu()

    def embed_captions(captions: list[str]) -> Tensor:
        return embed(text, encode(captions, text.config.length), 128)

    rows = torch.from_numpy(dataset.rows("train", "val"))
    rows = rows[:: max(1, len(rows) // CALIBRATION_PHOTOS)]
    _calibrate(network, embed_images(rows), embed_captions([dataset.captions[i][0] for i in rows]), classes[rows])
    rows = torch.from_numpy(dataset.rows("test"))
    metrics: dict[str, float] = {}
    if len(rows):
        texts = embed_captions([caption for i in rows for caption in dataset.captions[i]])
        counts = [len(dataset.captions[i]) for i in rows]
        for prefix, embeddings in (("", embed_images(rows)), ("teacher_", targets[rows].cpu())):
            retrieval = caption_retrieval(embeddings, classes[rows], texts, counts)
            metrics |= {f"{prefix}{name}": round(value, 4) for name, value in retrieval.items()}
    record = {"training": {"image_encoder": public_config(config) | metrics | cost}}
    store.save(Path(config.out), {"image_encoder": network}, record)
    return metrics


def _calibrate(network: ImageEncoder, x: Tensor, h: Tensor, classes: Tensor) -> None:
    """Fit `match_probability` to embeddings of photos x and captions h, both (N, E): their own and of other classes."""
    shifted = torch.arange(len(classes)).roll(len(classes) // 2)
    mismatching = classes != classes[shifted]
    if not mismatching.any():
        return
    from sklearn.linear_model import LogisticRegression  # takes seconds, which no other training needs

    cosines = torch.cat([cosine_similarity(x, h), cosine_similarity(x, h[shifted])[mismatching]])
    matches = torch.arange(len(cosines)) < len(x)
    fitted = LogisticRegression(class_weight="balanced", C=1e6).fit(cosines[:, None].numpy(), matches.numpy())
    network.calibrate.weight.data.fill_(fitted.coef_[0, 0])
    network.calibrate.bias.data.fill_(fitted.intercept_[0])
