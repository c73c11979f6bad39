"""Zero-shot caption-based retrieval (arXiv 1605.05395, section 4): are unseen classes found by their captions?"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 256  # rows compared at a time: bounds the memory where each picture is a class of its own


def retrieval(images: Tensor, classes: Tensor, texts: Tensor, text_classes: Tensor) -> tuple[float, float]:
    """Top-1 accuracy and AP@50, both 0…1 and averaged over classes.

    images (N, E) with classes (N,); texts (M, E), one row a caption, with text_classes (M,); every class has both.
    A class is the mean of its captions; compatibility is the cosine. Top-1: each image goes to the class of
    highest compatibility. AP@50: the share of the 50 best images that belong to the class (of as many as it
    has, if fewer than 50).
    """
    names, owners = text_classes.unique(return_inverse=True)
    _, own, sizes = classes.unique(return_inverse=True, return_counts=True)
    sums = texts.new_zeros(len(names), texts.shape[1]).index_add(0, owners, texts)
    images, prototypes = normalize(images), normalize(sums)  # a sum points where the mean does
    guesses = torch.cat([(part @ prototypes.T).argmax(1) for part in images.split(BLOCK)])
    top1 = images.new_zeros(len(names)).index_add(0, own, (guesses == own).float()) / sizes
    counts, most = sizes.clamp(max=50), min(50, int(sizes.max()))
    best = torch.cat([(part @ images.T).topk(most).indices for part in prototypes.split(BLOCK)])
    found = (own[best] == torch.arange(len(names))[:, None]) & (torch.arange(most) < counts[:, None])
    return float(top1.mean()), float((found.sum(1) / counts).mean())


def by_captions(
    images: Tensor, classes: Tensor, texts: Tensor, counts: list[int], known: tuple[Tensor, Tensor] | None = None
) -> dict[str, float]:
    """`retrieval` by all captions (M, E), `counts` of them a picture; and centred, if images and captions are known.

    Centred is less the means of what is known, of the training split: the part that all have in common and that
    lets a few classes attract every picture.
    """
    owners, found = classes.repeat_interleave(torch.tensor(counts)), {}
    found["top1"], found["ap50"] = retrieval(images, classes, texts, owners)
    if known:
        images, texts = (own - others.mean(0) for own, others in zip((images, texts), known))
        found["top1_centred"], found["ap50_centred"] = retrieval(images, classes, texts, owners)
    return found
