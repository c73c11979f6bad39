"""Train the text encoder φ against frozen image features, before any GAN (arXiv 1605.05395, section 3).

The loss is a symmetric, class-aware contrastive form of structured joint embedding. The paper demands with a hinge loss
that a caption and a picture of one class score higher than any other pair; here it is cross-entropy.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import store
from ..data import imagefolder
from ..data.features import view_features
from ..data.imagefolder import CaptionedImages
from ..device import best_device, half_precision
from ..metrics.retrieval import caption_retrieval
from ..models import ImageProjection, TextEncoder, encode
from ..models.text_encoder import embed
from ..vocabulary import frequent_words
from .fit import Learner, RunState, keep_freed_memory, public_config, run_steps, step_generator


@dataclass(frozen=True)
class TextTraining:
    """The configuration of `train text`."""

    data: str
    out: str
    epochs: int = 30
    batch: int = 128
    lr: float = 1e-3
    dropout: float = 0.2  # of image features
    ema_decay: float = 0.99  # of the averaged weights, which are those that are saved
    size: int = 144  # of the photos, in pixels along a side
    seed: int = 0


class JointEmbedding(nn.Module):
    """What `train text` optimises: text encoder, image projection and the scale of their cosine."""

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
    """Cross-entropy of scores (B, B), captions by pictures, both ways; every pair of one class (B,) matches."""
    same = (classes[:, None] == classes).float()
    target = same / same.sum(1, keepdim=True)
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2


def train(config: TextTraining) -> Path:
    """Train, or resume the run in `config.out`; returns that folder, with `text_encoder.safetensors` in it."""
    out, device = Path(config.out), best_device()
    keep_freed_memory()
    dataset = imagefolder.read(config.data, config.size)
    rows = torch.from_numpy(dataset.training_rows(min_classes=2))
    state = RunState(out / "state.pt", asdict(config), {"data": dataset.digest()}, ("data", "out"))
    features = view_features(dataset.images).to(device)
    codes = [encode(list(captions)) for captions in dataset.captions]
    classes = torch.from_numpy(dataset.classes)

    torch.manual_seed(config.seed)
    model = JointEmbedding(config.dropout).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=1e-2)
    per_epoch = max(1, len(rows) // config.batch)
    total = config.epochs * per_epoch
    learner = Learner(model, optimizer, total, config.ema_decay, state.parts)
    words = frequent_words(caption for i in rows for caption in dataset.captions[i])

    def step(i: int, g: torch.Generator) -> dict[str, float]:
        epoch, step_of_epoch = divmod(i, per_epoch)
        order = rows[torch.randperm(len(rows), generator=step_generator(config.seed, epoch))]
        picked = order[step_of_epoch * config.batch :][: config.batch]
        caption = torch.stack([codes[row][torch.randint(len(codes[row]), (), generator=g)] for row in picked])
        view = torch.randint(len(features), (len(picked),), generator=g)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # dropout uses the global generator
        with half_precision(device):
            scores = model(caption.to(device), features[view, picked].float())
        loss = contrastive_loss(scores.float(), classes[picked].to(device))
        return learner.step(loss, i, max_norm=1.0)

    def export(done: int, cost: dict) -> dict[str, float]:
        averaged = JointEmbedding(0.0).to(device).eval()
        averaged.load_state_dict(learner.ema.state)
        networks = {"text_encoder": averaged.text, "image_projection": averaged.image}
        training = {"text_encoder": public_config(config) | cost}
        store.save(out, networks, {"words": " ".join(words), "training": training})
        return _measure(averaged, codes, dataset, features)

    run_steps(state, "text encoder", total, per_epoch, step, export, learner.state_dict, per_epoch)
    return out


@torch.inference_mode()
def _measure(
    model: JointEmbedding, codes: list[Tensor], dataset: CaptionedImages, features: Tensor
) -> dict[str, float]:
    """Zero-shot retrieval on the test split, plain and centred, with the mean of the views' embeddings of a picture."""
    rows = dataset.rows("test")
    if len(rows) == 0:
        return {}
    device = features.device
    images = model.image(features.float()).mean(0).cpu()
    texts = embed(model.text, torch.cat([codes[i] for i in rows]).to(device), 128).cpu()
    training = dataset.rows("train", "val")
    some_codes = torch.cat([codes[i][:1] for i in training[:: max(1, len(training) // 2000)]]).to(device)
    training_texts, classes = embed(model.text, some_codes, 128).cpu(), torch.from_numpy(dataset.classes[rows])
    counts = [len(codes[i]) for i in rows]
    return caption_retrieval(images[rows], classes, texts, counts, (images[training], training_texts))
