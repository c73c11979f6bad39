"""What the GAN trainers write beside their state: the checkpoint with its text encoder, and a sheet of samples."""

import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from .. import checkpoint
from ..machine import hardware
from ..models import TextEncoder
from .text_encoder import read_projection


def save_checkpoint(
    out: Path, networks: dict[str, nn.Module], text_name: str, text: TextEncoder, described: dict, run: dict
) -> None:
    """Write networks with the text encoder that they learnt with: shared if `text_name` is a registered model's.

    `described` goes into `config.json` beside the networks' sizes; `run` is the training's own record.
    """
    if text_name in checkpoint.MODELS:
        shared = checkpoint.shared(text_name)
    else:
        networks = networks | {"text_encoder": text}
        folder = checkpoint.home(checkpoint.resolve(text_name), "text_encoder")
        shared = {"words": " ".join(sorted(checkpoint.read_words(folder)))}
        if (folder / "image_projection.safetensors").exists():  # by which `evaluate` measures retrieval
            networks = networks | {"image_projection": read_projection(folder)}
    training = {"text_encoder": training_record(text_name, "text_encoder"), "gan": run}
    checkpoint.save(out, networks, shared | described | {"training": training})


def training_record(model: str, training: str) -> dict | None:
    """What a model's `config.json` records of a training."""
    return checkpoint.read_config(checkpoint.resolve(model)).get("training", {}).get(training)


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
