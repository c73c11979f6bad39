"""Train the style encoder S on a frozen generator (section 4.4): E‖z − S(G(z, φ(t)))‖² over noise and captions."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import store
from ..data import imagefolder
from ..data.augment import to_view
from ..data.cache import digest
from ..data.corpus import embed_all, mean_captions
from ..device import best_device, half_precision
from ..locate import Checkpoint
from ..metrics.quality import cycle_error
from ..models import StyleEncoder, StyleEncoderConfig, TextEncoder, encode
from ..models.text_encoder import embed
from .fit import Learning, State, keep_memory, log, random, shown
from .objectives import mix

SAVE_EVERY = 500  # steps
HELD_OUT = 512  # captions that the error is measured on


@dataclass(frozen=True)
class StyleTraining:
    """Everything that decides a run of `train style`."""

    data: str
    model: str  # a trained model, frozen: a name, a folder or a Hub id
    out: str  # the model's own folder will do
    steps: int = 6000
    batch: int = 64
    rate: float = 1e-3
    captions: int = 4  # h is the mean of one to so many captions of a picture, as in `train gan`
    width: int = 32  # n of S
    decay: float = 0.999  # of the averaged weights
    seed: int = 0


def train(config: StyleTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, with `style_encoder.safetensors` in it."""
    out, device = Path(config.out), best_device()
    keep_memory()
    networks = Checkpoint(config.model).read("text_encoder", "generator")
    text, generator = (network.to(device).requires_grad_(False) for network in networks.values())
    captioned = imagefolder.read(config.data, StyleEncoderConfig().size)
    sources = {"data": captioned.digest(), "model": digest(text, generator)}
    state = State(out / "style-state.pt", asdict(config), sources, ("data", "model", "out"))
    embeddings, counts, held_out = _captions(config, captioned, text, device)

    torch.manual_seed(config.seed)
    layout = {"device": device, "memory_format": torch.channels_last}
    network = StyleEncoder(StyleEncoderConfig(width=config.width)).to(**layout)
    optimizer = torch.optim.Adam(network.parameters(), config.rate, fused=True)
    learning = Learning(network, optimizer, config.steps, config.decay, state.parts)

    first, total = state.step, config.steps
    bar = tqdm(range(first, total), desc="style encoder", unit="step", initial=first, total=total)
    for step in bar:
        g = random(config.seed, step)
        rows = torch.randint(len(counts), (config.batch,), generator=g)
        h = mean_captions(embeddings, counts, rows, config.captions, g)
        h = torch.cat([mix(h), h[config.batch // 2 :]])  # half of them interpolated: S serves those too
        z = torch.randn(len(h), generator.config.noise, generator=g).to(device)
        with half_precision(device):
            with torch.no_grad():
                pictures = to_view(generator(z, h))  # S sees 64×64, whatever G draws
            loss = (network(pictures) - z).square().mean()
        learning.step(loss, step)
        bar.set_postfix(error=f"{loss.item():.3f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            error = _export(config, learning.average.state, generator, held_out)
            log(out, step=step + 1, loss=loss.item(), cycle_error=error)
            state.save(step + 1, learning.parts())
            bar.write(f"step {step + 1}: cycle error {error:.3f} on captions held out")
    return out


@torch.inference_mode()
def _captions(
    config: StyleTraining, captioned: imagefolder.Captioned, text: TextEncoder, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of the training captions, how many each picture has, and embeddings (≤ 512, 1024) of held-out ones."""
    rows = captioned.training(least=2)
    counts = torch.tensor([len(captioned.captions[i]) for i in rows])
    embeddings = embed_all(text, [captioned.captions[i] for i in rows], device).to(device)
    others = captioned.rows("test") if len(captioned.rows("test")) else rows
    picked = others[:: max(1, len(others) // HELD_OUT)][:HELD_OUT]
    codes = encode([captioned.captions[i][0] for i in picked], text.config.length)
    return embeddings, counts, embed(text, codes.to(device))


def _export(config: StyleTraining, average: dict[str, Tensor], generator: nn.Module, held_out: Tensor) -> float:
    """Write the averaged S; returns its cycle error."""
    network = StyleEncoder(StyleEncoderConfig(width=config.width)).to(held_out.device).eval()
    network.load_state_dict(average)
    z = torch.randn(len(held_out), generator.config.noise, generator=random(config.seed, -1)).to(held_out.device)
    error = cycle_error(network, generator, z, held_out)
    record = shown(config) | {"cycle_error": round(error, 4)}
    store.save(Path(config.out), {"style_encoder": network}, {"training": {"style_encoder": record}})
    return error
