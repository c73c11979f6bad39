"""Mixed captions: what lies between two sentences, or among several (the paper's section 4.3)."""

import torch
from torch import Tensor


def mix(h: Tensor, weights: Tensor, mean: Tensor | None = None) -> Tensor:
    """Mixed embeddings (N, E) of captions h (C, E): each row of `weights` (N, C), summing to 1, mixes all of them.

    Without `mean`, they are weighted sums, as in the paper. Sums of different captions are shorter than captions once
    the mean caption (E,) is subtracted: they lie towards it, where there is no training caption. With `mean`, each is
    therefore lengthened, from there, to the weighted mean of its captions' own lengths. This departs from the paper. A
    caption alone stays as it is.
    """
    mixed = weights @ h
    if mean is None:
        return mixed
    offsets, lengths = mixed - mean, weights @ (h - mean).norm(dim=1)
    centred = mean + offsets * (lengths / offsets.norm(dim=1).clamp(min=1e-6))[:, None]
    return torch.where(weights.amax(1, keepdim=True) >= 1, mixed, centred)
