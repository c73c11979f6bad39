"""Zero-shot caption-based retrieval (arXiv 1605.05395, section 4): are unseen classes found by their captions?"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def retrieval(images: Tensor, classes: Tensor, texts: Tensor, text_classes: Tensor) -> tuple[float, float]:
    """Top-1 accuracy and AP@50, both 0…1 and averaged over classes.

    images (N, E) with classes (N,); texts (M, E), one row a caption, with text_classes (M,).
    A class is the mean of its captions; compatibility is the cosine. Top-1: each image goes to the class of
    highest compatibility. AP@50: the share of the 50 best images that belong to the class (of as many as it
    has, if fewer than 50).
    """
    names = text_classes.unique()
    prototypes = torch.stack([texts[text_classes == c].mean(0) for c in names])
    scores = normalize(images) @ normalize(prototypes).T  # (N, classes)
    right = names[scores.argmax(1)] == classes
    top1 = [right[classes == c].float().mean() for c in names]
    found = []
    for c, column in zip(names, scores.T):
        count = min(50, int((classes == c).sum()))
        found.append((classes[column.topk(count).indices] == c).float().mean())
    return float(torch.stack(top1).mean()), float(torch.stack(found).mean())
