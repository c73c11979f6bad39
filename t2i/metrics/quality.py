"""How real, how varied and how true to their captions the pictures are.

Pictures are compared by features x (N, D) of EfficientNet-lite0 (D = 1,280), or of a classifier trained from scratch
(D = 256). The distances are therefore not the published FID and KID, which use Inception: they compare only with one
another.
"""

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..data.augment import to_view
from ..models import StyleEncoder

BLOCK = 4096  # pictures compared with all captions at a time: bounds the memory of a large test split


def kid(x: Tensor, y: Tensor, subsets: int = 100, size: int = 256, seed: int = 0) -> tuple[float, float]:
    """Kernel distance of features x (N, D) and y (M, D): mean and deviation over subsets (Bińkowski et al. 2018).

    The unbiased squared maximum mean discrepancy under the kernel (a·b / D + 1)³: 0 for one distribution, and
    slightly negative by chance.
    """
    g, size = torch.Generator().manual_seed(seed), min(size, len(x), len(y))
    found = torch.tensor([_discrepancy(_some(x, size, g), _some(y, size, g)) for _ in range(subsets)])
    return float(found.mean()), float(found.std())


def _some(x: Tensor, size: int, g: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=g)[:size]].double()


def _discrepancy(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * kernel(x, y).mean())


def frechet(x: Tensor, y: Tensor) -> float:
    """Fréchet distance of normal distributions fitted to features x (N, D) and y (M, D) (Heusel et al. 2017).

    With fewer pictures than dimensions it is biased upwards: compare only figures of as many pictures.
    """
    x, y = x.double(), y.double()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    # The trace of (Cx Cy)^½ is the sum of singular values of Rx Ryᵀ, where C = RᵀR: R of a centred sample / √(n − 1).
    a, b = (torch.linalg.qr((s - s.mean(0)) / (len(s) - 1) ** 0.5, mode="r").R for s in (x, y))
    shared = torch.linalg.svdvals(a @ b.T).sum()
    return float(apart + a.square().sum() + b.square().sum() - 2 * shared)


def precision(pictures: Tensor, texts: Tensor, others: int = 99, seed: int = 0) -> float:
    """R-precision (Xu et al. 2018): how often picture i's own caption is the best of 1 + `others` drawn at random.

    Embeddings (N, E) of pictures and of their captions in a joint space; compatibility is the cosine.
    """
    g, pictures, texts = torch.Generator().manual_seed(seed), normalize(pictures), normalize(texts)
    right = 0
    for i, row in enumerate(row for part in pictures.split(BLOCK) for row in part @ texts.T):
        wrong = torch.randperm(len(row) - 1, generator=g)[:others]
        right += bool(row[i] > row[wrong + (wrong >= i)].max())
    return right / len(pictures)


def area(right: Tensor, wrong: Tensor) -> float:
    """Area under the ROC of scores (N,) that should be high and (M,) that should be low: 1 is perfect, 0.5 chance."""
    return float(roc_auc_score([1] * len(right) + [0] * len(wrong), torch.cat([right, wrong]).cpu().numpy()))


def spread(x: Tensor) -> float:
    """Mean Euclidean distance of two of the features x (N, D)."""
    return float(torch.pdist(x.float()).mean())


def distance(x: Tensor, y: Tensor) -> float:
    """Mean Euclidean distance of each of the features x (N, D) to its fellow in y (N, D)."""
    return float((x.float() - y.float()).norm(dim=1).mean())


@torch.inference_mode()
def cycle_error(
    style_encoder: StyleEncoder, generator: nn.Module, z: Tensor, h: Tensor, along: Tensor | None = None
) -> float:
    """E‖z − S(G(z, h))‖² / E‖z‖² for noise z (B, 100) and embeddings h (B, 1024): 0 is perfect, 1 is chance.

    S sees pictures at 64×64, whatever G draws. Of the whole of z, or of its part along these directions (D, 100),
    orthonormal.
    """
    read = torch.cat([style_encoder(to_view(generator(n, t))) for n, t in zip(z.split(64), h.split(64))])
    if along is not None:
        z, read = z @ along.T, read @ along.T
    return float((z - read).square().sum() / z.square().sum())
