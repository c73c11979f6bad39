"""Train the style encoder S on a frozen generator (section 4.4): E‖z − S(G(z, φ(t)))‖² over noise and captions."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import store
from ..data import imagefolder
from ..data.augment import to_view
from ..data.cache import digest
from ..data.corpus import embed_all, mean_embeddings
from ..data.imagefolder import CaptionedImages
from ..device import best_device, half_precision, to_channels_last
from ..locate import Checkpoint
from ..metrics.quality import cycle_error
from ..models import Generator, StyleEncoder, StyleEncoderConfig, TextEncoder, encode
from ..models.text_encoder import embed
from .fit import Learner, RunState, keep_freed_memory, public_config, run_steps, step_generator
from .objectives import interpolate

SAVE_EVERY = 500  # steps
HELD_OUT = 512  # captions on which the cycle error is measured


@dataclass(frozen=True)
class StyleTraining:
    """The configuration of `train style`."""

    data: str
    model: str  # a trained model, whose generator is frozen: a name, a folder or a Hub id
    out: str  # may be the model's own folder
    steps: int = 6000
    batch: int = 64
    lr: float = 1e-3
    captions: int = 4  # h is the mean of one to so many captions of a picture, as in `train gan`
    width: int = 32  # n of S
    ema_decay: float = 0.999  # of the averaged weights, which are those that are saved
    seed: int = 0


def train(config: StyleTraining) -> Path:
    """Train, or resume the run in `config.out`; returns that folder, with `style_encoder.safetensors` in it."""
    out, device = Path(config.out), best_device()
    keep_freed_memory()
    networks = Checkpoint(config.model).read("text_encoder", "generator")
    text = networks["text_encoder"].to(device).requires_grad_(False)
    generator = networks["generator"].to(device).requires_grad_(False)
    dataset = imagefolder.read(config.data, StyleEncoderConfig().size)
    sources = {"data": dataset.digest(), "model": digest(text, generator)}
    state = RunState(out / "style-state.pt", asdict(config), sources, ("data", "model", "out"))
    embeddings, counts, held_out = _embeddings(dataset, text, device)

    torch.manual_seed(config.seed)
    network = to_channels_last(
        StyleEncoder(StyleEncoderConfig(width=config.width, noise=generator.config.noise)), device
    )
    optimizer = torch.optim.Adam(network.parameters(), config.lr, fused=True)
    learner = Learner(network, optimizer, config.steps, config.ema_decay, state.parts)

    def step(i: int, g: torch.Generator) -> dict[str, float]:
        rows = torch.randint(len(counts), (config.batch,), generator=g)
        h = mean_embeddings(embeddings, counts, rows, config.captions, g).to(device)
        h = torch.cat([interpolate(h), h[config.batch // 2 :]])  # half are interpolated, because S is used on those too
        z = torch.randn(len(h), generator.config.noise, generator=g).to(device)
        with half_precision(device):
            with torch.no_grad():
                pictures = to_view(generator(z, h))  # S takes 64×64, whatever G draws
            loss = (network(pictures) - z).square().mean()
        return learner.step(loss, i)

    def export(done: int, cost: dict) -> dict[str, float]:
        return _export(config, cost, learner.ema.state, generator, held_out)

    run_steps(state, "style encoder", config.steps, SAVE_EVERY, step, export, learner.state_dict)
    return out


@torch.inference_mode()
def _embeddings(dataset: CaptionedImages, text: TextEncoder, device: str) -> tuple[np.ndarray, Tensor, Tensor]:
    """Embeddings of training captions (N, C, E), how many a photo has (N,), embeddings of test captions (≤ 512, E)."""
    rows = dataset.training_rows()
    counts = torch.tensor([len(dataset.captions[i]) for i in rows])
    embeddings = embed_all(text, [dataset.captions[i] for i in rows], device)
    test = dataset.rows("test") if len(dataset.rows("test")) else rows
    picked = test[:: max(1, len(test) // HELD_OUT)][:HELD_OUT]
    codes = encode([dataset.captions[i][0] for i in picked], text.config.length)
    return embeddings, counts, embed(text, codes.to(device))


def _export(
    config: StyleTraining, cost: dict, weights: dict[str, Tensor], generator: Generator, h: Tensor
) -> dict[str, float]:
    """Write S with its averaged weights; returns its cycle error on embeddings h (N, E)."""
    network = StyleEncoder(StyleEncoderConfig(width=config.width, noise=generator.config.noise)).to(h.device).eval()
    network.load_state_dict(weights)
    z = torch.randn(len(h), generator.config.noise, generator=step_generator(config.seed, -1)).to(h.device)
    error = cycle_error(network, generator, z, h)
    record = public_config(config) | {"cycle_error": round(error, 4)} | cost
    store.save(Path(config.out), {"style_encoder": network}, {"training": {"style_encoder": record}})
    return {"cycle_error": error}
