"""Train the text encoder φ against frozen image features, before any GAN (arXiv 1605.05395, section 3).

The loss is a symmetric, class-aware contrastive form of structured joint embedding: the paper asks that
caption and picture of one class score higher than any other pairing, by a hinge; here by cross-entropy.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import store
from ..data import imagefolder
from ..data.features import view_features
from ..device import best_device, half_precision
from ..metrics.retrieval import by_captions
from ..models import ImageProjection, TextEncoder, encode
from ..models.text_encoder import embed
from ..vocabulary import common
from .fit import Learning, State, keep_memory, log, random, shown


@dataclass(frozen=True)
class TextTraining:
    """Everything that decides a run of `train text`."""

    data: str
    out: str
    epochs: int = 30
    batch: int = 128
    rate: float = 1e-3
    dropout: float = 0.2  # of image features
    decay: float = 0.99  # of the averaged weights
    size: int = 144
    seed: int = 0


class JointEmbedding(nn.Module):
    """Text encoder, image projection and the scale of their cosine: what `train text` optimises."""

    def __init__(self, dropout: float):
        super().__init__()
        self.text = TextEncoder()
        self.image = ImageProjection(dropout=dropout)
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    def forward(self, codes: Tensor, image_features: Tensor) -> Tensor:
        """Scaled cosines (B, B), captions by pictures."""
        texts, images = embed(self.text, codes), self.image(image_features)
        return self.log_scale.exp().clamp(max=100) * (texts @ images.T) / texts.shape[1]


def contrastive_loss(scores: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of scores (B, B), captions by pictures, both ways; every pair of one class (B,) is right."""
    same = (classes[:, None] == classes).float()
    wanted = same / same.sum(1, keepdim=True)
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(scores, wanted) + cross_entropy(scores.T, wanted)) / 2


def train(config: TextTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, with `text_encoder.safetensors` in it."""
    out = Path(config.out)
    device = best_device()
    keep_memory()
    corpus = imagefolder.read(config.data, config.size)
    rows = torch.from_numpy(corpus.training(least=2))
    state = State(out / "state.pt", asdict(config), {"data": corpus.digest()}, ("data", "out"))
    views = view_features(corpus.images).to(device)
    codes = [encode(list(captions)) for captions in corpus.captions]
    classes = torch.from_numpy(corpus.classes)

    torch.manual_seed(config.seed)
    model = JointEmbedding(config.dropout).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), config.rate, weight_decay=1e-2)
    per_epoch = max(1, len(rows) // config.batch)
    first, total = state.step, config.epochs * per_epoch
    learning = Learning(model, optimizer, total, config.decay, state.parts)

    bar = tqdm(range(first, total), desc="text encoder", unit="step", initial=first, total=total)
    for step in bar:
        epoch, place = divmod(step, per_epoch)
        order = rows[torch.randperm(len(rows), generator=random(config.seed, epoch))]
        picked = order[place * config.batch : (place + 1) * config.batch]
        g = random(config.seed, step)
        caption = torch.stack([codes[i][torch.randint(len(codes[i]), (), generator=g)] for i in picked])
        view = torch.randint(len(views), (len(picked),), generator=g)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # dropout draws from the global generator
        with half_precision(device):
            scores = model(caption.to(device), views[view, picked].float())
        loss = contrastive_loss(scores.float(), classes[picked].to(device))
        learning.step(loss, step, longest=1.0)
        bar.set_postfix(loss=f"{loss.item():.3f}")
        if place == per_epoch - 1:
            state.save(step + 1, learning.parts())
            figures = _measure(config, learning.average.state, codes, corpus, views, device)
            log(out, epoch=epoch + 1, loss=loss.item(), **figures)
            bar.write(json.dumps({"epoch": epoch + 1, "loss": loss.item()} | figures))
    _export(config, learning.average.state, common(caption for i in rows for caption in corpus.captions[i]))
    return out


@torch.inference_mode()
def _measure(config, average, codes, corpus, views, device) -> dict[str, float]:
    """Zero-shot retrieval on the test split, as it is and centred; pictures are seen through the mean of the views."""
    rows = corpus.rows("test")
    if len(rows) == 0:
        return {}
    model = JointEmbedding(0.0).to(device).eval()
    model.load_state_dict(average)
    images = model.image(views.float()).mean(0).cpu()
    texts = embed(model.text, torch.cat([codes[i] for i in rows]).to(device), 128).cpu()
    known = corpus.rows("train", "val")
    sample = torch.cat([codes[i][:1] for i in known[:: max(1, len(known) // 2000)]]).to(device)
    classes, others = torch.from_numpy(corpus.classes[rows]), embed(model.text, sample, 128).cpu()
    return by_captions(images[rows], classes, texts, [len(codes[i]) for i in rows], (images[known], others))


def _export(config: TextTraining, average: dict[str, Tensor], words: list[str]) -> None:
    model = JointEmbedding(0.0)
    model.load_state_dict(average)
    store.save(
        Path(config.out),
        {"text_encoder": model.text, "image_projection": model.image},
        {
            "words": " ".join(words),
            "training": {"text_encoder": shown(config)},
        },
    )
