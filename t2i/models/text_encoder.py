"""Text encoder φ: a character-level convolutional-recurrent network (arXiv 1605.05395, section 3)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
STRIDE, FIELD = 18, 66  # one recurrent step moves 18 characters on and sees 66 of them


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the text encoder; `length` is the number of characters read."""

    length: int = 201
    widths: tuple[int, int, int] = (384, 512, 512)
    hidden: int = 512
    embedding: int = 1024


def encode(captions: list[str], length: int = 201) -> Tensor:
    """Characters to codes (B, length), uint8: 1 to 70 is a place in `ALPHABET`, 0 any other character or none."""
    codes = np.zeros((len(captions), length), np.uint8)
    for row, caption in zip(codes, captions):
        text = caption.lower()[:length]
        row[: len(text)] = [ALPHABET.find(c) + 1 for c in text]
    return torch.from_numpy(codes)


class _Letters(nn.Module):
    """Codes (B, L) to their characters as unit vectors, (B, 70, 1, L); code 0 is the zero vector."""

    def forward(self, codes: Tensor) -> Tensor:
        x = nn.functional.one_hot(codes.long(), len(ALPHABET) + 1)[..., 1:].float()
        return x.transpose(1, 2).unsqueeze(2)  # a channels-last view: no copy


class TextEncoder(nn.Module):
    """Codes (B, L) to embeddings h (B, 1024) of root mean square 1.

    Hidden states are averaged over the steps that see the caption, not over the padding behind it,
    so an embedding does not depend on the captions beside it. A caption without a known letter
    gives the embedding of the empty one.
    """

    def __init__(self, config: TextEncoderConfig = TextEncoderConfig()):
        super().__init__()
        if config.length < FIELD:
            raise ValueError(f"length must be at least {FIELD}, not {config.length}")
        self.config = config
        a, b, c = config.widths
        self.letters = _Letters()
        self.convolutions = nn.Sequential(  # (B, 70, 1, 201)
            nn.Conv2d(len(ALPHABET), a, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3)),  # (B, 384, 1, 66)
            nn.Conv2d(a, b, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3)),  # (B, 512, 1, 21)
            nn.Conv2d(b, c, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3), (1, 2)),  # (B, 512, 1, 8)
        )
        self.recurrent = nn.GRU(c, config.hidden, batch_first=True)
        self.project = nn.Linear(config.hidden, config.embedding)
        self.norm = nn.RMSNorm(config.embedding, elementwise_affine=False)

    def forward(self, codes: Tensor, whole: bool = False) -> Tensor:
        """`whole`: compute the padding too, so that no shape depends on the captions, as CUDA graphs need it."""
        steps = count_steps(codes)
        if not whole:
            codes = codes[:, : STRIDE * (int(steps.max()) - 1) + FIELD]  # what lies behind is padding
        x = self.convolutions(self.letters(codes))
        states, _ = self.recurrent(x.squeeze(2).transpose(1, 2))  # (B, T, hidden)
        seen = torch.arange(states.shape[1], device=codes.device) < steps[:, None]
        mean = (states * seen[..., None]).sum(1) / steps[:, None]
        return self.norm(self.project(mean))


def count_steps(codes: Tensor) -> Tensor:
    """Recurrent steps (B,) that see a character of the caption: 1 to 8."""
    place = torch.arange(1, codes.shape[1] + 1, device=codes.device)
    last = ((codes > 0) * place).amax(1)
    most = (codes.shape[1] - FIELD) // STRIDE + 1
    return ((last + STRIDE - 1) // STRIDE).clamp(1, most)


def embed(encoder: TextEncoder, codes: Tensor, chunk: int = 32) -> Tensor:
    """Embeddings (B, 1024) of codes (B, L), computed in chunks of like length: short captions cost less."""
    order = count_steps(codes).argsort()
    return torch.cat([encoder(codes[part]) for part in order.split(chunk)])[order.argsort()]
