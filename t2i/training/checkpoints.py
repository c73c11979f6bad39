"""What the GAN trainers write beside their state: the checkpoint with its text encoder, and a sheet of samples."""

import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from .. import store
from ..device import hardware
from ..locate import Checkpoint, shared_text_encoder
from ..models import TextEncoder
from ..registry import MODELS


def save_checkpoint(
    out: Path, networks: dict[str, nn.Module], text_name: str, text: TextEncoder, described: dict, run: dict
) -> None:
    """Write networks with the text encoder that they learnt with: shared if `text_name` is a registered model's.

    `described` goes into `config.json` beside the networks' sizes; `run` is the training's own record.
    """
    if text_name in MODELS:
        shared = shared_text_encoder(text_name)
    else:
        networks = networks | {"text_encoder": text}
        checkpoint = Checkpoint(text_name)
        shared = {"words": " ".join(sorted(checkpoint.words))}
        if checkpoint.has("image_projection"):  # by which `evaluate` measures retrieval
            networks = networks | checkpoint.read("image_projection")
    training = {"text_encoder": Checkpoint(text_name).training("text_encoder"), "gan": run}
    store.save(out, networks, shared | described | {"training": training})


def cost(before: dict, since: float) -> dict[str, object]:
    """Seconds and hardware of a run, all its resumptions together; nothing if those before did not keep them."""
    if before and "seconds" not in before:
        return {}
    places = dict.fromkeys([*before.get("hardware", "").split("; "), hardware()])
    seconds = before.get("seconds", 0) + round(time.perf_counter() - since)
    return {"seconds": seconds, "hardware": "; ".join(filter(None, places))}


@torch.inference_mode()
def sample_sheet(generator: nn.Module, h: Tensor, seeds: int = 8) -> Image.Image:
    """A row a caption (N, 1024), a column a seed."""
    device = next(generator.parameters()).device
    z = torch.randn(seeds, generator.config.noise, generator=torch.Generator().manual_seed(0)).to(device)
    rows = (generator(z, row.expand(seeds, -1)) for row in h.to(device))
    pixels = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    return Image.fromarray((pixels * 127.5 + 128).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())
