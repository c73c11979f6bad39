"""Fidelity, diversity and caption agreement of pictures.

Pictures are compared by features x (N, D) of EfficientNet-lite0 (D = 1,280) or of a classifier trained from scratch
(D = 256). The published FID and KID use Inception features, so these distances compare only with one another.
"""

import math

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..data.augment import to_view
from ..models import StyleEncoder

BLOCK_SIZE = 4096  # pictures compared with all captions at a time, which bounds the memory of a large test split


def kid(x: Tensor, y: Tensor, subsets: int = 100, subset_size: int = 256, seed: int = 0) -> tuple[float, float]:
    """Kernel inception distance of features x (N, D) and y (M, D): mean and standard deviation over random subsets.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (a·b / D + 1)³ (Bińkowski et al.
    2018). It is 0 for equal distributions, and can be slightly negative by chance.
    """
    g, size = torch.Generator().manual_seed(seed), min(subset_size, len(x), len(y))
    estimates = torch.tensor([_squared_mmd(_sample(x, size, g), _sample(y, size, g)) for _ in range(subsets)])
    return float(estimates.mean()), float(estimates.std())


def _sample(x: Tensor, size: int, g: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=g)[:size]].double()


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_off_diagonal(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return float(mean_off_diagonal(x) + mean_off_diagonal(y) - 2 * kernel(x, y).mean())


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Fréchet distance of normal distributions fitted to features x (N, D) and y (M, D) (Heusel et al. 2017).

    With fewer pictures than dimensions it is biased upwards, so only figures of equal N and M compare.
    """
    x, y = x.double(), y.double()
    squared_means = (x.mean(0) - y.mean(0)).square().sum()
    # The trace of (Cx Cy)^½ is the sum of singular values of Rx Ryᵀ, where C = RᵀR: R of a centred sample / √(n − 1).
    a, b = (torch.linalg.qr((s - s.mean(0)) / (len(s) - 1) ** 0.5, mode="r").R for s in (x, y))
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return float(squared_means + a.square().sum() + b.square().sum() - 2 * cross)


def r_precision(
    pictures: Tensor, texts: Tensor, num_wrong: int = 99, seed: int = 0, classes: Tensor | None = None
) -> float:
    """R-precision (Xu et al. 2018): how often a picture is closer to its own caption than to `num_wrong` random others.

    Embeddings of pictures (N, E) and of their captions (N, E) in a joint space are compared by cosine. With `classes`
    (N,) the others are captions of the picture's own class; pictures of a class with too few of them do not count, and
    the result is NaN if none is left.
    """
    g, pictures, texts = torch.Generator().manual_seed(seed), normalize(pictures), normalize(texts)
    everything = torch.arange(len(texts))
    correct = []
    for i, row in enumerate(row for block in pictures.split(BLOCK_SIZE) for row in block @ texts.T):
        others = everything if classes is None else (classes == classes[i]).nonzero()[:, 0]
        others = others[others != i]
        if classes is None or len(others) >= num_wrong:
            wrong = others[torch.randperm(len(others), generator=g)[:num_wrong]]
            correct.append(bool(row[i] > row[wrong].max()))
    return sum(correct) / len(correct) if correct else math.nan


def roc_auc(positive: Tensor, negative: Tensor) -> float:
    """Area under the ROC curve of scores (N,) that should be high and (M,) that should be low; 0.5 is chance."""
    labels = [1] * len(positive) + [0] * len(negative)
    return float(roc_auc_score(labels, torch.cat([positive, negative]).cpu().numpy()))


def mean_pairwise_distance(x: Tensor) -> float:
    """Mean Euclidean distance between any two of the features x (N, D)."""
    return float(torch.pdist(x.float()).mean())


def mean_paired_distance(x: Tensor, y: Tensor) -> float:
    """Mean Euclidean distance between features x (N, D) and y (N, D), row by row."""
    return float((x.float() - y.float()).norm(dim=1).mean())


@torch.inference_mode()
def cycle_error(
    style_encoder: StyleEncoder, generator: nn.Module, z: Tensor, h: Tensor, directions: Tensor | None = None
) -> float:
    """E‖z − S(G(z, h))‖² / E‖z‖² for noise z (B, Z) and embeddings h (B, E): 0 is perfect, 1 is chance.

    S gets pictures at 64×64, whatever size G draws. `directions`: orthonormal (D, Z), to measure only the part of z
    along them.
    """
    z_hat = torch.cat([style_encoder(to_view(generator(*batch))) for batch in zip(z.split(64), h.split(64))])
    if directions is not None:
        z, z_hat = z @ directions.T, z_hat @ directions.T
    return float((z - z_hat).square().sum() / z.square().sum())
