"""Text encoder φ: a character-level convolutional-recurrent network (arXiv 1605.05395, section 3)."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
UNDIVIDED_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i"}  # they have no accent
# Within words only: quotation marks, dashes between words and ellipses distort an embedding less as unknown characters.
WORD_JOINERS = {"’": "'", "\u2010": "-", "\u2011": "-", "–": "-"}
WORD_JOINER = re.compile(rf"(?<=\w)[{''.join(WORD_JOINERS)}](?=\w)")
STEP_STRIDE, RECEPTIVE_FIELD = 18, 66  # characters: a recurrent step starts 18 after the one before and covers 66


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the text encoder; `length` is the number of characters read."""

    length: int = 201
    widths: tuple[int, int, int] = (384, 512, 512)
    hidden: int = 512
    embedding: int = 1024


def normalize_caption(caption: str) -> str:
    """A caption as φ reads it: in lower case, with other spellings of the alphabet's characters replaced by these.

    They are spaces of all kinds, letters and digits with accents or of full width, and typographic apostrophes and
    hyphens within words. Invisible characters are left out. What is in `ALPHABET` stays as it is.
    """
    plain = "".join(map(_normalize_character, caption.lower()))
    return WORD_JOINER.sub(lambda joiner: WORD_JOINERS[joiner[0]], plain)


@lru_cache(4096)
def _normalize_character(character: str) -> str:
    if character in ALPHABET:
        return character
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cf", "Mn"):  # invisible, or an accent behind its letter
        return ""
    if not character.isalnum() and not "！" <= character <= "～":  # signs of full width
        return character
    parts = UNDIVIDED_LETTERS.get(character) or unicodedata.normalize("NFKD", character).lower()
    letters = "".join(part for part in parts if unicodedata.category(part) != "Mn")
    return letters if letters and set(letters) <= set(ALPHABET) - {'"'} else character


def encode(captions: list[str], length: int = TextEncoderConfig.length) -> Tensor:
    """Captions to codes (B, length), uint8: 1 to 70 are positions in `ALPHABET`, 0 any other character or padding."""
    codes = np.zeros((len(captions), length), np.uint8)
    for row, caption in zip(codes, captions):
        text = normalize_caption(caption)[:length]
        row[: len(text)] = [ALPHABET.find(c) + 1 for c in text]
    return torch.from_numpy(codes)


class OneHotCharacters(nn.Module):
    """Codes (B, L) to one-hot vectors (B, 70, 1, L); code 0 is the zero vector."""

    def forward(self, codes: Tensor) -> Tensor:
        x = nn.functional.one_hot(codes.long(), len(ALPHABET) + 1)[..., 1:].float()
        return x.transpose(1, 2).unsqueeze(2)  # a channels-last view: no copy


class TextEncoder(nn.Module):
    """Codes (B, L) to embeddings h (B, E) of root mean square 1.

    Hidden states are averaged over the steps that cover the caption, not over the padding behind it, so an embedding
    does not depend on the other captions of its batch. A caption without a known character has the embedding of the
    empty one.
    """

    def __init__(self, config: TextEncoderConfig = TextEncoderConfig()):
        super().__init__()
        if config.length < RECEPTIVE_FIELD:
            raise ValueError(f"length must be at least {RECEPTIVE_FIELD}, not {config.length}")
        self.config = config
        a, b, c = config.widths
        self.one_hot: nn.Module = OneHotCharacters()
        self.convolutions = nn.Sequential(  # (B, 70, 1, 201)
            nn.Conv2d(len(ALPHABET), a, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3)),  # (B, 384, 1, 66)
            nn.Conv2d(a, b, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3)),  # (B, 512, 1, 21)
            nn.Conv2d(b, c, (1, 4)), nn.ReLU(), nn.MaxPool2d((1, 3), (1, 2)),  # (B, 512, 1, 8)
        )
        self.recurrent = nn.GRU(c, config.hidden, batch_first=True)
        self.project = nn.Linear(config.hidden, config.embedding)
        self.norm = nn.RMSNorm(config.embedding, elementwise_affine=False)

    def forward(self, codes: Tensor, full_length: bool = False) -> Tensor:
        """`full_length`: compute the padding too, so that no shape depends on the captions, as CUDA graphs require."""
        steps = count_steps(codes)
        if not full_length:
            codes = codes[:, : STEP_STRIDE * (int(steps.max()) - 1) + RECEPTIVE_FIELD]  # the rest is padding
        x = self.convolutions(self.one_hot(codes))
        states, _ = self.recurrent(x.squeeze(2).transpose(1, 2))  # (B, T, hidden)
        mask = torch.arange(states.shape[1], device=codes.device) < steps[:, None]
        mean = (states * mask[..., None]).sum(1) / steps[:, None]
        return self.norm(self.project(mean))


def count_steps(codes: Tensor) -> Tensor:
    """The number of recurrent steps (B,) that cover a character of the caption: 1 to 8 at the default length."""
    position = torch.arange(1, codes.shape[1] + 1, device=codes.device)
    last = ((codes > 0) * position).amax(1)
    max_steps = (codes.shape[1] - RECEPTIVE_FIELD) // STEP_STRIDE + 1
    return ((last + STEP_STRIDE - 1) // STEP_STRIDE).clamp(1, max_steps)


def embed(encoder: TextEncoder, codes: Tensor, chunk: int = 32) -> Tensor:
    """Embeddings (B, E) of codes (B, L), computed in chunks of similar length: short captions cost less."""
    order = count_steps(codes).argsort()
    return torch.cat([encoder(codes[part]) for part in order.split(chunk)])[order.argsort()]
